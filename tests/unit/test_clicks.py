import numpy as np
import pytest

from harness.clicks import clamp_vertices, count_clicks, count_components, vertex_map
from harness.types import Clicks, ClickTotals, Region

# A 6 x 8 image: class 1 in the left half, class 2 in the right half, a 2 x 2 square of class 3 at rows 2-3, columns 2-3.
LABELS = np.array([[1] * 4 + [2] * 4] * 6)
LABELS[2:4, 2:4] = 3
LEFT = [(0, 0), (4, 0), (4, 6), (0, 6)]
RIGHT = [(4, 0), (8, 0), (8, 6), (4, 6), (4, 0)]  # closed, and with vertices on x = W and y = H
SQUARE = [(2, 2), (4, 2), (4, 4), (4, 4), (2, 4)]  # with a repeated vertex
POLYGONS = [LEFT, RIGHT, SQUARE]


def test_the_whole_image():
    clicks = count_clicks(POLYGONS, LABELS, Region("a", 0, 0, 6, 8))
    assert clicks == Clicks(polygon=14, intersection=0, box=0, classes=3)


def test_a_window_by_hand():
    # rows 1-4, columns 1-4: SQUARE's 5 vertices. Sides just inside: row 1 reads 1 1 1 2, row 4 the same, column 1 reads
    # 1 1 1 1, column 4 reads 2 2 2 2. Components: class 1 around the square, class 2, class 3.
    clicks = count_clicks(POLYGONS, LABELS, Region("a", 1, 1, 4, 4))
    assert clicks == Clicks(polygon=5, intersection=2, box=4, classes=3)


def test_sides_on_the_frame_need_no_intersection_clicks():
    # rows 0-2, columns 0-7: only the bottom side lies inside the image; row 2 reads 1 1 3 3 2 2 2 2
    assert count_clicks(POLYGONS, LABELS, Region("a", 0, 0, 3, 8)).intersection == 2


def test_a_partition_adds_up():
    parts = [Region("a", top, left, 3, 4) for top in (0, 3) for left in (0, 4)]
    assert sum(count_clicks(POLYGONS, LABELS, part).polygon for part in parts) == 14


def test_vertices_outside_the_frame_are_clamped_into_it():
    assert clamp_vertices([[(8, 6), (-1, 2.7), (3.9, 100)]], 6, 8).tolist() == [
        [7, 5],
        [0, 2],
        [3, 5],
    ]


def test_no_polygon_is_no_click():
    assert count_clicks([], LABELS, Region("a", 1, 1, 2, 2)).polygon == 0
    assert count_clicks([[]], LABELS, Region("a", 1, 1, 2, 2)).polygon == 0


def test_diagonal_neighbours_are_one_component():
    assert count_components(np.array([[1, 0], [0, 1]], np.uint8)) == 2
    assert count_components(np.array([[1, 0, 1]], np.uint8)) == 3


def test_vertex_map_counts_each_vertex():
    vertices = clamp_vertices(POLYGONS, 6, 8)
    points = vertex_map(vertices, 6, 8)
    assert points.sum() == 14
    assert points[4, 4] == 2


@pytest.mark.parametrize(
    "region",
    [
        Region("a", 0, 0, 7, 8),
        Region("a", -1, 0, 2, 2),
        Region("a", 0, 7, 2, 2),
        Region("a", 0, 0, 0, 2),
    ],
)
def test_a_region_outside_is_refused(region):
    with pytest.raises(ValueError, match="leaves its image"):
        count_clicks(POLYGONS, LABELS, region)


def test_cost_shares():
    totals = ClickTotals(polygon=100, classes=20)
    clicks = Clicks(polygon=10, intersection=5, box=4, classes=3)
    assert totals.cost_a(clicks) == pytest.approx(18 / 120)
    assert totals.cost_b(clicks) == pytest.approx(19 / 100)
