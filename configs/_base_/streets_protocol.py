# All of the standard board but its network, for configs whose network comes from somewhere else, such as
# _base_ = ["harness::_base_/streets_protocol.py", "mmseg::_base_/models/deeplabv3plus_r50-d8.py"]: mmengine merges no key of two bases.
_base_ = ["recipe.py"]

data = dict(type="streets", height=128, width=256, train=200, val=60, seed=1, redundancy=1)

training = dict(
    steps=1000,
    steps_per_image=130,
    max_steps=5000,
    batch_size=2,
    crop=(128, 128),
    flip=True,
    jitter=True,
    class_weights=True,
)

# As it was when the board was published; docs/notebook/cost-model.md and
# docs/notebook/training.md have found better since.
cost_model = dict(hidden=64, weight_decay=1e-2)

harness = dict(
    window=64,
    stride=1,
    overlap="forbid",
    seed_images=4,
    images_per_round=2,
    rounds=5,
    committee=8,
    seeds=[0, 1, 2, 3, 4],
)
