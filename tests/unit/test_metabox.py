"""MetaBox+: segments, their IoU and metrics against walked pixels; what is learned, and from whom."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import strategies
from harness.acquisition import acquire
from harness.errors import InputError
from harness.logits import Logits
from harness.maps import MemoryMaps, QueryRules
from harness.pool import LabelledPool
from harness.seeds import Purpose, generator
from harness.types import Region
from harness.views import View
from strategies import metabox
from strategies.metabox import Quality, Segments
from tests.fakes import FakeNetwork, FakeOracle

CLASSES = 4


def blocks(seed: int) -> np.ndarray:
    """Return random labels in patches, so that there are segments of all sizes."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, CLASSES, (5, 6), dtype=np.uint8)
    labels = np.kron(coarse, np.ones((3, 3), np.uint8))[:13, :17].copy()
    noise = rng.random(labels.shape) < 0.1
    labels[noise] = rng.integers(0, CLASSES, int(noise.sum()), dtype=np.uint8)
    return labels


def view_of(labels: np.ndarray, seed: int = 0, learned=None) -> View:
    """Return a view whose prediction is a given label map."""
    logits = torch.randn((CLASSES, *labels.shape), generator=torch.Generator().manual_seed(seed))
    logits.scatter_(0, torch.from_numpy(labels)[None].long(), 3.5)
    logits.clamp_(max=3.5)
    return View(iter(()), plain_pass=lambda: Logits(logits, labels.shape), learned=learned)


def around(y: int, x: int, shape) -> list[tuple[int, int]]:
    return [
        (j, i)
        for j in range(max(0, y - 1), min(y + 2, shape[0]))
        for i in range(max(0, x - 1), min(x + 2, shape[1]))
        if (j, i) != (y, x)
    ]


def flood(labels: np.ndarray) -> list[set[tuple[int, int]]]:
    """Return the 8-connected components, pixel by pixel."""
    left = {tuple(map(int, place)) for place in np.ndindex(labels.shape)}
    found = []
    while left:
        border = [left.pop()]
        own = set(border)
        while border:
            y, x = border.pop()
            near = {
                place
                for place in around(y, x, labels.shape)
                if place in left and labels[place] == labels[y, x]
            }
            left -= near
            own |= near
            border += near
        found.append(own)
    return found


@pytest.mark.parametrize("seed", range(4))
def test_segments_are_what_flooding_finds(seed):
    labels = blocks(seed)
    segments, slow = Segments.of(labels), flood(labels)
    assert len(segments.classes) == len(slow)
    for own in slow:
        (number,) = {int(segments.numbers[place]) for place in own}
        assert {int(labels[place]) for place in own} == {int(segments.classes[number])}
    rims = segments.rims()
    for y, x in np.ndindex(labels.shape):
        near = around(y, x, labels.shape)
        assert rims[y, x] == any(labels[place] != labels[y, x] for place in near)


# ------------------------------------------------------------------------------------------- IoU


def test_adjusted_iou_by_hand():
    """Class 1 is predicted in two parts of one true segment of five pixels; one of it is missed."""
    predicted = np.array([[1, 1, 0, 1, 1, 0]], np.uint8)
    truth = np.array([[1, 1, 1, 1, 1, 255]], np.uint8)
    segments = Segments.of(predicted)
    iou, is_known = metabox.segment_iou(segments, truth, CLASSES)
    by_place = {place: float(iou[segments.numbers[0, place]]) for place in (0, 2, 3)}
    # 2 of the part's own 2 and the missed one: the other part's 2 are not held against it
    assert by_place == pytest.approx({0: 2 / 3, 2: 0.0, 3: 2 / 3})
    assert not is_known[segments.numbers[0, 5]]


@pytest.mark.parametrize("seed", range(6))
def test_iou_is_what_sets_of_pixels_give(seed):
    predicted, truth = blocks(seed), blocks(seed + 50)
    truth[:9] = predicted[:9]
    truth[np.random.default_rng(seed).random(truth.shape) < 0.05] = 255
    segments = Segments.of(predicted)
    iou, is_known = metabox.segment_iou(segments, truth, CLASSES)
    void = {place for place in np.ndindex(truth.shape) if truth[place] == 255}
    for own in flood(predicted):
        first = next(iter(own))
        number, label = int(segments.numbers[first]), int(predicted[first])
        others = {p for p in np.ndindex(truth.shape) if predicted[p] == label and p not in own}
        true = [part for part in flood(truth) if truth[next(iter(part))] == label and part & own]
        met = set().union(*true)
        assert bool(is_known[number]) == bool(own - void)
        if own - void:
            expected = len(met & own) / len(((met - others) | own) - void)
            assert float(iou[number]) == pytest.approx(expected)


