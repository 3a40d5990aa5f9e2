# The default board's high regime: from 15 to 60 % of the pixels, where the network knows most
# (docs/notebook/regimes.md).
_base_ = ["streets.py"]

harness = dict(seed_images=30, budgets=[0.2, 0.3, 0.45, 0.6])
