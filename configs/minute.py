# A first impression in a minute: three strategies, one seed, few steps. It shows how things work, and nothing about strategies.
_base_ = ["streets.py"]

remark = "DEMONSTRATION: one seed and short trainings show how things work, and nothing about strategies."

data = dict(train=60, val=20)
training = dict(steps=60, steps_per_image=5)
harness = dict(budgets=[], seed_images=3, images_per_round=3, rounds=3, seeds=[0])
