"""The region engine against its definition, on inputs that nobody thought of."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness.clicks import count_clicks
from harness.regions import non_maximum_suppression, rescale, select_within_budget, window_sum
from harness.scoring import aubc, share_at
from harness.types import Candidate, Region
from tests.examples import examples

QUICK = examples(60)


def maps(elements):
    return hnp.arrays(
        np.float64,
        hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=14),
        elements=elements,
    )


@QUICK
@given(
    maps(st.floats(0, 1e6, allow_nan=False)),
    st.integers(1, 14),
    st.integers(1, 14),
    st.integers(1, 5),
)
def test_window_sums_equal_brute_force(values, height, width, stride):
    rows, cols = values.shape
    pixels = torch.from_numpy(values)
    if height > rows or width > cols:
        with pytest.raises(ValueError, match="window must be"):
            window_sum(pixels, (height, width), stride=stride)
        return
    sums = window_sum(pixels, (height, width), stride=stride)
    for y in range(sums.shape[0]):
        for x in range(sums.shape[1]):
            exact = math.fsum(
                values[y * stride : y * stride + height, x * stride : x * stride + width].flatten()
            )
            # fixed point: each of at most 196 values is rounded by 2**-52 of the largest possible sum
            assert abs(float(sums[y, x]) - exact) <= 196 * 196 * max(1.0, values.max()) * 2.0**-50


def simple_suppression(scores: np.ndarray, side: int, stride: int) -> list[tuple[int, int, float]]:
    left = scores.copy()
    found = []
    while left.max() > -math.inf:
        y, x = divmod(int(left.argmax()), left.shape[1])
        found.append((y * stride, x * stride, float(left[y, x])))
        for other_y in range(left.shape[0]):
            for other_x in range(left.shape[1]):
                if abs(other_y - y) * stride < side and abs(other_x - x) * stride < side:
                    left[other_y, other_x] = -math.inf
    return found


@QUICK
@given(
    maps(st.sampled_from([-math.inf, -1.0, 0.0, 0.25, 0.5, 1.0])),
    st.integers(1, 7),
    st.integers(1, 4),
)
def test_suppression_equals_the_simple_form_with_ties_and_forbidden_places(scores, side, stride):
    fast = [
        tuple(peak)
        for peak in non_maximum_suppression(torch.from_numpy(scores), side, stride=stride)
    ]
    assert fast == simple_suppression(scores, side, stride)


@QUICK
@given(maps(st.floats(-5, 5)), st.integers(1, 6))
def test_candidates_are_disjoint_and_sorted(scores, side):
    peaks = non_maximum_suppression(torch.from_numpy(scores), side)
    assert [peak.score for peak in peaks] == sorted((peak.score for peak in peaks), reverse=True)
    covered = np.zeros((scores.shape[0] + side, scores.shape[1] + side), int)
    for peak in peaks:
        covered[peak.top : peak.top + side, peak.left : peak.left + side] += 1
    assert covered.max() <= 1


@QUICK
@given(maps(st.floats(0, 100)), st.floats(0, 50), st.floats(0.001, 100))
def test_scaling_is_monotone_and_hits_its_ends(values, low, spread):
    scaled = rescale(torch.from_numpy(values), low, low + spread)
    order = np.argsort(values, axis=None, kind="stable")
    assert (np.diff(scaled.numpy().flatten()[order]) >= 0).all()
    assert float(rescale(torch.tensor([[low]], dtype=torch.float64), low, low + spread)) == 0.0


@QUICK
@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from("abc"), st.integers(0, 9)),
        unique_by=lambda item: item[1:],
    ),
    st.integers(0, 60),
    st.randoms(),
)
def test_selection_does_not_depend_on_the_order(items, budget, random):
    candidates = [
        Candidate(Region(image, place * 3, 0, 3, 3), score, 9) for score, image, place in items
    ]
    shuffled = list(candidates)
    random.shuffle(shuffled)
    picked = select_within_budget(candidates, budget)
    assert select_within_budget(shuffled, budget) == picked
    assert len(picked) == min(budget // 9, len(candidates))


@QUICK
@given(st.integers(2, 12), st.integers(2, 12), st.data())
def test_polygon_clicks_of_a_partition_add_up(height, width, data):
    vertex = st.tuples(st.floats(-3, width + 3), st.floats(-3, height + 3))
    polygons = data.draw(st.lists(st.lists(vertex, min_size=1, max_size=8), max_size=5))
    labels = data.draw(hnp.arrays(np.uint8, (height, width), elements=st.integers(0, 3)))
    cut_y, cut_x = data.draw(st.integers(1, height - 1)), data.draw(st.integers(1, width - 1))
    whole = count_clicks(polygons, labels, Region("a", 0, 0, height, width))
    parts = [
        count_clicks(polygons, labels, Region("a", top, left, bottom - top, right - left))
        for top, bottom in ((0, cut_y), (cut_y, height))
        for left, right in ((0, cut_x), (cut_x, width))
    ]
    assert whole.polygon == sum(map(len, polygons)) == sum(part.polygon for part in parts)
    assert whole.intersection == whole.box == 0
    assert all(part.box == 4 for part in parts)


curves = st.lists(
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
    min_size=1,
    max_size=8,
    unique_by=lambda point: point[0],
).map(sorted)


def height(curve, share) -> Fraction:
    """Interpolate without rounding."""
    for (left, low), (right, high) in itertools.pairwise(curve):
        if left <= share <= right:
            part = (Fraction(share) - Fraction(left)) / (Fraction(right) - Fraction(left))
            return Fraction(low) + part * (Fraction(high) - Fraction(low))
    return Fraction(curve[0][1])


@QUICK
@given(curves, st.floats(0, 1))
@example([(0.0, 0.0), (5e-324, 1.0)], 0.5)  # no number lies between the two shares
@example([(0.5, 0.0), (math.nextafter(0.5, 1), 1.0)], 0.25)
@example([(0.5, 0.0), (0.75, 1.0)], 1e-300)  # a crossing that rounds to where the curve was below
def test_a_crossing_lies_on_the_curve(curve, threshold):
    share = share_at(curve, threshold)
    shares, values = zip(*curve, strict=True)
    if share is None:
        assert max(values) < threshold
        return
    assert shares[0] <= share <= shares[-1]
    assert share == shares[0] or curve[[s < share for s in shares].index(False) - 1][1] < threshold
    # a steep piece passes many values from one number to the next
    near = max(height(curve, share), height(curve, min(math.nextafter(share, 1), shares[-1])))
    assert near >= threshold - 1e-6


@QUICK
@given(curves, st.floats(1, 2))
def test_aubc_lies_between_the_lowest_and_the_highest_value(curve, stop):
    values = [value for _, value in curve]
    assert min(values) - 1e-9 <= aubc(curve, stop=stop) <= max(values) + 1e-9
