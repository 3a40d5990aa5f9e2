# The default board: a first look on the embedded pack, within ten minutes on two cores. It is short, and it says so: one
# round, because fewer and longer trainings tell more than many short ones that never get to use their labels.
_base_ = ["_base_/fcn8s.py"]

remark = "A first look: one round, short trainings, a small pool. Read the standard board before you believe an order."

data = dict(type="streets", height=128, width=256, train=120, val=40, seed=0, redundancy=1)

training = dict(
    steps=400,
    steps_per_image=20,
    max_steps=1600,
    batch_size=2,
    crop=(128, 128),
    flip=True,
    jitter=True,
    class_weights=True,
)

harness = dict(
    window=64,
    stride=1,
    overlap="forbid",
    seed_images=4,
    images_per_round=8,
    rounds=1,
    committee=8,
    seeds=[0, 1, 2],
)
