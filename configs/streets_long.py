# A cross-check of the standard board where trainings are three times longer: one round to the same 7 % of the pixels.
_base_ = ["streets_standard.py"]

training = dict(steps=2000, steps_per_image=40, max_steps=5000)

harness = dict(images_per_round=10, rounds=1, seeds=[0, 1, 2])
