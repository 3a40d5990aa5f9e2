import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.pool import LabelledPool
from harness.segmentor.coverage import Coverage, counts_in
from harness.types import Annotation, Clicks, Region
from tests.examples import examples


def pool_of(sizes: dict[str, tuple[int, int]], regions: list[Region]) -> LabelledPool:
    pool = LabelledPool(sizes)
    for region in regions:
        new = ~pool.is_labelled(region.image_id)[region.slices]
        shape = (region.height, region.width)
        pool.add(
            [
                Annotation(
                    region, np.zeros(shape, np.uint8), np.empty((0, 2), np.int32), new, Clicks()
                )
            ]
        )
    return pool


def counts(
    pool: LabelledPool, crop: tuple[int, int], seed: int, epochs: int = 1
) -> tuple[dict[str, np.ndarray], int]:
    times = {image_id: np.zeros(size, np.int64) for image_id, size in pool.sizes.items()}
    coverage, laid = Coverage(pool, *crop), 0
    for number in range(epochs):
        places, pieces = coverage.epoch(np.random.default_rng([seed, number]))
        laid += len(places)
        for place in places:
            height, width = pool.sizes[place.image_id]
            assert 0 <= place.top <= height - place.height
            assert 0 <= place.left <= width - place.width
            mask = counts_in(place, pieces[place.image_id])
            assert mask.any()
            times[place.image_id][
                place.top : place.top + place.height, place.left : place.left + place.width
            ] += mask
    return times, laid


@st.composite
def pools(draw):
    sizes = {
        f"image{i}": (draw(st.integers(5, 40)), draw(st.integers(5, 60)))
        for i in range(draw(st.integers(1, 3)))
    }
    regions = []
    for image_id, (height, width) in sizes.items():
        for _ in range(draw(st.integers(0, 5))):
            h, w = draw(st.integers(1, height)), draw(st.integers(1, width))
            regions.append(
                Region(
                    image_id,
                    draw(st.integers(0, height - h)),
                    draw(st.integers(0, width - w)),
                    h,
                    w,
                )
            )
        if draw(st.booleans()):
            regions.append(Region(image_id, 0, 0, height, width))
    return sizes, regions or [Region("image0", 0, 0, *sizes["image0"])]


@examples(150)
@given(pools(), st.integers(1, 40), st.integers(1, 40), st.integers(0, 5))
def test_every_labelled_pixel_counts_once_an_epoch_and_no_other_counts(case, height, width, seed):
    """Whole images, windows and any mix of them, apart or overlapping, larger or smaller than the crop."""
    pool = pool_of(*case)
    times, _ = counts(pool, (height, width), seed, epochs=2)
    for image_id, seen in times.items():
        assert (seen == 2 * pool.is_labelled(image_id)).all()


def test_crops_are_not_laid_where_nothing_is_left():
    """Four windows that fit into one crop, and a whole image of two crops."""
    sizes = {"a": (128, 256), "b": (128, 256)}
    windows = [Region("a", top, left, 32, 32) for top in (0, 40) for left in (10, 60)]
    laid = [counts(pool_of(sizes, windows), (128, 128), seed)[1] for seed in range(20)]
    assert np.mean(laid) < 2
    assert counts(pool_of(sizes, [Region("b", 0, 0, 128, 256)]), (128, 128), 0)[1] == 2


def test_places_vary_from_epoch_to_epoch_and_not_for_one_stream():
    pool = pool_of({"a": (128, 256)}, [Region("a", 30, 70, 64, 64)])
    coverage = Coverage(pool, 128, 128)
    lefts = {coverage.epoch(np.random.default_rng(number))[0][0].left for number in range(20)}
    assert len(lefts) > 5
    assert min(lefts) >= 6
    assert max(lefts) <= 70
    assert (
        coverage.epoch(np.random.default_rng(3))[0] == coverage.epoch(np.random.default_rng(3))[0]
    )


@pytest.mark.parametrize("order", [1, -1])
def test_the_plan_does_not_depend_on_the_order_of_buying(order):
    windows = [
        Region("a", 0, 0, 64, 64),
        Region("a", 64, 100, 64, 64),
        Region("a", 10, 180, 64, 64),
    ]
    pool, other = (
        pool_of({"a": (128, 256)}, list(regions)) for regions in (windows, windows[::order])
    )
    assert (
        Coverage(pool, 128, 128).epoch(np.random.default_rng(0))[0]
        == Coverage(other, 128, 128).epoch(np.random.default_rng(0))[0]
    )
