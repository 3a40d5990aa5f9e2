# SegFormer-B0 (arXiv 2105.15203) on real Cityscapes, from scratch as CEREALS trains: mmseg's own
# modules. Not yet run by us, like cityscapes.py; docs/notebook/scaling.md has its steps and images
# measured on generated ones. Name weights with model.backbone.init_cfg to start from ImageNet's.
_base_ = ["cityscapes.py"]

model = dict(
    _delete_=True,
    type="EncoderDecoder",
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
    backbone=dict(
        type="MixVisionTransformer",
        embed_dims=32,
        num_heads=[1, 2, 5, 8],
        num_layers=[2, 2, 2, 2],
    ),
    decode_head=dict(
        type="SegformerHead",
        in_index=[0, 1, 2, 3],
        channels=256,
        dropout_ratio=0.1,
        norm_cfg=dict(type="BN"),
    ),
)

optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [dict(type="OneCycleLR", eta_max=1e-3, pct_start=0.25)]
