"""The fast click maps against a slow reference that walks the pixels of each region."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness.clicks import (
    clamp_vertices,
    count_all_windows,
    count_clicks,
    count_components,
    count_region,
)
from harness.types import Clicks, Region
from tests.examples import examples


def slow_components(labels: np.ndarray) -> int:
    """Flood fill, pixel by pixel, with eight neighbours."""
    left = {(y, x) for y in range(labels.shape[0]) for x in range(labels.shape[1])}
    count = 0
    while left:
        stack = [left.pop()]
        count += 1
        while stack:
            y, x = stack.pop()
            for near in ((y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)):
                if near in left and labels[near] == labels[y, x]:
                    left.remove(near)
                    stack.append(near)
    return count


def slow_clicks(polygons, labels: np.ndarray, region: Region) -> Clicks:
    rows, cols = labels.shape
    polygon = 0
    for vertices in polygons:
        for x, y in vertices:
            column, row = (
                min(max(int(np.floor(x)), 0), cols - 1),
                min(max(int(np.floor(y)), 0), rows - 1),
            )
            polygon += (
                region.top <= row < region.top + region.height
                and region.left <= column < region.left + region.width
            )
    crossings = 0
    bottom, right = region.top + region.height - 1, region.left + region.width - 1
    for row, open_side in ((region.top, region.top > 0), (bottom, bottom < rows - 1)):
        crossings += sum(
            open_side and labels[row, x] != labels[row, x + 1] for x in range(region.left, right)
        )
    for column, open_side in ((region.left, region.left > 0), (right, right < cols - 1)):
        crossings += sum(
            open_side and labels[y, column] != labels[y + 1, column]
            for y in range(region.top, bottom)
        )
    whole = (region.height, region.width) == labels.shape
    return Clicks(polygon, crossings, 0 if whole else 4, slow_components(labels[region.slices]))


labels_and_polygons = st.tuples(
    hnp.arrays(
        np.uint8, st.tuples(st.integers(1, 10), st.integers(1, 10)), elements=st.integers(0, 2)
    ),
    st.lists(st.lists(st.tuples(st.floats(-2, 12), st.floats(-2, 12)), max_size=6), max_size=3),
)


@examples(150)
@given(labels_and_polygons, st.integers(1, 10), st.integers(1, 10), st.integers(1, 3))
def test_all_windows_and_single_regions_agree_with_the_slow_reference(case, height, width, stride):
    labels, polygons = case
    vertices = clamp_vertices(polygons, *labels.shape)
    if height > labels.shape[0] or width > labels.shape[1]:
        with pytest.raises(ValueError, match="window must be"):
            count_all_windows(vertices, labels, (height, width), stride=stride)
        return
    maps = count_all_windows(vertices, labels, (height, width), stride=stride)
    for y in range(maps.polygon.shape[0]):
        for x in range(maps.polygon.shape[1]):
            region = Region("a", y * stride, x * stride, height, width)
            expected = slow_clicks(polygons, labels, region)
            assert count_region(vertices, labels, region) == expected
            assert Clicks(*(int(counts[y, x]) for counts in maps)) == expected


def test_nested_rings_have_holes_in_holes():
    labels = np.zeros((11, 11), np.uint8)
    labels[1:10, 1:10] = 1
    labels[2:9, 2:9] = 0
    labels[4:7, 4:7] = 1
    labels[5, 5] = 2
    for side in range(1, 12):
        maps = count_all_windows(np.empty((0, 2), np.int32), labels, (side, side))
        for y in range(12 - side):
            for x in range(12 - side):
                assert maps.classes[y, x] == slow_components(labels[y : y + side, x : x + side])


def test_a_real_image(train_split):
    image_id = next(iter(train_split.files))
    vertices, labels = train_split.vertices(image_id), train_split.label_ids(image_id)
    maps = count_all_windows(vertices, labels, (24, 24), stride=5)
    for y in range(maps.polygon.shape[0]):
        for x in range(maps.polygon.shape[1]):
            region = Region(image_id, 5 * y, 5 * x, 24, 24)
            assert Clicks(*(int(counts[y, x]) for counts in maps)) == count_region(
                vertices, labels, region
            )
    assert count_components(labels) == slow_components(labels)


def test_the_public_form_takes_polygons(train_split):
    labels = np.zeros((4, 5), np.uint8)
    assert count_clicks([[(0, 0), (5, 4)]], labels, Region("a", 0, 0, 4, 5)) == Clicks(2, 0, 0, 1)
