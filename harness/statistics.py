"""What a board can tell apart.

Spread over seeds, tests of pairs, ranks, medians of censored shares.
"""

from __future__ import annotations

import functools
import itertools
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize, special, stats

from harness.types import CostQuality

Floats = npt.NDArray[np.float64]


def mean_std(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean and the sample standard deviation (n - 1).

    The latter is None below two values.
    """
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


Followed = Sequence[tuple[float, bool]]
"""For each run: a share, and whether it was reached there or followed so far in vain."""


def _censored(shares: Followed) -> stats.CensoredData:
    return stats.CensoredData(
        uncensored=[share for share, reached in shares if reached],
        right=[share for share, reached in shares if not reached],
    )


def median_share(shares: Followed) -> tuple[float | None, float | None, float | None]:
    """Return the Kaplan-Meier median and its 95 % interval; None for an end that does not exist.

    The interval holds all shares at which half could have been left, by the log-log interval of
    the survival curve (Brookmeyer & Crowley 1982).
    """
    if not any(reached for _, reached in shares):
        return None, None, None
    left = stats.ecdf(_censored(shares)).sf
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # it is undefined at 1 and at 0
        band = left.confidence_interval(method="log-log")

    def crossed(probabilities: Floats) -> float | None:
        left_over = np.nan_to_num(probabilities, nan=1.0)
        below = np.nonzero(left_over <= 0.5 + _EQUAL)[0]
        if not len(below):
            return None
        first = float(left.quantiles[below[0]])
        if left_over[below[0]] < 0.5 - _EQUAL:
            return first
        beyond = np.nonzero(left_over < 0.5 - _EQUAL)[0]
        return (first + float(left.quantiles[beyond[0]])) / 2 if len(beyond) else None

    return (
        crossed(left.probabilities),
        crossed(np.where(left.probabilities == 0.0, 0.0, band.low.probabilities)),
        crossed(band.high.probabilities),
    )


_EQUAL = 1e-12
_MOST_EXACT = 200_000
_DRAWS = 20_000


def log_rank(first: Followed, second: Followed) -> tuple[float, float]:
    """Compare when two groups of runs reach something: the log-rank test, by permutation.

    Each run's score is 1 if it got there, less what runs followed as long were expected to
    (Nelson-Aalen); the statistic is the first group's sum. Choice: p is two-sided and that of all
    ways to deal the runs out, or of 20,000 of them where there are more than 200,000: with a few
    seeds the usual chi-square says too much. Seeds are not paired, which can only hide a
    difference.

    Returns:
        How many more of the first group's runs had reached it than would be expected, and p in
        (0, 1].
    """
    shares, reached = (np.array(column) for column in zip(*first, *second, strict=True))
    events = np.unique(shares[reached])
    expected = np.zeros(len(shares))
    for at in events:
        still = shares >= at
        expected[still] += reached[shares == at].sum() / still.sum()
    scores = reached - expected
    lead = float(scores[: len(first)].sum())
    sums = scores[_dealt(len(shares), len(first))].sum(axis=1)
    return lead, float((np.abs(sums) >= abs(lead) - _EQUAL * len(shares)).mean())


@functools.cache
def _dealt(runs: int, group: int) -> npt.NDArray[np.int64]:
    """Return (n, group): all ways to deal out a group of runs, or the given one and many others."""
    if math.comb(runs, group) <= _MOST_EXACT:
        return np.array(list(itertools.combinations(range(runs), group)))
    order = np.random.default_rng(0).random((_DRAWS, runs)).argpartition(group, axis=1)
    return np.concatenate([np.arange(group)[None], order[:, :group]])


def improvement(first: Sequence[float], second: Sequence[float]) -> float:
    """Return how often a run of the first beats one of the second, ties counting half, in [0, 1].

    The probability of improvement of Agarwal et al. 2021 (arXiv 2108.13264).
    """
    above = np.subtract.outer(np.asarray(first), np.asarray(second))
    return float((above > 0).mean() + (above == 0).mean() / 2)


def image_weights(n_images: int, resamples: int, rng: np.random.Generator) -> Floats:
    """Return (resamples, n_images) multiplicities of a bootstrap over images.

    Each row sums to n_images.
    """
    return rng.multinomial(n_images, np.full(n_images, 1.0 / n_images), size=resamples).astype(
        np.float64
    )


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


def moderated(variances: npt.ArrayLike, freedom: int, most: int) -> tuple[Floats, float]:
    """Return variances drawn towards what they have in common, and their degrees of freedom.

    Few seeds say little about one variance; many pairs of strategies say much about all of them.
    The prior is a scaled inverse chi-square, fitted by the moments of the logarithms (Smyth 2004,
    limma, section 6.2). Where the variances differ no more than chance would have it, all become
    their common value.

    Args:
        variances: (m,), each with ``freedom`` degrees of freedom, >= 0; zeros are left as they are
            and say nothing about the others.
        most: degrees of freedom that all data have together. Choice: pairs share strategies, so
            moderated variances never get more than these.
    """
    found = np.asarray(variances, np.float64)
    varying = found[found > 0.0]
    if len(varying) < 2:
        return found, float(freedom)
    half = freedom / 2.0
    logs = np.log(varying) - special.digamma(half) + math.log(half)
    spread = float(np.var(logs, ddof=1)) - float(special.polygamma(1, half))
    if spread <= 0.0:
        common = math.exp(float(logs.mean()))
        return np.where(found > 0.0, common, found), float(most)
    prior = 2.0 * _inverse_trigamma(spread)
    center = math.exp(float(logs.mean()) + float(special.digamma(prior / 2)) - math.log(prior / 2))
    drawn = (prior * center + freedom * found) / (prior + freedom)
    return np.where(found > 0.0, drawn, found), min(prior + freedom, float(most))


def _inverse_trigamma(value: float) -> float:
    """Return x > 0 with trigamma(x) = value, by bisection on its logarithm: trigamma falls."""
    low, high = 1e-8, 1e8
    return float(
        np.exp(
            optimize.brentq(
                lambda log: float(special.polygamma(1, math.exp(log))) - value,
                math.log(low),
                math.log(high),
            )
        )
    )


def added_freedom(
    first: float, first_freedom: float, second: float, second_freedom: float
) -> float:
    """Return the degrees of freedom of the sum of two estimated variances (Satterthwaite 1946)."""
    total = first + second
    if total <= 0.0:
        return first_freedom
    return total**2 / (first**2 / first_freedom + second**2 / second_freedom)


def two_sided_p(difference: float, variance: float, freedom: float) -> float:
    """Return the p-value of a mean difference with this estimated variance: 1 where it is 0."""
    if difference == 0.0:
        return 1.0
    if variance <= 0.0:
        return 0.0
    return float(2.0 * stats.t.sf(abs(difference) / math.sqrt(variance), freedom))


def half_width(variance: float, freedom: float, level: float) -> float:
    """Return half the width of the interval with this error ``level`` in (0, 1), such as 0.05."""
    return float(stats.t.isf(level / 2.0, freedom)) * math.sqrt(max(variance, 0.0))


@functools.cache
def dunnett_quantile(comparisons: int, freedom: float, level: float = 0.05) -> float:
    """Return the two-sided quantile of Dunnett (1955) for comparisons with one control.

    So many standard errors hold all ``comparisons`` differences with probability 1 - ``level``.
    Choice: equal variances, so that the differences have correlations of 1/2. By quadrature over
    the control's deviation and the common standard deviation.
    """
    nodes, weights = special.roots_hermitenorm(64)
    weights = weights / weights.sum()
    shares, masses = special.roots_legendre(256)
    scales = np.sqrt(stats.chi2.ppf((shares + 1.0) / 2.0, freedom) / freedom)

    def missed(c: float) -> float:
        reach = math.sqrt(2.0) * c * scales[:, None]
        inside = stats.norm.cdf(reach - nodes) - stats.norm.cdf(-reach - nodes)
        return 1.0 - float(masses @ (inside**comparisons) @ weights) / 2.0 - level

    return float(optimize.brentq(missed, 0.1, 1e4))


@dataclass(frozen=True, slots=True)
class Differences:
    """All pairs of n strategies, one entry each, in the order (0, 1), (0, 2), ..., (n - 2, n - 1).

    difference: mean over seeds, first minus second. over_seeds: the (moderated) variance of one
    seed's difference, with over_seeds_freedom. over_images: the variance of the mean by val images.
    variance, freedom: of the mean difference, both parts. p: raw; adjusted: Holm's over all pairs.
    """

    pairs: list[tuple[int, int]]
    difference: list[float]
    over_seeds: list[float]
    over_seeds_freedom: float
    over_images: list[float]
    images: int
    variance: list[float]
    freedom: list[float]
    p: list[float]
    adjusted: list[float]

    def is_better(self, level: float) -> npt.NDArray[np.bool_]:
        """Return (n, n); [a, b] says that a is demonstrably better than b, by ``adjusted``."""
        n = 1 + max((b for _, b in self.pairs), default=0)
        better = np.zeros((n, n), np.bool_)
        for (a, b), value, p in zip(self.pairs, self.difference, self.adjusted, strict=True):
            if p < level:
                better[(a, b) if value > 0 else (b, a)] = True
        return better


def compare_pairs(scores: Floats, resampled: Floats, images: int) -> Differences:
    """Test every pair of strategies, paired by seed, for new seeds and new val images.

    Choice: a pair's variance is its own or the moderated one, whichever is larger. Where a few
    strategies scatter much more than the others, theirs would be drawn down and they would seem to
    differ from the rest (tests/bench/power.py).

    Args:
        scores: (n, seeds), two seeds or more. resampled: (n, resamples), means over the same seeds
            with val images drawn with replacement, the same draws for all.
        images: how many val images there are.
    """
    n, seeds = scores.shape
    pairs = [(a, b) for a in range(n) for b in range(a + 1, n)]
    rows = [scores[a] - scores[b] for a, b in pairs]
    variances = [float(np.var(row, ddof=1)) for row in rows]
    drawn, freedom = moderated(variances, seeds - 1, (n - 1) * (seeds - 1))
    drawn = np.maximum(drawn, variances)
    by_image = [float(np.var(resampled[a] - resampled[b], ddof=1)) for a, b in pairs]
    means = [float(row.mean()) for row in rows]
    total = [float(v) / seeds + image for v, image in zip(drawn, by_image, strict=True)]
    shares = [
        added_freedom(float(v) / seeds, freedom, image, max(images - 1, 1))
        for v, image in zip(drawn, by_image, strict=True)
    ]
    p = [two_sided_p(*row) for row in zip(means, total, shares, strict=True)]
    return Differences(
        pairs, means, drawn.tolist(), freedom, by_image, images, total, shares, p, holm(p)
    )


def seeds_needed(found: Differences, number: int, seeds: int, level: float) -> int | None:
    """Return how many seeds would show a pair at its present difference and spread.

    None beyond 100.

    Degrees of freedom over seeds grow in proportion to the seeds.
    """
    image, images = found.over_images[number], max(found.images - 1, 1)
    for more in range(seeds + 1, 101):
        over_seeds = found.over_seeds[number] / more
        freedom = found.over_seeds_freedom * (more - 1) / (seeds - 1)
        freedom = added_freedom(over_seeds, freedom, image, images)
        if two_sided_p(found.difference[number], over_seeds + image, freedom) < level:
            return more
    return None


def gap_told_apart(strategies: int, seeds: int, spread: float, level: float = 0.05) -> float:
    """Return the difference of two strategies that a board finds as often as it misses it.

    By the first and hardest step of Holm's procedure over all pairs, with val images to spare.

    Args:
        spread: standard deviation over seeds of the difference of two strategies.
    """
    pairs = strategies * (strategies - 1) // 2
    return half_width(spread**2 / seeds, (strategies - 1) * (seeds - 1), level / pairs)


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
    """Return 1 + the number of strategies that are demonstrably better.

    Whoever cannot be told apart shares a rank.

    Args:
        is_better: (n, n); [a, b] says that a is demonstrably better than b.
    """
    return [int(column.sum()) + 1 for column in is_better.T]


def penalties(scores: Floats, resampled: Floats, images: int, level: float = 0.05) -> Floats:
    """Return the pairwise penalty matrix over budgets (after Ash et al. 2020, BADGE, section 4).

    Args:
        scores: (n, seeds, rounds) of the budgets that are compared.
        resampled: (n, resamples, rounds), as in ``compare_pairs``, which tests each budget.
        level: of that test at each budget, without a correction.

    Returns:
        (n, n); [a, b] is the share of budgets at which a is demonstrably better than b, in [0, 1].
    """
    n, _, rounds = scores.shape
    matrix = np.zeros((n, n))
    for number in range(rounds):
        found = compare_pairs(scores[:, :, number], resampled[:, :, number], images)
        for (a, b), value, p in zip(found.pairs, found.difference, found.p, strict=True):
            if p < level:
                matrix[(a, b) if value > 0 else (b, a)] += 1.0 / rounds
    return matrix


def groups(is_better: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the bars of a critical-difference diagram.

    The longest runs, in the order given, in which no pair differs.

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
