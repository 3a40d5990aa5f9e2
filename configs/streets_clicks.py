# The default board with equal clicks in the place of equal pixels: each round buys until its share
# of the pool's clicks is spent, whatever that is in pixels. It answers what a person with so much
# money gets; docs/guide/leaderboard.md says how to read it.
_base_ = ["streets.py"]

harness = dict(budget_unit="clicks", budgets=[0.05, 0.09, 0.15, 0.24, 0.38])
