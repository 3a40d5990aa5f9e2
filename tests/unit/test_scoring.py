import math

import numpy as np
import pytest

from harness.scoring import aubc, class_areas, iou, mean_iou, share_at
from harness.types import ImageAreas


def test_areas_leave_void_out():
    label = np.array([[0, 0, 1, 255]])
    predicted = np.array([[0, 1, 1, 2]])
    assert class_areas("a", predicted, label, 3, 255) == ImageAreas(
        "a", [1, 1, 0], [1, 2, 0], [2, 1, 0]
    )


def test_iou_sums_areas_over_images_before_dividing():
    areas = [
        ImageAreas("a", [1, 0, 0], [1, 2, 0], [2, 1, 0]),
        ImageAreas("b", [3, 0, 0], [3, 0, 0], [3, 0, 0]),
    ]
    scores = iou(areas)
    assert scores[0] == pytest.approx(4 / 5)
    assert scores[1] == 0.0
    assert math.isnan(scores[2])
    assert mean_iou(areas) == pytest.approx(0.4)


def test_no_image_is_an_error():
    with pytest.raises(ValueError, match="one image or more"):
        iou([])


CURVE = [(0.1, 0.2), (0.2, 0.4), (0.3, 0.3), (0.4, 0.6)]


@pytest.mark.parametrize(
    ("threshold", "share"),
    [(0.2, 0.1), (0.1, 0.1), (0.3, 0.15), (0.4, 0.2), (0.45, 0.35), (0.61, None)],
)
def test_share_at_is_the_first_crossing(threshold, share):
    assert share_at(CURVE, threshold) == (None if share is None else pytest.approx(share))


def test_aubc_of_a_constant_curve_is_its_value():
    assert aubc([(0.1, 0.5), (0.25, 0.5), (0.9, 0.5)]) == pytest.approx(0.5)


def test_aubc_by_hand():
    assert aubc([(0.0, 0.0), (1.0, 1.0)]) == pytest.approx(0.5)
    assert aubc([(0.0, 0.0), (1.0, 1.0)], stop=2.0) == pytest.approx(0.75)  # the last value is kept
    assert aubc([(0.0, 0.0), (1.0, 1.0)], stop=0.5) == pytest.approx(
        0.25
    )  # what lies beyond is cut
    assert aubc([(0.3, 0.7)]) == 0.7


def test_aubc_refuses_falling_shares():
    with pytest.raises(ValueError, match="rise"):
        aubc([(0.2, 0.1), (0.1, 0.2)])
