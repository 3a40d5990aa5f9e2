"""Which strategies of a board can be told apart: one model for intervals, comparisons and ranks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from harness.publish.board import NOISE_STRATEGY, Board, Row, RunCurve, reached_at
from harness.results import Run
from harness.scoring import aubc
from harness.statistics import (
    Differences,
    Floats,
    compare_pairs,
    dunnett_quantile,
    groups,
    half_width,
    holm,
    image_weights,
    improvement,
    log_rank,
    penalties,
    ranks,
    resampled_miou,
    seeds_needed,
)

RESAMPLES = 2000
LEVEL = 0.05
FEWEST_SEEDS = 3


@dataclass(frozen=True, slots=True)
class Estimate:
    """A difference and its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Place:
    """One strategy's place by AUBC over one axis.

    rank, worst_rank: None for bounds; 1 + how many are demonstrably better, and the number of
    ranked strategies less those that are demonstrably worse. gain: its AUBC minus that of
    random-region, with Dunnett's simultaneous interval.
    """

    rank: int | None
    worst_rank: int | None
    gain: Estimate | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """What can be said about one strategy.

    lead: how many more of its runs reached 95 % of the full-data mIoU than would be expected if it
    did as random-region does; negative where it is later. sooner: the p-value of that, two-sided:
    log-rank test, Holm's correction over all strategies.
    """

    clicks: Place
    pixels: Place
    lead: float | None
    sooner: float | None


@dataclass(frozen=True, slots=True)
class Pair:
    """Two strategies: the difference of their AUBC over clicks, first minus second.

    Its interval has the level that makes Holm's adjusted p-value 0.05 at its ends, so it excludes 0
    exactly where the pair differs. improvement: how often a run of the first beats one of the
    second.
    """

    first: str
    second: str
    difference: Estimate
    p_adjusted: float
    differs: bool
    improvement: float


@dataclass(frozen=True, slots=True)
class Power:
    """What these seeds can show.

    gap: the median over pairs of the difference in AUBC that is found as often as missed. closest:
    the pair nearest to being told apart, and the number of seeds that would do it at its present
    difference; None where all differ. seeds: None where more than 100 would not do: the
    validation images are too few.
    """

    gap: float
    closest: tuple[str, str] | None
    seeds: int | None


@dataclass(frozen=True, slots=True)
class Axis:
    """All pairs of ranked strategies by AUBC over one axis, and what the seeds can show there.

    bars: runs of strategies of which no pair differs, as (first, last) in the order of the table.
    """

    pairs: list[Pair]
    places: dict[str, Place]
    bars: list[tuple[str, str]]
    power: Power | None

    @property
    def separable(self) -> int:
        """How many pairs differ."""
        return sum(pair.differs for pair in self.pairs)


@dataclass(frozen=True, slots=True)
class Significance:
    """What a board can tell apart, over clicks and over pixels.

    penalty: the share of budgets at which the first beats the second.
    """

    comparisons: dict[str, Comparison]
    clicks: Axis
    pixels: Axis
    penalty: dict[str, dict[str, float]]
    seeds: int


def compare_strategies(board: Board) -> Significance | None:
    """Compare all strategies by AUBC over clicks and by AUBC over pixels.

    None with fewer than three seeds that all of them have, with nothing to rank, or with boards of
    different shapes mixed.

    Choice: the variance of a pair's difference has two parts. Over seeds, which pair the runs: the
    variance of the difference, or, if that is larger, what all other pairs make of it (a moderated
    t-test), since a few seeds alone say little about it. Over val images, which all runs share: a
    bootstrap of the means over seeds, so that a claim holds for other images of the kind. Ranks:
    Holm's correction over all pairs of ranked strategies at 0.05. Against random-region: Dunnett's
    simultaneous intervals of the same variances. tests/bench/power.py measures errors and power.
    """
    seeds = sorted(set.intersection(*({curve.seed for curve in row.curves} for row in board.rows)))
    shapes = {
        (len(run.rounds), len(run.rounds[0].areas))
        for group in board.groups.values()
        for run in group
    }
    if len(seeds) < FEWEST_SEEDS or len(shapes) > 1 or all(row.is_bound for row in board.rows):
        return None
    images = len(board.any_run.rounds[0].areas)
    weights = image_weights(images, RESAMPLES, np.random.default_rng(0))
    resampled = {
        row.strategy: _resampled(board.groups[row.strategy], seeds, weights) for row in board.rows
    }
    clicks = _axis(board, seeds, resampled, "cost_b", board.click_stop, images)
    pixels = _axis(board, seeds, resampled, "pixel_share", board.pixel_stop, images)
    kept = [row for row in board.rows if not row.is_bound]
    bought = np.array([_by_seed(row, seeds, lambda curve: curve.miou[1:]) for row in kept])
    by_image = np.array([resampled[row.strategy].mean(axis=0)[:, 1:] for row in kept])
    matrix = penalties(bought, by_image, images).tolist()
    sooner = _sooner(board)
    names = [row.strategy for row in kept]
    return Significance(
        {
            row.strategy: Comparison(
                clicks.places[row.strategy],
                pixels.places[row.strategy],
                *sooner.get(row.strategy, (None, None)),
            )
            for row in board.rows
        },
        clicks,
        pixels,
        {a: dict(zip(names, line, strict=True)) for a, line in zip(names, matrix, strict=True)},
        len(seeds),
    )


def _by_seed(row: Row, seeds: list[int], value: Callable[[RunCurve], Any]) -> list[Any]:
    curves = {curve.seed: curve for curve in row.curves}
    return [value(curves[seed]) for seed in seeds]


