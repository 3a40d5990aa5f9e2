# SegFormer (arXiv 2105.15203) at a quarter of the width of B0, on the standard board's images.
_base_ = ["streets_standard.py"]

model = dict(
    _delete_=True,
    type="EncoderDecoder",
    data_preprocessor=dict(mean=[128.0] * 3, std=[64.0] * 3),
    backbone=dict(type="MixVisionTransformer", embed_dims=16, num_heads=[1, 2, 4, 8], num_layers=[2, 2, 2, 2]),
    decode_head=dict(
        type="SegformerHead", in_index=[0, 1, 2, 3], channels=64, dropout_ratio=0.1, norm_cfg=dict(type="BN")
    ),
)

optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [dict(type="OneCycleLR", eta_max=1e-3, pct_start=0.25)]
training = dict(loss_stride=2)
