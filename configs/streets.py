# The default board: a first look on the embedded pack, within ten minutes on two cores. It is a proxy: its trunk is given (made by
# harness pretext on other scenes) and stays as it is, so each training is of the head alone, on features that are made once per
# image. docs/training.md says how well it orders strategies beside the standard board, which trains whole networks from scratch.
_base_ = ["_base_/fcn8s.py"]

remark = "A first look, and a proxy: the trunk is given and frozen, only heads are trained. The standard board trains whole networks."

data = dict(type="streets", height=128, width=256, train=120, val=40, seed=0, redundancy=1)

model = dict(backbone=dict(pretrained="trunks/streets.pth"), decode_head=dict(loss_stride=4))

training = dict(
    steps=150,
    steps_per_image=25,
    max_steps=2000,
    batch_size=4,
    crop=(128, 256),
    flip=True,
    jitter=False,
    class_weights=True,
    frozen_trunk=True,
)

harness = dict(
    window=64,
    stride=1,
    overlap="forbid",
    seed_images=4,
    images_per_round=2,
    rounds=4,
    committee=8,
    seeds=[0, 1, 2],
)
