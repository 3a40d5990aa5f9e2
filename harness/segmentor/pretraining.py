"""Pretraining of a backbone.

Weights learned on other generated scenes, on a coarser task than the board's.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.data.cityscapes import ClickOracle, Split
from harness.data.labels import CLASS_NAMES, IGNORE
from harness.errors import InputError, RunError
from harness.files import atomic_write
from harness.loop import draw_seed_set
from harness.pool import LabelledPool

FORMAT = "harness-trunk-1"

GROUPS: dict[str, tuple[str, ...]] = {
    "flat": ("road", "sidewalk"),
    "construction": ("building", "wall", "fence"),
    "object": ("pole", "traffic light", "traffic sign"),
    "nature": ("vegetation", "terrain"),
    "sky": ("sky",),
    "human": ("person", "rider"),
    "vehicle": ("car", "truck", "bus", "train", "motorcycle", "bicycle"),
}
"""Choice: the pretraining task is to tell Cityscapes' seven categories apart, as ImageNet's classes are coarser than a board's pixels."""


def group_table() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return the (256,) lookup from train id to the number of its group; void stays void."""
    table = np.full(256, IGNORE, np.uint8)
    for number, names in enumerate(GROUPS.values()):
        for name in names:
            table[CLASS_NAMES.index(name)] = number
    return table


def grouped_pool(split: Split) -> LabelledPool:
    """Return a pool in which every image is labelled in full, by group."""
    pool, table = LabelledPool(split.index.sizes), group_table()
    whole = [candidate.region for candidate in draw_seed_set(pool.sizes, len(pool.sizes), 0)]
    answers = ClickOracle(split).annotate(whole, pool)
    pool.add([replace(answer, labels=table[answer.labels]) for answer in answers])
    return pool


def save_backbone(backbone: Any, path: Path, about: str) -> None:
    """Write a backbone's weights in half precision, with a line that says where they come from."""
    state = {
        name: value.half() if value.is_floating_point() else value
        for name, value in backbone.state_dict().items()
    }
    if not all(bool(torch.isfinite(value).all()) for value in state.values()):
        raise RunError(
            "a weight or running statistic of the backbone does not fit into half precision"
        )
    with atomic_write(path) as draft, draft.open("wb") as stream:
        torch.save({"format": FORMAT, "about": about, "state": state}, stream)


def read_backbone(path: Path) -> dict[str, Any]:
    """Read weights, ours or torchvision's; tensors only.

    Raises:
        InputError: no such file, or not one of weights.
    """
    if not path.is_file():
        raise InputError(f"backbone.pretrained: no such file: {path}")
    try:
        document = torch.load(path, map_location="cpu", weights_only=True)
    except (
        Exception
    ) as error:  # a torch file can be broken in as many ways as a zip and a pickle can
        raise InputError(
            f"backbone.pretrained: {path} cannot be read as weights ({type(error).__name__})"
        ) from error
    if not isinstance(document, dict):
        raise InputError(f"backbone.pretrained: {path} holds no weights")
    return document
