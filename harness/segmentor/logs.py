"""Losses of trainings for mmengine's visualization backends: TensorBoard, W&B and others."""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mmengine.visualization  # noqa: F401  (registers the backends)
from mmengine.registry import VISBACKENDS

from harness.errors import InputError, shorten
from harness.types import LossPoint

_NEEDS = {
    "TensorboardVisBackend": ("tensorboard", "tensorboardX"),
    "WandbVisBackend": ("wandb",),
    "MLflowVisBackend": ("mlflow",),
    "ClearMLVisBackend": ("clearml",),
    "NeptuneVisBackend": ("neptune",),
    "DVCLiveVisBackend": ("dvclive",),
    "AimVisBackend": ("aim",),
}


def check_backends(backends: Sequence[dict[str, Any]]) -> None:
    """Refuse, before any work, a backend that is not known or whose package is missing.

    Raises:
        InputError: one line that names the entry of the config.
    """
    for number, backend in enumerate(backends):
        kind = backend.get("type")
        if not isinstance(kind, str) or VISBACKENDS.get(kind) is None:
            known = ", ".join(sorted(VISBACKENDS.module_dict))
            raise InputError(
                f"vis_backends[{number}].type must be one of {known}, got {shorten(kind)}"
            )
        packages = _NEEDS.get(kind, ())
        if packages and not any(map(importlib.util.find_spec, packages)):
            raise InputError(
                f"vis_backends[{number}] needs the package {' or '.join(packages)}, which is not "
                "installed"
            )


def write_losses(
    backends: Sequence[dict[str, Any]], folder: Path, losses: Sequence[LossPoint]
) -> None:
    """Give the losses of one training to each backend, which keeps its files in ``folder``."""
    for backend in backends:
        built = VISBACKENDS.build({"save_dir": str(folder), **copy.deepcopy(backend)})
        for point in losses:
            built.add_scalars({"loss": point.loss, "lr": point.lr}, step=point.step)
        built.close()
