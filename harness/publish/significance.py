"""Which strategies of a board can be told apart: paired over seeds, nested over validation images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from harness.publish.board import NOISE_STRATEGY, Board, Row
from harness.results import Run
from harness.scoring import aubc, share_at
from harness.statistics import (
    Floats,
    groups,
    holm,
    image_weights,
    interval,
    paired_p,
    penalties,
    ranks,
    resampled_miou,
    seed_draws,
)

RESAMPLES = 2000
LEVEL = 0.05
FEWEST_SEEDS = 3


@dataclass(frozen=True, slots=True)
class Estimate:
    """A difference and its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """One strategy's place.

    rank: None for bounds. gain: AUBC over clicks minus that of random-region. saved: the share of random-region's clicks that is not
    needed to reach its last mIoU; None where the strategy does not reach it in nearly every resample.
    """

    rank: int | None
    gain: Estimate | None
    saved: Estimate | None


@dataclass(frozen=True, slots=True)
class Pair:
    """Two strategies: the difference of their AUBC over clicks, first minus second, and whether it counts."""

    first: str
    second: str
    difference: Estimate
    p_adjusted: float
    differs: bool


@dataclass(frozen=True, slots=True)
class Significance:
    """Verdicts by strategy, all pairs of ranked strategies, and the share of budgets at which the first beats the second."""

    verdicts: dict[str, Verdict]
    compared: list[Pair]
    penalty: dict[str, dict[str, float]]
    bars: list[tuple[str, str]]
    seeds: int

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
    """Bootstrap samples of one strategy, means over drawn seeds: (resamples,) AUBC; (resamples, rounds) mIoU and clicks."""

    aubc: Floats
    miou: Floats
    cost_b: Floats


def judge(board: Board) -> Significance | None:
    """Compare all strategies by AUBC over clicks.

    None with fewer than three seeds that all of them have, with nothing to rank, or with boards of different shapes mixed.

    Choice: two strategies differ when a paired t-test over seeds leaves p < 0.05 after Holm's correction over all pairs, and the 95 %
    interval of a nested bootstrap (2000 resamples of seeds, and of validation images, the same for all strategies) excludes 0.
    """
    seeds = sorted(set.intersection(*({curve.seed for curve in row.curves} for row in board.rows)))
    shapes = {
        (len(run.rounds), len(run.rounds[0].areas))
        for group in board.groups.values()
        for run in group
    }
    if len(seeds) < FEWEST_SEEDS or len(shapes) > 1 or all(row.is_bound for row in board.rows):
        return None
    rng = np.random.default_rng(0)
    weights = image_weights(len(board.any_run.rounds[0].areas), RESAMPLES, rng)
    draws = seed_draws(len(seeds), RESAMPLES, rng)
    stop = board.budget_shares[-1]
    samples = {
        row.strategy: _samples(row, board.groups[row.strategy], seeds, weights, draws, stop)
        for row in board.rows
    }
    curves = {row.strategy: {curve.seed: curve for curve in row.curves} for row in board.rows}
    scores = {
        name: np.array(
            [
                aubc(found[seed].over_clicks(), stop=max(stop, found[seed].cost_b[0]))
                for seed in seeds
            ]
        )
        for name, found in curves.items()
    }
    ranked = [row.strategy for row in board.rows if not row.is_bound]
    compared = _compare(ranked, scores, samples)
    is_better = np.zeros((len(ranked), len(ranked)), np.bool_)
    for pair in compared:
        if pair.differs:
            winner, loser = (
                (pair.first, pair.second) if pair.difference.low > 0 else (pair.second, pair.first)
            )
            is_better[ranked.index(winner), ranked.index(loser)] = True
    place = dict(zip(ranked, ranks(is_better), strict=True))
    bought = np.array([[curves[name][seed].miou[1:] for seed in seeds] for name in ranked])
    return Significance(
        {
            row.strategy: _verdict(row.strategy, place.get(row.strategy), samples, scores)
            for row in board.rows
        },
        compared,
        {
            a: dict(zip(ranked, row, strict=True))
            for a, row in zip(ranked, penalties(bought).tolist(), strict=True)
        },
        [(ranked[first], ranked[last]) for first, last in groups(is_better)],
        len(seeds),
    )


def _compare(
    ranked: list[str], scores: dict[str, Floats], samples: dict[str, _Samples]
) -> list[Pair]:
    pairs = [(a, b) for i, a in enumerate(ranked) for b in ranked[i + 1 :]]
    adjusted = holm([paired_p((scores[a] - scores[b]).tolist()) for a, b in pairs])
    found = []
    for (a, b), p in zip(pairs, adjusted, strict=True):
        low, high = interval(samples[a].aubc - samples[b].aubc)
        differs = p < LEVEL and not low <= 0.0 <= high
        found.append(
            Pair(a, b, Estimate(float((scores[a] - scores[b]).mean()), low, high), p, differs)
        )
    return found


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
        areas[draws, sample].mean(axis=1),
        miou[draws, :, sample].mean(axis=1),
        clicks[draws].mean(axis=1),
    )


def _aubc_weights(shares: list[float], stop: float) -> Floats:
    """Return what each round counts for in an AUBC, which is linear in the scores."""
    units = np.eye(len(shares))
    return np.array(
        [aubc(list(zip(shares, unit.tolist(), strict=True)), stop=stop) for unit in units]
    )


def _verdict(
    strategy: str, rank: int | None, samples: dict[str, _Samples], scores: dict[str, Floats]
) -> Verdict:
    if NOISE_STRATEGY not in samples or strategy == NOISE_STRATEGY:
        return Verdict(rank, None, None)
    ours, noise = samples[strategy], samples[NOISE_STRATEGY]
    difference = float((scores[strategy] - scores[NOISE_STRATEGY]).mean())
    return Verdict(
        rank, Estimate(difference, *interval(ours.aubc - noise.aubc)), _saved(ours, noise)
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
