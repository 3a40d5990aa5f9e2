import math

import numpy as np
import pytest
from scipy import stats

from harness.scoring import mean_iou
from harness.statistics import (
    added_freedom,
    compare_pairs,
    dunnett_quantile,
    gap_told_apart,
    groups,
    holm,
    image_weights,
    improvement,
    interval,
    log_rank,
    mean_std,
    median_share,
    moderated,
    penalties,
    ranks,
    resampled_miou,
    seeds_needed,
)
from harness.types import ImageAreas


def test_mean_and_sample_deviation():
    assert mean_std([1.0, 3.0]) == (2.0, pytest.approx(math.sqrt(2)))
    assert mean_std([4.0]) == (4.0, None)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_holm_never_beats_the_raw_value_and_keeps_the_order():
    raw = np.random.default_rng(0).random(20) ** 3
    adjusted = np.array(holm(raw.tolist()))
    assert (adjusted >= raw).all()
    assert (np.diff(adjusted[np.argsort(raw)]) >= 0).all()


def test_ranks_with_ties():
    better = np.zeros((4, 4), bool)
    assert ranks(better) == [1, 1, 1, 1]
    better[0, 2] = better[0, 3] = better[1, 3] = True
    assert ranks(better) == [1, 1, 2, 3]


def test_image_weights_keep_their_sum():
    weights = image_weights(7, 50, np.random.default_rng(0))
    assert weights.shape == (50, 7)
    assert (weights.sum(axis=1) == 7).all()


def test_resampled_miou_with_each_image_once_is_the_miou():
    rng = np.random.default_rng(1)
    images = []
    for number in range(5):
        hit = rng.integers(0, 20, 4)
        images.append(
            ImageAreas(
                str(number),
                hit.tolist(),
                (hit + rng.integers(0, 9, 4)).tolist(),
                (hit + rng.integers(0, 9, 4)).tolist(),
            )
        )
    areas = [item[1:] for item in images]
    assert resampled_miou(areas, np.ones((1, 5)))[0] == pytest.approx(mean_iou(images))
    twice = resampled_miou(areas, np.array([[2.0, 0.0, 3.0, 0.0, 0.0]]))[0]
    assert twice == pytest.approx(mean_iou([images[0], images[0], images[2], images[2], images[2]]))


def test_moderated_variances_by_hand():
    """Equal variances have nothing to learn from each other; zeros stay and say nothing."""
    equal, freedom = moderated([4.0, 4.0, 4.0, 0.0], 2, 30)
    assert freedom == 30
    # the logarithm of a chi-square over its 2 degrees of freedom has the mean digamma(1)
    assert equal.tolist() == pytest.approx([4.0 * math.exp(np.euler_gamma)] * 3 + [0.0])
    assert moderated([4.0], 2, 30)[1] == 2
    assert moderated([4.0], 2, 30)[0].tolist() == [4.0]


def test_moderated_variances_find_their_prior_again():
    """10,000 variances drawn from the model: 8 degrees of freedom around 2.0 (Smyth 2004)."""
    rng = np.random.default_rng(0)
    true = 2.0 * 8.0 / rng.chisquare(8.0, 10_000)
    found = true * rng.chisquare(4.0, 10_000) / 4.0
    drawn, freedom = moderated(found, 4, 10**9)
    assert freedom - 4 == pytest.approx(8.0, rel=0.1)
    weights = (drawn - 4.0 / freedom * found) * freedom / (freedom - 4)
    assert weights == pytest.approx(np.full(10_000, 2.0), rel=0.05)
    assert ((drawn - true) ** 2).mean() < 0.5 * ((found - true) ** 2).mean()


@pytest.mark.parametrize(
    ("comparisons", "freedom", "quantile"),
    [(1, 10, 2.23), (2, 10, 2.57), (3, 10, 2.76), (9, 10, 3.24), (5, 20, 2.73), (9, 20, 2.95)],
)
def test_dunnett_quantiles_are_those_of_the_tables(comparisons, freedom, quantile):
    assert dunnett_quantile(comparisons, freedom) == pytest.approx(quantile, abs=0.01)


