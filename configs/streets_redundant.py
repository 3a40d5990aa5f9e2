# The default board on a pool whose photographs come in fives: each scene is seen five times with
# small changes, as in a film (docs/notebook/regimes.md).
_base_ = ["streets.py"]

data = dict(redundancy=5)
