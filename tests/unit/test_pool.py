import numpy as np
import pytest

from harness.pool import LabelledPool
from harness.types import Annotation, Clicks, Region


def annotation(region: Region, label: int, vertices=(), is_new=None) -> Annotation:
    shape = (region.height, region.width)
    new = np.ones(shape, bool) if is_new is None else is_new
    return Annotation(
        region,
        np.full(shape, label, np.uint8),
        np.array(vertices, np.int32).reshape(-1, 2),
        new,
        Clicks(),
    )


def test_a_pool_starts_empty():
    pool = LabelledPool({"a": (4, 6), "b": (4, 6)})
    assert (pool.labelled_px, pool.total_px, pool.touched_ids, pool.open_ids) == (
        0,
        48,
        [],
        ["a", "b"],
    )
    assert not pool.is_labelled("a").any()
    assert (pool.labels("a") == 255).all()


def test_what_is_added_is_known_and_nothing_else():
    pool = LabelledPool({"a": (4, 6), "b": (4, 6)})
    pool.add([annotation(Region("a", 1, 2, 2, 3), 7, [(3, 2)])])
    assert pool.labelled_px == 6
    assert pool.labels("a")[1:3, 2:5].tolist() == [[7, 7, 7]] * 2
    assert (pool.labels("a") == 255).sum() == 18
    assert pool.vertices("a").tolist() == [[3, 2]]
    assert pool.touched_ids == ["a"]


def test_an_image_labelled_in_full_is_closed():
    pool = LabelledPool({"a": (4, 6), "b": (4, 6)})
    pool.add([annotation(Region("a", 0, 0, 4, 6), 1)])
    assert pool.open_ids == ["b"]


def test_overlapping_pixels_count_once():
    pool = LabelledPool({"a": (4, 6)})
    pool.add([annotation(Region("a", 0, 0, 2, 2), 1, [(1, 1)])])
    is_new = np.array([[False, True], [True, True]])
    pool.add([annotation(Region("a", 1, 1, 2, 2), 1, [(1, 1), (2, 2)], is_new)])
    assert pool.labelled_px == 7
    assert pool.vertices("a").tolist() == [[1, 1], [2, 2]]


def test_the_digest_does_not_depend_on_the_order():
    first, second = annotation(Region("a", 0, 0, 2, 2), 1), annotation(Region("a", 2, 2, 2, 2), 1)
    one, other = LabelledPool({"a": (4, 6)}), LabelledPool({"a": (4, 6)})
    one.add([first, second])
    other.add([second])
    assert one.digest() != other.digest()
    other.add([first])
    assert one.digest() == other.digest()


def test_masks_are_made_once_between_answers_and_nobody_can_write_into_them(monkeypatch):
    pool = LabelledPool({"a": (4, 6), "b": (4, 6)})
    assert pool.is_labelled("a") is pool.is_labelled("a")
    before = pool.is_labelled("a"), pool.labels("b")
    pool.add([annotation(Region("a", 0, 0, 2, 2), 3)])
    assert pool.is_labelled("a").sum() == 4
    assert not before[0].any()
    assert pool.labels("b") is before[1]
    with pytest.raises(ValueError, match="read-only"):
        pool.is_labelled("a")[0, 0] = False
    monkeypatch.setattr("harness.pool._REMEMBERED_BYTES", 30)
    first = pool.is_labelled("b")
    assert pool.is_labelled("a").sum() == 4
    again = pool.is_labelled("b")
    assert (again == first).all()
