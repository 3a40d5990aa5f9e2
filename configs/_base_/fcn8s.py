# FCN8s (arXiv 1411.4038) as an MMSegmentation model. `width` scales every channel count; channels follow from it.
width = 1 / 16
channels = [max(1, round(base * width)) for base in (256, 512, 512)]

model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(
        type="SegDataPreProcessor",
        mean=[128.0, 128.0, 128.0],
        std=[64.0, 64.0, 64.0],
        bgr_to_rgb=False,
        pad_val=0,
        seg_pad_val=255,
    ),
    backbone=dict(type="VGG16", width=width, norm_cfg=dict(type="BN")),
    decode_head=dict(
        type="FCN8sHead",
        in_channels=channels,
        channels=max(1, round(4096 * width)),
        num_classes=19,
        loss_stride=2,
        loss_decode=dict(type="CrossEntropyLoss", loss_weight=1.0),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode="whole"),
)
