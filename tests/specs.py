"""Short trainings on the tiny data of the tests."""

from __future__ import annotations

from typing import Any

from harness.blocks import CostModel, Training
from harness.built_in import config_path
from harness.config import ExperimentSpec, load_spec


def training(**changes: Any) -> Training:
    """Return a training of 12 steps of two crops of 64 px."""
    short = {"steps": 12, "max_steps": 100, "batch_size": 2, "crop": (64, 64)}
    return Training(**{**short, **changes})


def short_spec(**changes: Any) -> ExperimentSpec:
    """Return the standard board's config with a short training and windows of 16 px.

    Args:
        changes: options of the training, or blocks of the config.
    """
    spec = load_spec(config_path("streets_standard"))
    own = {name: changes.pop(name) for name in set(changes) & set(Training.model_fields)}
    blocks = {
        "training": training(**own),
        "cost_model": CostModel(steps=20),
        "harness": spec.harness.model_copy(update={"window": 16}),
    }
    return spec.model_copy(update={**blocks, **changes})
