# A proxy of the standard board: its trunk is given (harness pretext --config streets_standard --out configs/trunks/streets.pth)
# and stays as it is, so each training is of the head alone, on features that are made once per image. docs/training.md says how
# well it orders strategies.
_base_ = ["streets_standard.py"]

remark = "A proxy board: the trunk is given and frozen, only heads are trained. It stands in for the full board; it is not one."

model = dict(backbone=dict(pretrained="trunks/streets.pth"), decode_head=dict(loss_stride=4))

training = dict(steps=300, steps_per_image=20, max_steps=1200, batch_size=4, frozen_trunk=True)
