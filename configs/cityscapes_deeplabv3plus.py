# DeepLabV3+ (arXiv 1802.02611) with ResNet-50 on real Cityscapes, from scratch as CEREALS trains:
# mmseg's own modules. Not yet run by us, like cityscapes.py, and not measured either
# (docs/notebook/scaling.md). Name weights with model.backbone.init_cfg to start from ImageNet's.
_base_ = ["cityscapes.py"]

model = dict(
    _delete_=True,
    type="EncoderDecoder",
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
    backbone=dict(
        type="ResNetV1c",
        depth=50,
        strides=(1, 2, 1, 1),
        dilations=(1, 1, 2, 4),
        contract_dilation=True,
        norm_cfg=dict(type="BN"),
    ),
    decode_head=dict(
        type="DepthwiseSeparableASPPHead",
        in_index=3,
        channels=512,
        dilations=(1, 12, 24, 36),
        c1_in_channels=256,
        c1_channels=48,
        dropout_ratio=0.1,
        norm_cfg=dict(type="BN"),
    ),
    auxiliary_head=dict(
        type="FCNHead",
        in_index=2,
        channels=256,
        num_convs=1,
        concat_input=False,
        norm_cfg=dict(type="BN"),
        loss_decode=dict(type="CrossEntropyLoss", loss_weight=0.4),
    ),
)

optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [dict(type="OneCycleLR", eta_max=1e-3, pct_start=0.25)]
