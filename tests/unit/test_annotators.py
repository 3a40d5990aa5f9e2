import numpy as np
import pytest

from harness.data.annotators import LabelNoise, NoisyOracle, with_label_noise
from harness.data.cityscapes import ClickOracle
from harness.pool import LabelledPool
from harness.types import Region


def regions(split) -> list[Region]:
    return [Region(image_id, 8, 16, 32, 48) for image_id in split.files]


def annotate(split, noise=None):
    oracle = ClickOracle(split) if noise is None else NoisyOracle(split, noise)
    return oracle.annotate(regions(split), LabelledPool(split.index.sizes))


def test_an_annotator_without_noise_is_exact(train_split):
    assert not LabelNoise().any
    for ours, exact in zip(annotate(train_split, LabelNoise()), annotate(train_split), strict=True):
        assert np.array_equal(ours.labels, exact.labels)
        assert ours.clicks == exact.clicks


def test_the_name_in_the_keys_of_networks_stays():
    assert repr(LabelNoise()) == (
        "Slips(seed=0, missed=0.0, wrong=0.0, small_px=64, jitter_px=0.0, click_noise=0.0)"
    )


def labels_with_spots() -> np.ndarray:
    labels = np.zeros((40, 40), np.uint8)
    for number in range(16):
        top, left = 3 + 9 * (number // 4), 3 + 9 * (number % 4)
        labels[top : top + 3, left : left + 3] = 1
    labels[36:, :] = 2
    return labels


def test_missed_objects_get_the_label_around_them():
    noisy = with_label_noise(
        labels_with_spots(), 4, LabelNoise(missed=1.0, small_px=9), np.random.default_rng(0)
    )
    assert set(np.unique(noisy)) == {0, 2}


def test_wrong_objects_get_another_class():
    noisy = with_label_noise(
        labels_with_spots(), 4, LabelNoise(wrong=1.0, small_px=9), np.random.default_rng(0)
    )
    spots = labels_with_spots() == 1
    assert (noisy[spots] != 1).all()
    assert np.array_equal(noisy[~spots], labels_with_spots()[~spots])


def test_shares_are_kept_on_average():
    missed = [
        (
            with_label_noise(
                labels_with_spots(),
                4,
                LabelNoise(missed=0.3, small_px=9),
                np.random.default_rng(seed),
            )
            == 1
        ).sum()
        / 9
        for seed in range(60)
    ]
    # 960 draws: a standard error of 0.015
    assert 1 - np.mean(missed) / 16 == pytest.approx(0.3, abs=0.06)


def test_large_objects_are_never_missed():
    noisy = with_label_noise(
        labels_with_spots(), 4, LabelNoise(missed=1.0, small_px=8), np.random.default_rng(0)
    )
    assert np.array_equal(noisy, labels_with_spots())


def test_borders_jitter_near_borders_only(train_split):
    image_id = next(iter(train_split.files))
    labels = train_split.train_ids(image_id)
    noisy = with_label_noise(labels, 19, LabelNoise(jitter_px=1.0), np.random.default_rng(0))
    changed = noisy != labels
    assert 0 < changed.mean() < 0.25
    assert set(np.unique(noisy)) <= set(np.unique(labels))


def test_noise_repeats_whatever_was_asked_before(train_split):
    noise = LabelNoise(seed=4, missed=0.5, wrong=0.2, jitter_px=0.7, click_noise=0.3)
    oracle = NoisyOracle(train_split, noise)
    pool = LabelledPool(train_split.index.sizes)
    backwards = list(reversed(oracle.annotate(list(reversed(regions(train_split))), pool)))
    for one, other in zip(annotate(train_split, noise), backwards, strict=True):
        assert np.array_equal(one.labels, other.labels)
        assert one.clicks == other.clicks
    different = annotate(
        train_split, LabelNoise(seed=5, missed=0.5, wrong=0.2, jitter_px=0.7, click_noise=0.3)
    )
    assert any(one.clicks != other.clicks for one, other in zip(backwards, different, strict=True))


def test_click_noise_changes_polygon_clicks_alone(train_split):
    noisy, exact = annotate(train_split, LabelNoise(click_noise=0.5)), annotate(train_split)
    assert any(
        one.clicks.polygon != other.clicks.polygon for one, other in zip(noisy, exact, strict=True)
    )
    for one, other in zip(noisy, exact, strict=True):
        assert one.clicks.polygon >= 0
        assert (one.clicks.intersection, one.clicks.box, one.clicks.classes) == (
            other.clicks.intersection,
            other.clicks.box,
            other.clicks.classes,
        )
