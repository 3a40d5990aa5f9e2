import math

import numpy as np
import pytest
from scipy import stats

from harness.scoring import mean_iou
from harness.statistics import (
    groups,
    holm,
    image_weights,
    interval,
    mean_std,
    paired_p,
    penalties,
    ranks,
    resampled_miou,
    seed_draws,
    signal_to_noise,
)
from harness.types import ImageAreas


def test_mean_and_sample_deviation():
    assert mean_std([1.0, 3.0]) == (2.0, pytest.approx(math.sqrt(2)))
    assert mean_std([4.0]) == (4.0, None)


def test_signal_to_noise_by_hand():
    assert signal_to_noise([0.5, 0.5], [0.3, 0.3], [0.40, 0.42]) == pytest.approx(
        0.2 / (0.02 / math.sqrt(2))
    )
    assert signal_to_noise([0.5], [0.3], [0.4]) is None
    assert signal_to_noise([], [0.3], [0.4, 0.5]) is None


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
    assert seed_draws(3, 50, np.random.default_rng(0)).max() == 2


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


def test_paired_p_agrees_with_scipy_on_pairs():
    one, other = np.array([0.31, 0.28, 0.33]), np.array([0.29, 0.27, 0.30])
    assert paired_p((one - other).tolist()) == pytest.approx(stats.ttest_rel(one, other).pvalue)
    assert paired_p([0.1]) == 1.0
    assert paired_p([0.0, 0.0]) == 1.0
    assert paired_p([0.1, 0.1]) == 0.0


def test_paired_p_is_honest_with_three_seeds():
    """Under no difference about 5 % of 4000 draws fall below 0.05; a standard error of 0.35 points."""
    rng = np.random.default_rng(6)
    false = np.mean([paired_p(rng.normal(0.0, 1.0, 3).tolist()) < 0.05 for _ in range(4000)])
    assert false == pytest.approx(0.05, abs=0.0175)


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
        draws = seed_draws(n_seeds, 400, rng)
        low, high = interval(differences[draws].mean(axis=1))
        hits += low <= 0.01 <= high
    assert floor <= hits / 400 <= 0.97


def test_penalties_count_the_budgets_at_which_one_beats_the_other():
    base = np.array([[0.50, 0.60], [0.52, 0.61], [0.51, 0.62]])
    better = base + np.array([[0.10, 0.00], [0.101, 0.02], [0.099, -0.02]])
    matrix = penalties(np.stack([base, better]))
    # at the first budget the difference is 0.1 +- 0.001, at the second it is 0 +- 0.02
    assert matrix.tolist() == [[0.0, 0.0], [0.5, 0.0]]


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
