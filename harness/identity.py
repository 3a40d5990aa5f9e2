"""Constants of the code that decide about results.

A change of one is a change of every board's identity.

The list holds the values with which the first boards were published. What differs from them counts
for the identity of a config and of a training; what does not, leaves old identities as they are.
"""

from __future__ import annotations

import hashlib
import importlib
from enum import EnumType
from typing import Any

PUBLISHED: dict[str, Any] = {
    "harness.acquisition.MOST_COSTS": 1048576,
    "harness.clicks.BOX_CLICKS": 4,
    "harness.clicks._NEIGHBOURS": "639047248844",
    "harness.data.labels.IGNORE": 255,
    "harness.data.labels.LABELS": "c38380bebdc1",
    "harness.regions.LIKE_INFORMATION": 20,
    "harness.regions.ROBUST_SHARES": "a3602acf9043",
    "harness.regions._EXACT_BITS": 52,
    "harness.seeds.Purpose": "583bad9cb1cd",
    "harness.segmentor.cost_head._CELL_PX": 8,
    "harness.segmentor.coverage._TRIES": 4,
    "harness.segmentor.crops._PLAN": 1,
    "harness.segmentor.efficientnet.LEVELS": "68a5deaa7006",
    "harness.segmentor.frozen._GREY": 128,
    "harness.segmentor.fcn8s.LOGIT_STRIDE_PX": 8,
    "harness.segmentor.fcn8s.STAGES": "def945ded1e9",
    "harness.segmentor.network._MEMBERS_AT_ONCE": 4,
    "harness.segmentor.trainer._ALIGNED_PX": 32,
    "harness.segmentor.trainer._FIELD_PX": 224,
    "harness.votes.LARGEST_COMMITTEE": 255,
}
"""Module and name -> value; of tables a hash."""


def value_of(name: str) -> Any:
    """Return a constant as the list holds it."""
    module, _, constant = name.rpartition(".")
    value = getattr(importlib.import_module(module), constant)
    if isinstance(value, int | float | str):
        return value
    rows = list(value) if isinstance(value, EnumType) else value
    return hashlib.sha256(repr(rows).encode()).hexdigest()[:12]


def changed_constants() -> dict[str, dict[str, Any]]:
    """Return the constants that are not those of the published boards; empty where all are."""
    changed = {name: now for name, was in PUBLISHED.items() if (now := value_of(name)) != was}
    return {"constants": changed} if changed else {}
