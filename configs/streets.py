# The default board: a first look at the standard board, on its images, within ten minutes on two cores. It is a proxy: its trunk is
# given (made by harness pretext on other scenes) and stays as it is, so each training is of the head alone, on features that are made
# once per image. docs/training.md says how well it orders strategies beside the standard board, which trains whole networks.
_base_ = ["streets_standard.py"]

remark = "A first look, and a proxy: the trunk is given and frozen, only heads are trained. The standard board trains whole networks."

model = dict(backbone=dict(pretrained="trunks/streets.pth"), decode_head=dict(loss_stride=4))

training = dict(steps=150, steps_per_image=25, max_steps=2000, batch_size=4, crop=(128, 256), jitter=False, frozen_trunk=True)

# What docs/cost-model.md found since the standard board was published.
cost_model = dict(hidden=16, weight_decay=0.3)

harness = dict(rounds=4, seeds=[0, 1, 2])