# --------------------------------------------------------------------------------------- metrics


def test_metrics_are_what_walking_the_pixels_gives():
    labels = blocks(3)
    view, segments = view_of(labels), Segments.of(labels)
    found = metabox.segment_metrics(view, segments)
    assert found.shape == (len(segments.classes), 11 + CLASSES)
    p = view.probabilities.double().numpy()
    for own in flood(labels):
        rim = {q for q in own if any(labels[r] != labels[q] for r in around(*q, labels.shape))}
        expected = []
        for dispersion in (
            lambda q: -sum(v * np.log(v) for v in q) / np.log(CLASSES),
            lambda q: 1 - (max(q) - sorted(q)[-2]),
            lambda q: 1 - max(q),
        ):
            for part in (own, rim, own - rim):
                values = [dispersion(p[:, y, x].tolist()) for y, x in part]
                expected.append(float(np.mean(values)) if values else 0.0)
        label = int(labels[next(iter(own))])
        expected += [np.log(len(own)), len(rim) / len(own)]
        expected += [float(label == other) for other in range(CLASSES)]
        number = int(segments.numbers[next(iter(own))])
        assert found[number].tolist() == pytest.approx(expected, abs=1e-5)


# --------------------------------------------------------------------------------------- quality


def test_the_regression_is_a_ridge_on_standardised_metrics():
    examples = [(view_of(blocks(k), k), blocks(k + 50)) for k in range(3)]
    quality = metabox.learn_quality(iter(examples))
    rows, targets = [], []
    for view, truth in examples:
        segments = Segments.of(view.prediction.numpy())
        rows += metabox.segment_metrics(view, segments).tolist()
        targets += metabox.segment_iou(segments, truth, CLASSES)[0].tolist()
    x, y = np.array(rows), np.array(targets)
    z = (x - x.mean(0)) / x.std(0)
    # least squares with a row of sqrt(penalty) for each weight is the same problem
    rows_of_penalty = np.concatenate([z, np.eye(z.shape[1])])
    weights = np.linalg.lstsq(
        rows_of_penalty, np.concatenate([y - y.mean(), np.zeros(z.shape[1])]), rcond=None
    )[0]
    expected = np.clip(z @ weights + y.mean(), 0, 1)
    assert quality.predict(x) == pytest.approx(expected)
    assert np.corrcoef(quality.predict(x), y)[0, 1] > 0.3


def test_poorness_is_one_minus_the_predicted_iou_of_the_segment():
    labels = np.array([[0, 0, 1], [0, 0, 1]], np.uint8)
    weights = np.zeros(11 + CLASSES)
    weights[-CLASSES:] = (0.25, -0.5, 0.0, 0.0)  # class 0: 0.9, class 1: 0.15, before any limit
    quality = Quality(np.zeros(15), np.ones(15), weights, 0.65)
    made = metabox.poorness(view_of(labels, learned=quality))
    assert made.flatten().tolist() == pytest.approx([0.1, 0.1, 0.85, 0.1, 0.1, 0.85])
    sure = replace(quality, mean=2.0)
    assert metabox.poorness(view_of(labels, learned=sure)).unique().tolist() == [0.0]
    assert metabox.poorness(view_of(labels)).unique().tolist() == [1.0]


def test_nothing_is_learned_from_nothing_or_from_void():
    assert metabox.learn_quality(iter(())) is None
    void = np.full((13, 17), 255, np.uint8)
    assert metabox.learn_quality(iter([(view_of(blocks(0)), void)])) is None


# -------------------------------------------------------------------------------------- vertices


def test_vertices_of_outlines_by_hand():
    labels = np.zeros((12, 14), np.uint8)
    labels[2:8, 3:10] = 1  # a rectangle in a frame: four corners each, and the hole is not traced
    labels[4:6, 5:7] = 2
    found = metabox.outline_vertices(view_of(labels), tolerance_px=0.5)
    corners = {(0, 0), (0, 13), (11, 0), (11, 13), (2, 3), (2, 9), (7, 3), (7, 9)}
    corners |= {(4, 5), (4, 6), (5, 5), (5, 6)}
    assert {tuple(place) for place in found.nonzero().tolist()} == corners
    assert int(found.sum()) == 12


def test_a_segment_in_a_hole_of_its_own_class_is_traced():
    labels = np.ones((9, 9), np.uint8)
    labels[2:7, 2:7] = 0
    labels[4, 4] = 1
    assert int(metabox.outline_vertices(view_of(labels))[4, 4]) == 1