def test_dunnett_quantiles_agree_with_scipys_test():
    rng = np.random.default_rng(1)
    control, *others = rng.normal(0.0, 1.0, (4, 8))
    theirs = stats.dunnett(*others, control=control).confidence_interval(0.95)
    pooled = np.mean([np.var(row, ddof=1) for row in (control, *others)])
    half = dunnett_quantile(3, 28.0) * math.sqrt(2 * pooled / 8)
    # theirs comes from random numbers, to about a hundredth
    assert (theirs.high - theirs.low) / 2 == pytest.approx(np.full(3, half), rel=0.02)


def test_two_equal_variances_have_all_their_degrees_of_freedom():
    assert added_freedom(1.0, 5.0, 1.0, 5.0) == pytest.approx(10.0)
    assert added_freedom(1.0, 5.0, 0.0, 1.0) == pytest.approx(5.0)
    assert added_freedom(0.0, 5.0, 0.0, 1.0) == 5.0


def no_images(scores):
    """Resamples of val images that all give the same."""
    return np.repeat(scores.mean(1)[:, None], 3, axis=1)


def test_one_pair_is_a_paired_t_test():
    scores = np.array([[0.31, 0.28, 0.33], [0.29, 0.27, 0.30]])
    found = compare_pairs(scores, no_images(scores), 10**6)
    assert found.p == pytest.approx([stats.ttest_rel(*scores).pvalue])
    assert found.difference == pytest.approx([0.02])
    assert found.adjusted == found.p


def test_equal_runs_never_differ_and_constant_differences_always_do():
    scores = np.array([[0.3, 0.4, 0.5], [0.3, 0.4, 0.5], [0.2, 0.3, 0.4]])
    found = compare_pairs(scores, no_images(scores), 60)
    assert found.p[0] == 1.0
    assert found.is_better(0.05).tolist() == [
        [False, False, True],
        [False, False, True],
        [False] * 3,
    ]


def test_val_images_widen_what_seeds_alone_would_show():
    rng = np.random.default_rng(2)
    scores = np.stack([rng.normal(0.50, 0.01, 6), rng.normal(0.53, 0.01, 6)])
    shaken = no_images(scores) + rng.normal(0.0, 0.01, (2, 3))
    alone, both = (compare_pairs(scores, part, 60) for part in (no_images(scores), shaken))
    assert both.variance[0] > alone.variance[0]
    assert both.p[0] > alone.p[0]


def test_the_family_is_wrong_at_most_as_often_as_it_says():
    """500 boards of 8 equal strategies, whose luck has two different spreads, 3 to 6 seeds."""
    rng = np.random.default_rng(3)
    wrong = 0
    for number in range(500):
        spread = np.where(np.arange(8) < 4, 0.005, 0.01)[:, None]
        scores = rng.normal(0.0, 0.01, 3 + number % 4) + spread * rng.standard_normal(
            (8, 3 + number % 4)
        )
        wrong += min(compare_pairs(scores, no_images(scores), 10**6).adjusted) < 0.05
    # a binomial of 500 at 0.05 stays below 0.08 in 99.8 % of trials
    assert wrong / 500 < 0.08


def test_few_seeds_see_a_gap_that_a_plain_t_test_with_holm_cannot():
    """12 strategies, 3 seeds, one a whole point and a half better at a spread of half a point."""
    rng = np.random.default_rng(4)
    seen = plain = 0
    for _ in range(100):
        scores = rng.normal(0.0, 0.005, (12, 3))
        scores[0] += 0.03
        found = compare_pairs(scores, no_images(scores), 10**6)
        seen += found.adjusted[0] < 0.05
        raw = [stats.ttest_rel(scores[a], scores[b]).pvalue for a, b in found.pairs]
        plain += holm(raw)[0] < 0.05
    assert seen > 60
    assert plain < 20


