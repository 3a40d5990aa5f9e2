"""Simulated region-based active learning for semantic segmentation.

Which strategy really saves clicks?

Public names: ``Experiment`` and ``load_board`` (see ``harness.api``), ``Strategy``, ``View``,
``register_dataset``. Everything else is internal.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from harness.api import Experiment as Experiment
    from harness.api import load_board as load_board
    from harness.data.source import register_dataset as register_dataset
    from harness.protocols import Strategy as Strategy
    from harness.views import View as View

_PUBLIC = {
    "Experiment": "harness.api",
    "Strategy": "harness.protocols",
    "View": "harness.views",
    "load_board": "harness.api",
    "register_dataset": "harness.data.source",
}


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'harness' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
