"""Which strategies of a board can be told apart: one model for intervals, verdicts and ranks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from harness.publish.board import NOISE_STRATEGY, Board, Row, RunCurve
from harness.results import Run
from harness.scoring import aubc, share_at
from harness.statistics import (
    Differences,
    Floats,
    compare_pairs,
    dunnett_quantile,
    groups,
    half_width,
    image_weights,
    penalties,
    ranks,
    resampled_miou,
    seed_draws,
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
class Verdict:
    """One strategy's place.

    rank, worst_rank: None for bounds; 1 + how many are demonstrably better, and the number of
    ranked strategies less those that are demonstrably worse. gain: AUBC over clicks minus that of
    random-region, with Dunnett's simultaneous interval. saved: the share of random-region's clicks
    that is not needed to reach its last mIoU; None where the strategy does not reach it in nearly
    every resample.
    """

    rank: int | None
    worst_rank: int | None
    gain: Estimate | None
    saved: Estimate | None


@dataclass(frozen=True, slots=True)
class Pair:
    """Two strategies: the difference of their AUBC over clicks, first minus second.

    Its interval has the level at which Holm's procedure tests this pair, so it excludes 0 exactly
    where the pair differs.
    """

    first: str
    second: str
    difference: Estimate
    p_adjusted: float
    differs: bool


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
class Significance:
    """Verdicts by strategy and all pairs of ranked strategies.

    penalty: the share of budgets at which the first beats the second.
    """

    verdicts: dict[str, Verdict]
    compared: list[Pair]
    penalty: dict[str, dict[str, float]]
    bars: list[tuple[str, str]]
    seeds: int
    power: Power | None

    @property
    def separable(self) -> int:
        """How many pairs differ."""
        return sum(pair.differs for pair in self.compared)

    @property
    def pairs(self) -> int:
        """How many pairs there are."""
        return len(self.compared)


@dataclass(frozen=True, slots=True)
class _Samples:
    """One strategy under resampling.

    by_image: (resamples, rounds) mIoU, means over all seeds, of resampled val images; area: the
    same as AUBC, (resamples,). miou, cost_b: (resamples, rounds) means over resampled seeds.
    """

    by_image: Floats
    area: Floats
    miou: Floats
    cost_b: Floats


def compare_strategies(board: Board) -> Significance | None:
    """Compare all strategies by AUBC over clicks.

    None with fewer than three seeds that all of them have, with nothing to rank, or with boards of
    different shapes mixed.

    Choice: the variance of a pair's difference has two parts. Over seeds, which pair the runs: the
    variance of the difference, drawn towards that of all other pairs (a moderated t-test), since a
    few seeds alone say little about it. Over val images, which all runs share: a bootstrap of the
    means over seeds, so that a claim holds for other images of the kind. Ranks: Holm's correction
    over all pairs of ranked strategies at 0.05. Against random-region: Dunnett's simultaneous
    intervals of the same variances. tests/bench/power.py measures errors and power.
    """
    seeds = sorted(set.intersection(*({curve.seed for curve in row.curves} for row in board.rows)))
    shapes = {
        (len(run.rounds), len(run.rounds[0].areas))
        for group in board.groups.values()
        for run in group
    }
    if len(seeds) < FEWEST_SEEDS or len(shapes) > 1 or all(row.is_bound for row in board.rows):
        return None
    n_images = len(board.any_run.rounds[0].areas)
    rng = np.random.default_rng(0)
    weights = image_weights(n_images, RESAMPLES, rng)
    draws = seed_draws(len(seeds), RESAMPLES, rng)
    stop = board.budget_shares[-1]
    names = [row.strategy for row in board.rows]
    samples = {
        row.strategy: _samples(row, board.groups[row.strategy], seeds, weights, draws, stop)
        for row in board.rows
    }
    curves = {row.strategy: {curve.seed: curve for curve in row.curves} for row in board.rows}
    scores = np.array([[_area(curves[name][seed], stop) for seed in seeds] for name in names])
    resampled = np.array([samples[name].area for name in names])
    ranked = [number for number, row in enumerate(board.rows) if not row.is_bound]

    pairs = compare_pairs(scores[ranked], resampled[ranked], n_images)
    compared = _pairs(pairs, [names[number] for number in ranked])
    is_better = pairs.is_better(LEVEL)
    best = ranks(is_better)
    worst = [len(ranked) - int(row.sum()) for row in is_better]
    place = {
        names[number]: (first, last)
        for number, first, last in zip(ranked, best, worst, strict=True)
    }
    gains = _gains(compare_pairs(scores, resampled, n_images), names)
    noise = samples.get(NOISE_STRATEGY)
    kept = [names[number] for number in ranked]
    bought = np.array([[curves[name][seed].miou[1:] for seed in seeds] for name in kept])
    matrix = penalties(bought, np.array([samples[name].by_image[:, 1:] for name in kept]), n_images)
    return Significance(
        {
            name: Verdict(
                rank=place[name][0] if name in place else None,
                worst_rank=place[name][1] if name in place else None,
                gain=gains.get(name),
                saved=_saved(samples[name], noise) if noise and name != NOISE_STRATEGY else None,
            )
            for name in names
        },
        compared,
        {
            a: dict(zip(kept, row, strict=True))
            for a, row in zip(kept, matrix.tolist(), strict=True)
        },
        [(kept[first], kept[last]) for first, last in groups(is_better)],
        len(seeds),
        _power(pairs, kept, len(seeds)),
    )


def _area(curve: RunCurve, stop: float) -> float:
    return aubc(curve.over_clicks(), stop=max(stop, curve.cost_b[0]))


def _pairs(found: Differences, names: list[str]) -> list[Pair]:
    """Put a test's rows into words; each interval at the level at which Holm's step tests it."""
    rows = []
    for number, (a, b) in enumerate(found.pairs):
        p, adjusted = found.p[number], found.adjusted[number]
        level = LEVEL * p / adjusted if adjusted > 0.0 else LEVEL / len(found.pairs)
        value = found.difference[number]
        half = half_width(found.variance[number], found.freedom[number], level)
        estimate = Estimate(value, value - half, value + half)
        rows.append(Pair(names[a], names[b], estimate, adjusted, adjusted < LEVEL))
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


def _samples(
    row: Row, group: list[Run], seeds: list[int], weights: Floats, draws: np.ndarray, stop: float
) -> _Samples:
    by_seed = {run.info.seed: run for run in group}
    shares = {curve.seed: curve.cost_b for curve in row.curves}
    miou = np.array(
        [
            [
                resampled_miou([area[1:] for area in record.areas], weights)
                for record in by_seed[seed].rounds
            ]
            for seed in seeds
        ]
    )
    areas = np.array(
        [
            _aubc_weights(shares[seed], max(stop, shares[seed][0])) @ miou[number]
            for number, seed in enumerate(seeds)
        ]
    )
    clicks, sample = np.array([shares[seed] for seed in seeds]), np.arange(len(weights))[:, None]
    return _Samples(
        miou.mean(axis=0).T,
        areas.mean(axis=0),
        miou[draws, :, sample].mean(axis=1),
        clicks[draws].mean(axis=1),
    )


def _aubc_weights(shares: list[float], stop: float) -> Floats:
    """Return what each round counts for in an AUBC, which is linear in the scores."""
    units = np.eye(len(shares))
    return np.array(
        [aubc(list(zip(shares, unit.tolist(), strict=True)), stop=stop) for unit in units]
    )


def _saved(ours: _Samples, noise: _Samples) -> Estimate | None:
    """Choice: the target of each resample is its own last mIoU of random-region; all must reach it but for the interval's upper tail."""
    shares = [
        share_at(list(zip(cost, miou, strict=True)), target)
        for cost, miou, target in zip(ours.cost_b, ours.miou, noise.miou[:, -1], strict=True)
    ]
    saved = np.array(
        [
            -math.inf if share is None else 1.0 - share / spent
            for share, spent in zip(shares, noise.cost_b[:, -1], strict=True)
        ]
    )
    low, middle, high = np.quantile(saved, [0.025, 0.5, 0.975], method="lower")
    return Estimate(float(middle), float(low), float(high)) if math.isfinite(low) else None
