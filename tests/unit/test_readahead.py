import threading

import numpy as np
import pytest

from harness.data.readahead import ReadAhead


class Files:
    def __init__(self, broken: str | None = None) -> None:
        self.read: list[tuple[str, bool]] = []
        self.broken = broken

    def __call__(self, image_id: str) -> np.ndarray:
        self.read.append((image_id, threading.current_thread() is threading.main_thread()))
        if image_id == self.broken:
            raise OSError(f"{image_id} is gone")
        return np.full((1, 1, 3), ord(image_id), np.uint8)


def test_what_is_announced_is_read_once_by_the_thread():
    files = Files()
    photos = ReadAhead(files)
    photos.expect("abcd")
    assert [photos.get(image_id)[0, 0, 0] for image_id in "abcd"] == [97, 98, 99, 100]
    assert sorted(files.read) == [("a", True), ("b", False), ("c", False), ("d", False)]


@pytest.mark.parametrize("asked", ["acd", "dcba", "xyz", "aab", "bxd"])
def test_any_other_order_gives_the_same_photographs(asked):
    photos = ReadAhead(Files())
    photos.expect("abcd")
    assert [int(photos.get(image_id)[0, 0, 0]) for image_id in asked] == [
        ord(image_id) for image_id in asked
    ]


def test_an_error_comes_when_the_photograph_is_asked_for():
    photos = ReadAhead(Files(broken="c"))
    photos.expect("abcd")
    photos.get("a")
    photos.get("b")
    with pytest.raises(OSError, match="c is gone"):
        photos.get("c")
    assert photos.get("d")[0, 0, 0] == 100
