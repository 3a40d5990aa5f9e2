# Real Cityscapes: leftImg8bit_trainvaltest and gtFine_trainvaltest below --data-root (or CITYSCAPES_DATASET). A GPU's job.
# Not yet run by us: we have no copy of the data set at hand. Width 0.25 from scratch is what later work recalls of the paper.
_base_ = ["_base_/fcn8s.py", "_base_/recipe.py"]

width = 1 / 4
model = dict(
    backbone=dict(width=width),
    decode_head=dict(in_channels=[64, 128, 128], channels=1024, loss_stride=1),
)

data = dict(type="cityscapes", root=None)

training = dict(
    steps=8000,
    steps_per_image=40,
    max_steps=80_000,
    batch_size=8,
    crop=(512, 1024),
    flip=True,
    jitter=True,
    class_weights=True,
    sampler="cover",
    precision="bfloat16",
)

cost_model = dict(sigma_px=8.0)

harness = dict(
    window=128,
    stride=8,
    overlap="forbid",
    seed_images=50,
    images_per_round=50,
    rounds=10,
    committee=20,
    seeds=[0, 1, 2],
)
