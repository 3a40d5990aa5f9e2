"""Which strategies of a board can be told apart: paired over seeds, nested over validation images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.publish.board import NOISE_STRATEGY, Board, Row
from harness.results import Run
from harness.scoring import aubc
from harness.statistics import Floats, holm, image_weights, interval, paired_p, ranks, resampled_miou, seed_draws

RESAMPLES = 2000
LEVEL = 0.05
FEWEST_SEEDS = 3


@dataclass(frozen=True, slots=True)
class Verdict:
    """One strategy's place. rank: None for bounds. gain: AUBC over clicks minus that of random-region, with a 95 % interval."""

    rank: int | None
    gain: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Significance:
    """Verdicts by strategy; separable: how many of the pairs differ after Holm's correction."""

    verdicts: dict[str, Verdict]
    separable: int
    pairs: int
    seeds: int


def judge(board: Board) -> Significance | None:
    """Compare all strategies by AUBC over clicks; None with fewer than three seeds that all of them have.

    Choice: two strategies differ when a paired t-test over seeds leaves p < 0.05 after Holm's correction over all pairs, and the 95 %
    interval of a nested bootstrap (2000 resamples of seeds, and of validation images, the same for all strategies) excludes 0.
    """
    seeds = sorted(set.intersection(*({curve.seed for curve in row.curves} for row in board.rows)))
    if len(seeds) < FEWEST_SEEDS:
        return None
    rng = np.random.default_rng(0)
    weights = image_weights(len(board.any_run.rounds[0].areas), RESAMPLES, rng)
    draws = seed_draws(len(seeds), RESAMPLES, rng)
    stop = board.budget_shares[-1]
    samples = {row.strategy: _samples(row, board.groups[row.strategy], seeds, weights, draws, stop) for row in board.rows}
    scores = {
        row.strategy: np.array([aubc(curve.over_clicks(), stop=max(stop, curve.cost_b[0])) for curve in row.curves if curve.seed in seeds])
        for row in board.rows
    }
    ranked = [row.strategy for row in board.rows if not row.is_bound]
    is_better = _compare(ranked, scores, samples)
    place = dict(zip(ranked, ranks(is_better), strict=True))
    return Significance(
        {row.strategy: _verdict(row.strategy, place.get(row.strategy), samples) for row in board.rows},
        int(is_better.sum()),
        len(ranked) * (len(ranked) - 1) // 2,
        len(seeds),
    )


def _compare(ranked: list[str], scores: dict[str, Floats], samples: dict[str, Floats]) -> npt.NDArray[np.bool_]:
    pairs = [(a, b) for i, a in enumerate(ranked) for b in ranked[i + 1 :]]
    adjusted = holm([paired_p((scores[a] - scores[b]).tolist()) for a, b in pairs])
    is_better = np.zeros((len(ranked), len(ranked)), np.bool_)
    for (a, b), p in zip(pairs, adjusted, strict=True):
        low, high = interval(samples[a] - samples[b])
        if p < LEVEL and not low <= 0.0 <= high:
            winner, loser = (a, b) if low > 0.0 else (b, a)
            is_better[ranked.index(winner), ranked.index(loser)] = True
    return is_better


def _samples(row: Row, group: list[Run], seeds: list[int], weights: Floats, draws: np.ndarray, stop: float) -> Floats:
    """Return (resamples,) bootstrap means over seeds of one strategy's AUBC over clicks."""
    by_seed = {run.info.seed: run for run in group}
    shares = {curve.seed: curve.cost_b for curve in row.curves}
    values = np.empty((len(seeds), len(weights)))
    for number, seed in enumerate(seeds):
        curve = np.stack([resampled_miou([area[1:] for area in record.areas], weights) for record in by_seed[seed].rounds])
        values[number] = _aubc_weights(shares[seed], max(stop, shares[seed][0])) @ curve
    return np.asarray(values[draws, np.arange(len(weights))[:, None]].mean(axis=1))


def _aubc_weights(shares: list[float], stop: float) -> Floats:
    """Return what each round counts for in an AUBC, which is linear in the scores."""
    units = np.eye(len(shares))
    return np.array([aubc(list(zip(shares, unit.tolist(), strict=True)), stop=stop) for unit in units])


def _verdict(strategy: str, rank: int | None, samples: dict[str, Floats]) -> Verdict:
    if NOISE_STRATEGY not in samples or strategy == NOISE_STRATEGY:
        return Verdict(rank, None, None, None)
    difference = samples[strategy] - samples[NOISE_STRATEGY]
    return Verdict(rank, float(difference.mean()), *interval(difference))
