"""CEREALS: windows that promise much information for few clicks (arXiv 1810.09726)."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
from torch import Tensor

from harness.errors import InputError
from harness.protocols import CostScale, CostSource, Fuse, Measure, Strategy
from strategies import fusion
from strategies.measures import entropy, vote_entropy
from strategies.parameters import Alpha, Cost, Passes, Scale


def _with_cost(information: Tensor, cost: Tensor | None) -> tuple[Tensor, Tensor]:
    if cost is None:
        raise ValueError("cost must be a cost map, got None")
    return information, cost


def fuse_g1(information: Tensor, cost: Tensor | None, _rng: np.random.Generator) -> Tensor:
    """Score by g1."""
    return fusion.g1(*_with_cost(information, cost))


def fuse_g2(information: Tensor, cost: Tensor | None, _rng: np.random.Generator) -> Tensor:
    """Score by g2."""
    return fusion.g2(*_with_cost(information, cost))


def fuse_g3(
    information: Tensor, cost: Tensor | None, _rng: np.random.Generator, *, alpha: float
) -> Tensor:
    """Score by g3."""
    return fusion.g3(*_with_cost(information, cost), alpha)


_BRACKETS: dict[CostSource, str] = {
    "whole": ", C = c_p + c_i + 4",
    "oracle": ", C = true clicks",
    "constant": ", C = 0",
}
SCALES: dict[CostScale, str] = {
    "linear": "",
    "robust": ", C from its 1st to its 99th percentile",
    "rank": ", C by rank",
    "conditional": ", C by rank among windows of like I",
}
_SUMMARIES: dict[CostSource, str] = {
    "predicted": "information against predicted clicks",
    "whole": "information against predicted clicks with what a window costs besides its vertices",
    "oracle": "the true clicks as cost: what a perfect cost model would bring",
    "constant": "the same cost for all: what no cost model brings",
}


def check_scale(cost: CostSource, scale: CostScale) -> None:
    """Refuse a scale where there is no cost to scale."""
    if cost == "constant" and scale != "linear":
        raise InputError(f"scale must be linear where cost is constant, got {scale}")


def _cereals(
    name: str,
    equation: str,
    measure: Measure,
    fuse: Fuse,
    *,
    n_passes: int | None,
    cost: CostSource,
    scale: CostScale,
) -> Strategy:
    check_scale(cost, scale)
    letter = "H" if measure is entropy else "V"
    words = f"{equation}{_BRACKETS.get(cost, '')}{SCALES[scale]}, I = sum {letter}"
    return Strategy(
        name,
        _SUMMARIES[cost],
        words,
        measure,
        fuse,
        n_passes=n_passes,
        cost=cost,
        cost_scale=scale,
    )


def g1_entropy(cost: Cost = "predicted", scale: Scale = "linear") -> Strategy:
    """Fusion g1 of entropy and cost."""
    return _cereals(
        "cereals-g1-entropy", "I / (1 + C)", entropy, fuse_g1, n_passes=1, cost=cost, scale=scale
    )


def g2_entropy(cost: Cost = "predicted", scale: Scale = "linear") -> Strategy:
    """Fusion g2 of entropy and cost."""
    return _cereals(
        "cereals-g2-entropy", "(1 - C) I", entropy, fuse_g2, n_passes=1, cost=cost, scale=scale
    )


def g3_entropy(alpha: Alpha = 0.5, cost: Cost = "predicted", scale: Scale = "linear") -> Strategy:
    """Fusion g3 of entropy and cost."""
    fusion.check_alpha(alpha)
    equation = f"{alpha:g} I + {1 - alpha:g} (1 - C)"
    return _cereals(
        "cereals-g3-entropy",
        equation,
        entropy,
        partial(fuse_g3, alpha=alpha),
        n_passes=1,
        cost=cost,
        scale=scale,
    )


def g1_vote_entropy(
    passes: Passes = None, cost: Cost = "predicted", scale: Scale = "linear"
) -> Strategy:
    """Fusion g1 of vote entropy and cost."""
    return _cereals(
        "cereals-g1-vote-entropy",
        "I / (1 + C)",
        vote_entropy,
        fuse_g1,
        n_passes=passes,
        cost=cost,
        scale=scale,
    )


def g2_vote_entropy(
    passes: Passes = None, cost: Cost = "predicted", scale: Scale = "linear"
) -> Strategy:
    """Fusion g2 of vote entropy and cost."""
    return _cereals(
        "cereals-g2-vote-entropy",
        "(1 - C) I",
        vote_entropy,
        fuse_g2,
        n_passes=passes,
        cost=cost,
        scale=scale,
    )


def g3_vote_entropy(
    alpha: Alpha = 0.5,
    passes: Passes = None,
    cost: Cost = "predicted",
    scale: Scale = "linear",
) -> Strategy:
    """Fusion g3 of vote entropy and cost."""
    fusion.check_alpha(alpha)
    equation = f"{alpha:g} I + {1 - alpha:g} (1 - C)"
    return _cereals(
        "cereals-g3-vote-entropy",
        equation,
        vote_entropy,
        partial(fuse_g3, alpha=alpha),
        n_passes=passes,
        cost=cost,
        scale=scale,
    )


def g2_entropy_oracle_cost() -> Strategy:
    """Fusion g2 of entropy and the TRUE clicks.

    The bound that every board shows, not a competitor.
    """
    return replace(g2_entropy("oracle"), name="cereals-g2-entropy-oracle-cost")
