# What `harness tune` searches by default: the weight of information against cost, and the side of the window, on the default board.
_base_ = ["streets.py"]

tune = dict(
    strategy=["cereals-g3-entropy"],
    parameters=dict(alpha=(0.0, 1.0)),
    window=[32, 64],
    seeds=[100, 101],
    trials=12,
    city_share=0.25,
)
