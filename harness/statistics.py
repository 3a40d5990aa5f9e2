"""What a board can tell apart: spread over seeds, signal-to-noise, paired bootstrap, Holm's correction, ranks with ties."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats

from harness.types import CostQuality

Floats = npt.NDArray[np.float64]


def mean_std(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean and the sample standard deviation (n - 1); the latter is None below two values."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None


_TENTHS = 10


def cost_quality(predicted: npt.ArrayLike, recorded: npt.ArrayLike) -> CostQuality:
    """Compare predicted with recorded clicks, window by window.

    Args:
        predicted: (n,) expected clicks. recorded: (n,) clicks.
    """
    guess, truth = np.asarray(predicted, np.float64), np.asarray(recorded, np.float64)
    if not len(truth):
        return CostQuality(0, None, None, None)
    error = np.abs(guess - truth)
    varies = np.ptp(guess) > 0.0 and np.ptp(truth) > 0.0
    by_guess = np.argsort(guess, kind="stable")
    tenths = np.array_split(by_guess, _TENTHS) if len(truth) >= _TENTHS else []
    return CostQuality(
        windows=len(truth),
        pearson=float(stats.pearsonr(guess, truth).statistic) if varies else None,
        spearman=float(stats.spearmanr(guess, truth).statistic) if varies else None,
        relative_count_error=float(error.sum() / truth.sum()) if truth.sum() else None,
        mean_absolute_error=float(error.mean()),
        reliability=[(float(guess[rows].mean()), float(truth[rows].mean())) for rows in tenths],
    )


def signal_to_noise(
    full_data: Sequence[float], seed_set: Sequence[float], random_region: Sequence[float]
) -> float | None:
    """Return (full-data mIoU - seed-set mIoU) / standard deviation of random-region over seeds at the last round.

    None where fewer than two random runs make the noise unknown, or where it is zero.
    """
    _, noise = mean_std(random_region) if random_region else (math.nan, None)
    if not full_data or not seed_set or not noise:
        return None
    return (float(np.mean(full_data)) - float(np.mean(seed_set))) / noise


def image_weights(n_images: int, resamples: int, rng: np.random.Generator) -> Floats:
    """Return (resamples, n_images) multiplicities of a bootstrap over images: each row sums to n_images."""
    return rng.multinomial(n_images, np.full(n_images, 1.0 / n_images), size=resamples).astype(
        np.float64
    )


def seed_draws(n_seeds: int, resamples: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return (resamples, n_seeds) seeds drawn with replacement."""
    return rng.integers(n_seeds, size=(resamples, n_seeds))


def resampled_miou(areas: npt.ArrayLike, weights: Floats) -> Floats:
    """Return the mIoU of every bootstrap sample of images.

    Args:
        areas: (n_images, 3, C): intersection, prediction and label area in pixels.
        weights: (resamples, n_images) multiplicities.

    Returns:
        (resamples,) in [0, 1]; classes that a sample does not hold are left out of its mean.
    """
    flat = np.asarray(areas, dtype=np.float64)
    sums = (weights @ flat.reshape(len(flat), -1)).reshape(len(weights), *flat.shape[1:])
    union = sums[:, 1] + sums[:, 2] - sums[:, 0]
    scores = np.divide(sums[:, 0], union, out=np.full_like(union, math.nan), where=union > 0)
    return np.asarray(np.nanmean(scores, axis=1))


def interval(samples: Floats, level: float = 0.95) -> tuple[float, float]:
    """Return the percentile interval of a bootstrap distribution."""
    low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def paired_p(differences: Sequence[float]) -> float:
    """Return the two-sided p-value of a paired t-test over seeds: unlike a bootstrap it stays honest with three of them.

    1.0 below two seeds or where all differences are 0.
    """
    values = np.asarray(differences, dtype=np.float64)
    if len(values) < 2 or not values.any():
        return 1.0
    if np.ptp(values) == 0.0:
        return 0.0
    return float(stats.ttest_1samp(values, 0.0).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p-values, in the order given: they keep the family-wise error rate."""
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(len(p_values))
    running = 0.0
    for place, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = running
    return [float(value) for value in adjusted]


def ranks(is_better: npt.NDArray[np.bool_]) -> list[int]:
    """Return 1 + the number of strategies that are demonstrably better: whoever cannot be told apart shares a rank.

    Args:
        is_better: (n, n); [a, b] says that a is demonstrably better than b.
    """
    return [int(column.sum()) + 1 for column in is_better.T]


def penalties(scores: Floats, level: float = 0.05) -> Floats:
    """Return the pairwise penalty matrix over budgets (after Ash et al. 2020, BADGE, section 4).

    Args:
        scores: (n, seeds, rounds) of the budgets that are compared.
        level: of a paired two-sided t-test over seeds at each budget, without a correction.

    Returns:
        (n, n); [a, b] is the share of budgets at which a is demonstrably better than b, in [0, 1].
    """
    n, _, rounds = scores.shape
    matrix = np.zeros((n, n))
    for a in range(n):
        for b in range(a + 1, n):
            for number in range(rounds):
                difference = scores[a, :, number] - scores[b, :, number]
                if paired_p(difference.tolist()) < level:
                    winner, loser = (a, b) if difference.mean() > 0 else (b, a)
                    matrix[winner, loser] += 1.0 / rounds
    return matrix


def groups(is_better: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the bars of a critical-difference diagram: the longest runs, in the order given, in which no pair differs.

    Returns:
        (first, last) of each run of two or more that no longer run holds.
    """
    differs = is_better | is_better.T
    found: list[tuple[int, int]] = []
    for first in range(len(differs)):
        last = first
        while last + 1 < len(differs) and not differs[first : last + 1, last + 1].any():
            last += 1
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return found
