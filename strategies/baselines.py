"""What CEREALS is measured against: chance, information alone, cost alone.

By image and by region.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from harness.protocols import Strategy
from strategies.measures import entropy, vote_entropy
from strategies.parameters import Cost, Passes


def chance(information: Tensor, _cost: Tensor | None, rng: np.random.Generator) -> Tensor:
    """Score every placement by an independent uniform draw."""
    return torch.from_numpy(rng.random(tuple(information.shape)))


def information_alone(
    information: Tensor, _cost: Tensor | None, _rng: np.random.Generator
) -> Tensor:
    """Score every placement by its scaled information."""
    return information


def cost_alone(_information: Tensor, cost: Tensor | None, _rng: np.random.Generator) -> Tensor:
    """Score every placement by 1 - its scaled cost: the cheapest first."""
    if cost is None:
        raise ValueError("cost must be a cost map, got None")
    return 1.0 - cost


def random_image() -> Strategy:
    """Whole images at random."""
    return Strategy(
        "random-image", "whole images at random", "uniform", fuse=chance, whole_image=True
    )


def random_region() -> Strategy:
    """Windows at random."""
    return Strategy("random-region", "windows at random", "uniform", fuse=chance)


def entropy_image() -> Strategy:
    """Whole images by the sum of their entropy."""
    return Strategy(
        "entropy-image",
        "whole images by entropy",
        "I, I = sum H",
        entropy,
        information_alone,
        whole_image=True,
    )


def entropy_region() -> Strategy:
    """Windows by the sum of their entropy."""
    return Strategy(
        "entropy-region", "windows by entropy", "I, I = sum H", entropy, information_alone
    )


def vote_entropy_image(passes: Passes = None) -> Strategy:
    """Whole images by the disagreement of a Monte-Carlo dropout committee."""
    return Strategy(
        "vote-entropy-image",
        "whole images by committee disagreement",
        "I, I = sum V",
        vote_entropy,
        information_alone,
        n_passes=passes,
        whole_image=True,
    )


def vote_entropy_region(passes: Passes = None) -> Strategy:
    """Windows by the disagreement of a Monte-Carlo dropout committee."""
    return Strategy(
        "vote-entropy-region",
        "windows by committee disagreement",
        "I, I = sum V",
        vote_entropy,
        information_alone,
        n_passes=passes,
    )


def cheapest_region(cost: Cost = "predicted") -> Strategy:
    """Windows that need the fewest clicks, whatever they show."""
    equation = {
        "whole": "1 - C, C = c_p + c_i + 4",
        "oracle": "1 - C, C = true clicks",
        "constant": "1 - C, C = 0",
    }.get(cost, "1 - C")
    kind = {"oracle": "true", "constant": "equal"}.get(cost, "predicted")
    return Strategy(
        "cheapest-region",
        f"the windows with the fewest {kind} clicks",
        equation,
        fuse=cost_alone,
        cost=cost,
    )
