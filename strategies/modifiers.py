"""What turns one strategy into another: ``bald+g2``, ``ripu+g3[alpha=0.4]``, ``margin+ratio``.

A modifier is a function of a strategy and of parameters of its own; several stand one behind the
other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from harness.errors import InputError
from harness.protocols import Strategy, SuperpixelQuery
from harness.superpixels import check_library
from strategies import fusion
from strategies.baselines import information_alone
from strategies.cereals import SCALES, check_scale
from strategies.field import weighted_chance
from strategies.parameters import Alpha, Beta, Cost, Label, Scale, SuperpixelPx

Maps = Mapping[str, Tensor]


def _base_score(strategy: Strategy, maps: Maps, rng: np.random.Generator) -> Tensor:
    """Return the score of a strategy that is to be changed, without a cost that it does not know."""
    if strategy.score is not None:
        return strategy.score(maps, rng)
    if strategy.fuse is None:
        raise ValueError(f"{strategy.name} has no score")
    information = maps.get("information")
    if information is None:  # it asks by chance: only the shape counts
        information = torch.zeros_like(maps["cost"])
    return strategy.fuse(information, None if strategy.cost == "none" else maps.get("cost"), rng)


def _fused(
    maps: Maps,
    rng: np.random.Generator,
    *,
    strategy: Strategy,
    fuse: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    score = _base_score(strategy, maps, rng)
    cost = maps.get("cost")
    return fuse(score, torch.zeros_like(score) if cost is None else cost)


def is_unbounded(strategy: Strategy) -> bool:
    """Return whether scores are drawn, as logarithms that no cost can be weighed against."""
    drawn = isinstance(strategy.score, partial) and strategy.score.func is _sampled
    return drawn or strategy.fuse is weighted_chance


def _with_cost(
    strategy: Strategy,
    cost: Cost,
    scale: Scale,
    name: str,
    words: str,
    fuse: Callable[[Tensor, Tensor], Tensor],
) -> Strategy:
    if strategy.cost != "none":
        raise InputError(f"+{name} must follow a strategy without a cost, got {strategy.name}")
    if is_unbounded(strategy):
        raise InputError(
            f"+{name} must follow scores in [0, 1], which it weighs against a cost, got "
            f"{strategy.name} (+power goes behind +{name})"
        )
    check_scale(cost, scale)
    score = partial(_fused, strategy=strategy, fuse=fuse)
    head, comma, rest = strategy.equation.partition(", ")
    own = f"{comma}{rest}" if head == "I" else f", I = {strategy.equation}"
    if strategy.select is not None:
        own = f", then {strategy.equation}"
    equation = f"{words}{SCALES[scale]}{own}"
    return replace(
        strategy,
        summary=f"{strategy.summary}, against predicted clicks",
        equation=equation,
        fuse=None,
        score=score,
        cost=cost,
        cost_scale=scale,
    )


def with_g1(strategy: Strategy, cost: Cost = "predicted", scale: Scale = "linear") -> Strategy:
    """I / (1 + C): CEREALS' first fusion of the score and the cost."""
    return _with_cost(strategy, cost, scale, "g1", "I / (1 + C)", fusion.g1)


def with_g2(strategy: Strategy, cost: Cost = "predicted", scale: Scale = "linear") -> Strategy:
    """(1 - C) I: CEREALS' second fusion of the score and the cost."""
    return _with_cost(strategy, cost, scale, "g2", "(1 - C) I", fusion.g2)


def with_g3(
    strategy: Strategy, alpha: Alpha = 0.5, cost: Cost = "predicted", scale: Scale = "linear"
) -> Strategy:
    """Weigh them, alpha I + (1 - alpha)(1 - C): CEREALS' third fusion of the score and the cost."""
    words = f"{alpha:g} I + {1 - alpha:g} (1 - C)"
    return _with_cost(strategy, cost, scale, "g3", words, partial(fusion.g3, alpha=alpha))


def _per_click(information: Tensor, cost: Tensor | None, _rng: np.random.Generator) -> Tensor:
    if cost is None:
        raise ValueError("cost must be a cost map, got None")
    return information / cost.clamp(min=1.0)


def with_ratio(strategy: Strategy, cost: Cost = "whole") -> Strategy:
    """I / C, both unscaled: information per predicted click, which CEREALS did not try.

    Choice: C is all that a region costs, c_p + c_i and 4 for a window's box, and never below 1.
    """
    if strategy.fuse is not information_alone or strategy.select is not None:
        raise InputError(
            "+ratio must follow a strategy that ranks by its information alone, got "
            f"{strategy.name}"
        )
    if strategy.cost != "none":
        raise InputError(f"+ratio must follow a strategy without a cost, got {strategy.name}")
    if cost == "constant":
        raise InputError("+ratio needs a cost, got constant")
    return replace(
        strategy,
        summary=f"{strategy.summary}, per predicted click",
        equation=f"I / C, {strategy.equation.partition(', ')[2]}, unscaled",
        fuse=_per_click,
        cost=cost,
        scaled=False,
    )


def _sampled(maps: Maps, rng: np.random.Generator, *, strategy: Strategy, beta: float) -> Tensor:
    score = _base_score(strategy, maps, rng)
    noise = torch.from_numpy(rng.gumbel(size=tuple(score.shape)))
    return beta * score.clamp(min=1e-12).log() + noise


def with_power(strategy: Strategy, beta: Beta = 1.0) -> Strategy:
    """Draw by beta ln(score) + Gumbel noise: a draw in proportion to the score's power.

    Stochastic batch acquisition (Kirsch et al. 2021, arXiv 2106.12059), "power" variant.
    """
    if strategy.measure is None and not strategy.maps:
        raise InputError(f"+power must follow a strategy with a measure, got {strategy.name}")
    if is_unbounded(strategy):
        raise InputError(
            f"+power must follow scores that are not drawn already, got {strategy.name}"
        )
    of = "s = the score, then " if strategy.select is not None else "s = "
    return replace(
        strategy,
        summary=f"{strategy.summary}, drawn in proportion",
        equation=f"{beta:g} ln s + Gumbel, {of}{strategy.equation}",
        fuse=None,
        score=partial(_sampled, strategy=strategy, beta=beta),
    )


def with_superpixels(
    strategy: Strategy, px: SuperpixelPx = None, label: Label = "polygon"
) -> Strategy:
    """Ask for superpixels (SLIC) in the place of windows.

    label: "polygon": their inside is labelled as a window's is; "dominant": one click gives a
    superpixel its most frequent class (Cai et al., CVPR 2021), so labels are noisy at borders.
    """
    if strategy.whole_image:
        raise InputError(
            f"+superpixels must follow a strategy that asks for windows, got {strategy.name}"
        )
    if label == "dominant" and strategy.cost != "none":
        raise InputError(
            "+superpixels[label=dominant] must follow a strategy without a cost: each superpixel "
            f"is one click, got {strategy.name}"
        )
    check_library()
    words = "superpixels" if label == "polygon" else "superpixels, one click each,"
    return replace(
        strategy,
        summary=strategy.summary.replace("windows", words),
        equation=f"{strategy.equation}, of superpixels"
        + (", their outline billed" if label == "polygon" else ""),
        superpixels=SuperpixelQuery(px, label == "dominant"),
    )


MODIFIERS: dict[str, Callable[..., Strategy]] = {
    "g1": with_g1,
    "g2": with_g2,
    "g3": with_g3,
    "ratio": with_ratio,
    "power": with_power,
    "superpixels": with_superpixels,
}
