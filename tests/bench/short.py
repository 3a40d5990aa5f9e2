# Whole networks on 120 images, for comparing recipes: every length is given by the command that compares.
_base_ = ["../../configs/streets_standard.py"]

data = {
    "type": "streets",
    "height": 128,
    "width": 256,
    "train": 120,
    "val": 40,
    "seed": 0,
    "redundancy": 1,
}
