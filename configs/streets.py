# The default board: a first look at the standard board, on its images, within ten minutes on two
# cores. It is a proxy: its trunk is given (made by harness pretext on other scenes) and stays as it
# is, so each training is of the head alone, on features that are made once per image.
# docs/notebook/training.md says how well it orders strategies beside the standard board, which
# trains whole networks.
_base_ = ["streets_standard.py"]

remark = "A first look, and a proxy: the trunk is given and frozen, only heads are trained. The standard board trains whole networks."

data = dict(val=240)  # each class is in 33 of them or more

model = dict(backbone=dict(pretrained="trunks/streets.pth"), decode_head=dict(loss_stride=4))

training = dict(steps=120, steps_per_image=10, max_steps=1000, batch_size=4, crop=(128, 256), jitter=False, frozen_trunk=True)

# What docs/notebook/cost-model.md found since the standard board was published.
cost_model = dict(hidden=16, weight_decay=0.3)

# Lengths and budgets were chosen on seeds 100 and 101: random windows pass 95 % of full data before
# the last round (docs/notebook/streets.md).
harness = dict(budgets=[0.03, 0.06, 0.1, 0.18, 0.3], rounds=None, images_per_round=None, seeds=[0, 1, 2])
