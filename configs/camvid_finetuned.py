# CamVid with a backbone that learns: does the frozen board (camvid.py) order strategies alike? The
# budgets are every other one of its own, so that six strategies with three seeds take hours and not
# days on two cores. docs/notebook/camvid.md says how the recipe was chosen.
_base_ = ["camvid.py"]

remark = "The backbone starts with ImageNet weights and learns with the head."

model = dict(backbone=dict(norm_eval=True))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={"backbone": dict(lr_mult=0.1)}))
param_scheduler = [dict(type="PolyLR", power=0.9)]
training = dict(frozen_trunk=False, batch_size=16)

harness = dict(budgets=[0.06, 0.16, 0.4], rounds=None, seeds=[0, 1, 2])
