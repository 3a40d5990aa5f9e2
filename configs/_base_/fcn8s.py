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

optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="AdamW", lr=6e-3, weight_decay=1e-2, fused=True))
param_scheduler = [dict(type="OneCycleLR", eta_max=6e-3, pct_start=0.25)]

# Chosen on training images that were held out: docs/cost-model.md.
cost_model = dict(hidden=16, steps=300, batch_cells=1024, lr=3e-3, weight_decay=0.3, sigma_px=2.0, max_cells=400_000)
