"""Figures whose names are shown as they are, written as whole files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from harness.files import atomic_write

mpl.rcParams["text.parse_math"] = False  # a class or a board may hold a dollar in its name


def save(figure: Figure, path: Path, *, kind: str = "png", dpi: int = 110, **options: Any) -> None:
    """Write a figure under a temporary name, then rename it."""
    with atomic_write(path) as draft:
        figure.savefig(draft, format=kind, dpi=dpi, **options)