def _resampled(group: list[Run], seeds: list[int], weights: Floats) -> Floats:
    """Return (seeds, resamples, rounds): mIoU on val images drawn with replacement."""
    by_seed = {run.info.seed: run for run in group}
    return np.array(
        [
            np.stack(
                [
                    resampled_miou([area[1:] for area in record.areas], weights)
                    for record in by_seed[seed].rounds
                ],
                axis=1,
            )
            for seed in seeds
        ]
    )


def _axis(
    board: Board,
    seeds: list[int],
    resampled: dict[str, Floats],
    shares: Literal["cost_b", "pixel_share"],
    stop: float,
    images: int,
) -> Axis:
    """Compare all pairs by AUBC over one axis, up to ``stop``."""
    scores, by_image = [], []
    for row in board.rows:
        spent = _by_seed(row, seeds, lambda curve: getattr(curve, shares))
        weights = np.array([_aubc_weights(own, max(stop, own[0])) for own in spent])
        miou = np.array(_by_seed(row, seeds, lambda curve: curve.miou))
        scores.append((weights * miou).sum(axis=1))
        by_image.append(np.einsum("sr,sbr->b", weights, resampled[row.strategy]) / len(seeds))
    every, images_of = np.array(scores), np.array(by_image)
    names = [row.strategy for row in board.rows]
    ranked = [number for number, row in enumerate(board.rows) if not row.is_bound]
    kept = [names[number] for number in ranked]
    pairs = compare_pairs(every[ranked], images_of[ranked], images)
    better = pairs.is_better(LEVEL)
    worst = [len(ranked) - int(row.sum()) for row in better]
    place: dict[str, tuple[int | None, int | None]] = dict.fromkeys(names, (None, None))
    place.update(zip(kept, zip(ranks(better), worst, strict=True), strict=True))
    gains = _gains(compare_pairs(every, images_of, images), names)
    return Axis(
        _pairs(pairs, kept, every[ranked]),
        {name: Place(*place[name], gains.get(name)) for name in names},
        [(kept[first], kept[last]) for first, last in groups(better)],
        _power(pairs, kept, len(seeds)),
    )


def _sooner(board: Board) -> dict[str, tuple[float, float]]:
    """Return lead and adjusted p-value of each strategy against random-region, where both are known."""
    by_name = {row.strategy: row for row in board.rows}
    if NOISE_STRATEGY not in by_name or board.threshold is None:
        return {}
    followed = {
        name: reached_at([curve.over_clicks() for curve in row.curves], board.threshold)
        for name, row in by_name.items()
    }
    others = [name for name in by_name if name != NOISE_STRATEGY]
    raw = [log_rank(followed[name], followed[NOISE_STRATEGY]) for name in others]
    adjusted = holm([p for _, p in raw])
    return {name: (lead, p) for name, (lead, _), p in zip(others, raw, adjusted, strict=True)}


def _pairs(found: Differences, names: list[str], scores: Floats) -> list[Pair]:
    """Put a test's rows into words; each interval excludes 0 exactly where Holm's test does."""
    rows = []
    for number, (a, b) in enumerate(found.pairs):
        p, adjusted = found.p[number], found.adjusted[number]
        level = LEVEL * p / adjusted if adjusted > 0.0 else LEVEL / len(found.pairs)
        value = found.difference[number]
        half = half_width(found.variance[number], found.freedom[number], level)
        estimate = Estimate(value, value - half, value + half)
        chance = improvement(scores[a].tolist(), scores[b].tolist())
        rows.append(Pair(names[a], names[b], estimate, adjusted, adjusted < LEVEL, chance))
    return rows


def _gains(found: Differences, names: list[str]) -> dict[str, Estimate]:
    """Return each strategy's difference to random-region with Dunnett's simultaneous interval."""
    if NOISE_STRATEGY not in names:
        return {}
    control, gains = names.index(NOISE_STRATEGY), {}
    for number, (a, b) in enumerate(found.pairs):
        if control not in (a, b):
            continue
        name, sign = (names[b], -1.0) if a == control else (names[a], 1.0)
        value = sign * found.difference[number]
        reach = dunnett_quantile(len(names) - 1, round(found.freedom[number], 2), LEVEL)
        half = reach * math.sqrt(found.variance[number])
        gains[name] = Estimate(value, value - half, value + half)
    return gains


def _power(found: Differences, names: list[str], seeds: int) -> Power | None:
    """Say what a board's seeds can show, by the first and hardest step of Holm's procedure."""
    if not found.pairs:
        return None
    level = LEVEL / len(found.pairs)
    gaps = [
        half_width(variance, freedom, level)
        for variance, freedom in zip(found.variance, found.freedom, strict=True)
    ]
    left = [n for n, p in enumerate(found.adjusted) if p >= LEVEL and found.difference[n] != 0.0]
    if not left:
        return Power(float(np.median(gaps)), None, None)
    nearest = min(left, key=lambda number: found.p[number])
    a, b = found.pairs[nearest]
    return Power(
        float(np.median(gaps)), (names[a], names[b]), seeds_needed(found, nearest, seeds, level)
    )


def _aubc_weights(shares: list[float], stop: float) -> Floats:
    """Return what each round counts for in an AUBC, which is linear in the scores."""
    units = np.eye(len(shares))
    return np.array(
        [aubc(list(zip(shares, unit.tolist(), strict=True)), stop=stop) for unit in units]
    )