def test_the_seeds_that_a_pair_needs():
    scores = np.array([[0.500, 0.512, 0.509, 0.520], [0.501, 0.505, 0.507, 0.511]])
    found = compare_pairs(scores, no_images(scores), 10**6)
    needed = seeds_needed(found, 0, 4, 0.05)
    assert needed is not None
    assert needed > 4
    assert seeds_needed(found, 0, 4, 0.001) > needed
    shaken = no_images(scores) + np.array([[0.0, 0.05, -0.05], [0.0, 0.0, 0.0]])
    assert seeds_needed(compare_pairs(scores, shaken, 60), 0, 4, 0.05) is None


def test_interval_by_hand():
    assert interval(np.arange(1001.0)) == pytest.approx((25.0, 975.0))


def test_the_interval_of_a_mean_agrees_with_scipys_bootstrap():
    data = np.random.default_rng(2).normal(3.0, 1.0, 60)
    weights = image_weights(60, 4000, np.random.default_rng(3))
    ours = interval(weights @ data / 60)
    theirs = stats.bootstrap(
        (data,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(4)
    ).confidence_interval
    # two Monte-Carlo estimates of the same quantiles, 4000 draws each
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.03)


@pytest.mark.parametrize(("n_seeds", "floor"), [(10, 0.85), (5, 0.75)])
def test_coverage_on_synthetic_curves(n_seeds, floor):
    """A percentile bootstrap over few seeds covers less than 95 %: why differences are judged by a t-test as well."""
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(400):
        differences = rng.normal(0.01, 0.01, n_seeds)
        draws = rng.integers(n_seeds, size=(400, n_seeds))
        low, high = interval(differences[draws].mean(axis=1))
        hits += low <= 0.01 <= high
    assert floor <= hits / 400 <= 0.97


def test_penalties_count_the_budgets_at_which_one_beats_the_other():
    base = np.array([[0.50, 0.60], [0.52, 0.61], [0.51, 0.62]])
    better = base + np.array([[0.10, 0.00], [0.101, 0.02], [0.099, -0.02]])
    scores = np.stack([base, better])
    resampled = np.repeat(scores.mean(1)[:, None], 3, axis=1)
    # at the first budget the difference is 0.1 +- 0.001, at the second it is 0 +- 0.02
    assert penalties(scores, resampled, 60).tolist() == [[0.0, 0.0], [0.5, 0.0]]


def test_bars_join_the_longest_runs_without_a_difference():
    better = np.zeros((4, 4), bool)
    assert groups(better) == [(0, 3)]
    better[0, 3] = True
    assert groups(better) == [(0, 2), (1, 3)]
    better[0, 1:] = True
    better[1:3, 3] = True
    assert groups(better) == [(1, 2)]
    assert groups(np.triu(np.ones((3, 3), bool), 1)) == []


def test_the_bootstrap_interval_over_images_covers_what_it_should():
    """300 synthetic splits of 60 images: the 95 % interval holds the true mIoU about 95 times in 100."""
    rng = np.random.default_rng(0)
    weights = image_weights(60, 400, rng)
    covered = 0
    for _ in range(300):
        quality = rng.normal(0.6, 0.1, (60, 1)).clip(0.05, 0.95)
        hit = 1000 * quality
        areas = np.stack([hit, hit, np.full_like(hit, 1000.0)], axis=1)
        low, high = interval(resampled_miou(areas, weights))
        covered += low <= 0.6 <= high
    # a binomial of 300 at 0.93 (percentile intervals are a little short at 60 images) stays above 0.88 in 99.9 % of trials
    assert covered / 300 > 0.88
    assert covered / 300 < 0.995


def test_a_median_of_censored_shares_by_hand():
    """Kaplan & Meier's own product, and the log-log band that scipy gives."""
    reached = [(0.1, True), (0.2, True), (0.3, True), (0.4, True), (0.5, True)]
    assert median_share(reached)[0] == 0.3
    # two are followed to 0.15 in vain: 4/5 are left after 0.1, 4/5 * 1/2 after 0.2
    early = [(0.1, True), (0.15, False), (0.2, True), (0.3, True), (0.15, False)]
    assert median_share(early)[0] == 0.2
    assert median_share([(0.1, True), (0.2, False), (0.3, False)])[0] is None
    assert median_share([(0.1, False)]) == (None, None, None)
    # where exactly half are left for a while, the middle of that while; no median if it has no end
    assert median_share([(0.1, True), (0.2, True), (0.3, True), (0.4, True)])[0] == 0.25
    assert median_share([(0.1, True), (0.2, True), (0.3, False), (0.4, False)])[0] is None
    assert median_share([(0.1, True), (0.2, True), (0.3, False), (0.4, True)])[0] == pytest.approx(
        0.3
    )
    assert median_share(reached)[1:] == (0.1, None)  # so few do not bound it from above


