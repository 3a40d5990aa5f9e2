# MobileNetV2 (arXiv 1801.04381) with an ASPP head, on the standard board's images.
_base_ = ["streets_standard.py"]

model = dict(
    _delete_=True,
    type="EncoderDecoder",
    data_preprocessor=dict(mean=[128.0] * 3, std=[64.0] * 3),
    backbone=dict(
        type="MobileNetV2",
        widen_factor=0.5,
        strides=(1, 2, 2, 1, 1, 1, 1),
        dilations=(1, 1, 1, 2, 2, 4, 4),
        norm_cfg=dict(type="BN"),
    ),
    decode_head=dict(type="ASPPHead", channels=32, dilations=(1, 3, 6), dropout_ratio=0.1, norm_cfg=dict(type="BN")),
)

training = dict(loss_stride=2)
