# UNet (arXiv 1505.04597) with 8 base channels, on the standard board's images.
_base_ = ["streets_standard.py"]

model = dict(
    _delete_=True,
    type="EncoderDecoder",
    data_preprocessor=dict(mean=[128.0] * 3, std=[64.0] * 3),
    backbone=dict(type="UNet", base_channels=8, norm_cfg=dict(type="BN")),
    decode_head=dict(type="FCNHead", in_index=4, channels=8, num_convs=1, dropout_ratio=0.1, norm_cfg=dict(type="BN")),
)

training = dict(loss_stride=2)