def test_the_interval_of_a_median_covers_it():
    rng = np.random.default_rng(0)
    missed = 0
    for _ in range(400):
        times = rng.exponential(size=12)
        ends = rng.uniform(0.8, 3.0, size=12)
        _, low, high = median_share(
            [(min(t, end), bool(t <= end)) for t, end in zip(times, ends, strict=True)]
        )
        truth = math.log(2.0)
        missed += not ((low or 0.0) <= truth <= (math.inf if high is None else high))
    assert missed / 400 < 0.09


def test_the_log_rank_test_keeps_its_level_and_finds_a_difference():
    rng = np.random.default_rng(1)

    def group(scale):
        times, ends = rng.exponential(scale, size=15), rng.uniform(0.8, 3.0, size=15)
        return [(min(t, end), bool(t <= end)) for t, end in zip(times, ends, strict=True)]

    null = [log_rank(group(1.0), group(1.0))[1] < 0.05 for _ in range(400)]
    assert 0.02 < np.mean(null) < 0.09
    assert np.mean([log_rank(group(0.3), group(1.0))[1] < 0.05 for _ in range(100)]) > 0.7
    assert log_rank([(0.1, False)], [(0.2, False)]) == (0.0, 1.0)


def test_the_log_rank_test_says_no_more_than_so_few_runs_can():
    """Wholly apart: two of the 20 ways to deal six runs out into threes are as extreme."""
    sooner, later = (
        [(0.1, True), (0.2, True), (0.3, True)],
        [(0.5, True), (0.6, True), (0.9, False)],
    )
    lead, p = log_rank(sooner, later)
    assert p == pytest.approx(0.1)
    # expected of the first: 3/6 + 2/5 + 1/4, and none is left of it later
    assert lead == pytest.approx(3 - (3 / 6 + 2 / 5 + 1 / 4))
    assert log_rank(later, sooner) == (pytest.approx(-lead), pytest.approx(p))


def test_the_log_rank_statistic_is_scipy_s():
    rng = np.random.default_rng(2)
    first, second = (
        [(float(t), bool(t < 1.0)) for t in np.minimum(rng.exponential(scale, 12), 1.0)]
        for scale in (0.5, 1.0)
    )
    found = stats.logrank(
        *(
            stats.CensoredData(
                uncensored=[t for t, seen in group if seen],
                right=[t for t, seen in group if not seen],
            )
            for group in (first, second)
        )
    )
    lead, p = log_rank(first, second)
    assert lead > 0
    assert p == pytest.approx(found.pvalue, abs=0.02)


def test_the_probability_of_improvement_by_hand():
    assert improvement([2.0, 3.0], [1.0, 2.5]) == 0.75
    assert improvement([1.0], [1.0]) == 0.5


@pytest.mark.parametrize(("strategies", "seeds"), [(4, 6), (6, 10)])
def test_the_gap_that_is_told_apart_is_found_half_of_the_time(strategies, seeds):
    rng = np.random.default_rng(0)
    spread = 0.02
    gap = gap_told_apart(strategies, seeds, spread)
    found = 0
    for _ in range(300):
        scores = rng.normal(0.0, spread / np.sqrt(2), (strategies, seeds))
        scores[0] += gap
        still = np.repeat(scores.mean(1)[:, None], 2, axis=1)
        first_step = compare_pairs(scores, still, 10**6)
        found += first_step.p[0] * len(first_step.pairs) < 0.05
    assert 0.4 < found / 300 < 0.6
    assert gap_told_apart(strategies, 2 * seeds, spread) < gap
