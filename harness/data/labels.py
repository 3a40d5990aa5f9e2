"""The Cityscapes label table.

Names, label ids as in ``*_labelIds.png`` and the 19 train ids (cityscapesScripts).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IGNORE = 255
"""Train id of a pixel that takes no part in training or evaluation (void)."""

NO_TRAIN_ID = -1


@dataclass(frozen=True, slots=True)
class Label:
    """One row of the table; ``train_id`` is ``NO_TRAIN_ID`` where the class is not evaluated."""

    name: str
    label_id: int
    train_id: int = NO_TRAIN_ID


LABELS: tuple[Label, ...] = (
    Label("unlabeled", 0),
    Label("ego vehicle", 1),
    Label("rectification border", 2),
    Label("out of roi", 3),
    Label("static", 4),
    Label("dynamic", 5),
    Label("ground", 6),
    Label("road", 7, 0),
    Label("sidewalk", 8, 1),
    Label("parking", 9),
    Label("rail track", 10),
    Label("building", 11, 2),
    Label("wall", 12, 3),
    Label("fence", 13, 4),
    Label("guard rail", 14),
    Label("bridge", 15),
    Label("tunnel", 16),
    Label("pole", 17, 5),
    Label("polegroup", 18),
    Label("traffic light", 19, 6),
    Label("traffic sign", 20, 7),
    Label("vegetation", 21, 8),
    Label("terrain", 22, 9),
    Label("sky", 23, 10),
    Label("person", 24, 11),
    Label("rider", 25, 12),
    Label("car", 26, 13),
    Label("truck", 27, 14),
    Label("bus", 28, 15),
    Label("caravan", 29),
    Label("trailer", 30),
    Label("train", 31, 16),
    Label("motorcycle", 32, 17),
    Label("bicycle", 33, 18),
    Label("license plate", -1),
)

HIGHEST_LABEL_ID = max(label.label_id for label in LABELS)

BY_NAME: dict[str, Label] = {label.name: label for label in LABELS}

CLASS_NAMES: tuple[str, ...] = tuple(
    label.name
    for label in sorted(LABELS, key=lambda row: row.train_id)
    if label.train_id != NO_TRAIN_ID
)
"""The 19 evaluated classes, in the order of their train ids."""

NUM_CLASSES = len(CLASS_NAMES)


def find_label(name: str) -> Label | None:
    """Return the row of an object's label.

    ``cargroup`` counts as ``car``, as in cityscapesScripts; None if unknown.
    """
    label = BY_NAME.get(name)
    if label is None and name.endswith("group"):
        label = BY_NAME.get(name.removesuffix("group"))
    return label


def train_id_table() -> npt.NDArray[np.uint8]:
    """Return the (256,) lookup from label id to train id.

    Ids without a train id map to ``IGNORE``.
    """
    table = np.full(256, IGNORE, dtype=np.uint8)
    for label in LABELS:
        if label.train_id != NO_TRAIN_ID:
            table[label.label_id] = label.train_id
    return table
