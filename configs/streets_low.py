# The default board's low regime: from 2 to 6 % of the pixels, where the network knows next to
# nothing (docs/notebook/regimes.md).
_base_ = ["streets.py"]

harness = dict(budgets=[0.03, 0.04, 0.06])