def test_a_wider_tolerance_takes_fewer_vertices():
    labels = blocks(1).repeat(6, 0).repeat(6, 1)
    rough = strategies.make("metabox[tolerance=9]").maps["vertices"]
    fine = strategies.make("metabox").maps["vertices"]
    assert 0 < int(rough(view_of(labels)).sum()) < int(fine(view_of(labels)).sum())
    with pytest.raises(InputError, match="tolerance"):
        strategies.make("metabox[tolerance=0]")


def test_the_score_is_the_product_of_poorness_and_cheapness():
    maps = {
        "information": torch.tensor([0.2, 0.8, 1.0]),
        "vertices": torch.tensor([0.0, 0.5, 1.0]),
    }
    made = strategies.make("metabox").score(maps, np.random.default_rng(0))
    assert made.tolist() == pytest.approx([0.2, 0.4, 0.0])


# --------------------------------------------------------------------------------- in the engine

SIZES = {f"img_{number}": (32, 48) for number in range(6)}
RULES = QueryRules(window_px=10)


class Coarse(FakeNetwork):
    """Predictions in patches of 8 pixels, so that segments are more than noise."""

    def predict(self, image_id, n_passes):
        logits = torch.randn((5, 4, 6), generator=self._generator(image_id))
        return View(iter(()), plain_pass=lambda: Logits(logits, self._sizes[image_id]))


def pool_of(order=SIZES, oracle=None):
    """Return a pool with two images labelled in full, and a window of a third."""
    pool, oracle = LabelledPool({name: SIZES[name] for name in order}), oracle or FakeOracle(SIZES)
    whole = [Region(name, 0, 0, 32, 48) for name in ("img_4", "img_1")]
    pool.add(oracle.annotate([*whole, Region("img_2", 0, 0, 10, 10)], pool))
    return pool


def query(pool, network=None, cache=None, strategy=None):
    return acquire(
        strategy or strategies.make("metabox"),
        600,
        pool=pool,
        predictor=network or Coarse(SIZES, "key"),
        oracle=FakeOracle(SIZES),
        rules=RULES,
        cache=cache or MemoryMaps(),
        rng_for=lambda image_id: generator(0, 1, Purpose.SCORES, image_id),
    )


def test_only_images_labelled_in_full_teach_whatever_the_order():
    taught = []

    def learn(examples):
        taught.extend((view, labels.copy()) for view, labels in examples)

    learn.__qualname__ = "learn"
    teaching = replace(strategies.make("metabox"), learn=learn)
    query(pool_of(), strategy=teaching)
    oracle, network = FakeOracle(SIZES), Coarse(SIZES, "key")
    assert len(taught) == 2  # once, not once a map or an image
    assert np.array_equal(taught[0][1], oracle.labels["img_1"])
    assert np.array_equal(taught[1][1], oracle.labels["img_4"])
    assert torch.equal(taught[1][0].logits.values, network.predict("img_4", 1).logits.values)


def test_the_order_of_the_images_does_not_matter_to_what_is_learned():
    assert pool_of().full_ids == pool_of(list(reversed(SIZES))).full_ids == ["img_1", "img_4"]
    assert query(pool_of()) == query(pool_of(list(reversed(SIZES)))) == query(pool_of())
    assert len({item.score for item in query(pool_of())}) > 1


def test_what_is_learned_decides_and_hidden_labels_do_not():
    other = FakeOracle(SIZES)
    other.flip_hidden([Region("img_1", 0, 0, 32, 48), Region("img_4", 0, 0, 32, 48)])
    assert query(pool_of(oracle=other)) == query(pool_of())
    taught_otherwise = FakeOracle(SIZES, seed=1)
    assert query(pool_of(oracle=taught_otherwise)) != query(pool_of())


def test_maps_without_room_are_made_again_from_the_same_lesson():
    assert query(pool_of(), cache=MemoryMaps(limit_bytes=0)) == query(pool_of())


def test_the_lesson_is_read_before_the_images_that_it_is_for():
    expected, seen = [], []

    class Watching(Coarse):
        def expect(self, image_ids):
            expected.append(list(image_ids))

        def predict(self, image_id, n_passes):
            seen.append(image_id)
            return super().predict(image_id, n_passes)

    query(pool_of(), Watching(SIZES, "key"))
    still_open = ["img_0", "img_2", "img_3", "img_5"]
    assert expected == [["img_1", "img_4"], still_open]
    assert list(dict.fromkeys(seen)) == ["img_1", "img_4", *still_open]
