# DeepLabV3+ (arXiv 1802.02611) on a narrow ResNet-18, on the standard board's images: MMSegmentation's own modules, no code of ours.
# num_classes and in_channels are asked of the data and the backbone.
_base_ = ["streets_standard.py"]

model = dict(
    _delete_=True,
    type="EncoderDecoder",
    data_preprocessor=dict(mean=[128.0] * 3, std=[64.0] * 3),
    backbone=dict(
        type="ResNetV1c",
        depth=18,
        base_channels=16,
        stem_channels=16,
        strides=(1, 2, 1, 1),
        dilations=(1, 1, 2, 4),
        contract_dilation=True,
        norm_cfg=dict(type="BN"),
    ),
    decode_head=dict(
        type="DepthwiseSeparableASPPHead",
        in_index=3,
        channels=32,
        dilations=(1, 2, 4),
        c1_in_channels=16,
        c1_channels=16,
        dropout_ratio=0.1,
        norm_cfg=dict(type="BN"),
    ),
    auxiliary_head=dict(
        type="FCNHead",
        in_index=2,
        channels=16,
        num_convs=1,
        norm_cfg=dict(type="BN"),
        loss_decode=dict(type="CrossEntropyLoss", loss_weight=0.4),
    ),
)

training = dict(loss_stride=2)
