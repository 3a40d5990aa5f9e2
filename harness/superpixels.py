"""Superpixels: regions that follow what is seen in a photograph, in the place of windows."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import zlib
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.errors import InputError
from harness.files import atomic_write

Segments = npt.NDArray[np.int32]
"""(H, W): the number of each pixel's superpixel, from 0 on, none left out."""
Boxes = npt.NDArray[np.int64]
"""(n, 5): top, left, height, width of each superpixel's bounding box, and its pixels."""

_REMEMBERED_BYTES = 64 << 20


def check_library() -> None:
    """Refuse superpixels where what makes them is not installed.

    Raises:
        InputError: it names the extra.
    """
    if importlib.util.find_spec("skimage") is None:
        raise InputError("superpixels need scikit-image: install harness-al[superpixels]")


def partition(photo: npt.NDArray[np.uint8], px: int) -> Segments:
    """Cut a photograph into superpixels of about ``px`` pixels each.

    SLIC (Achanta et al. 2012) by scikit-image, in CIELAB, connected. A photograph of fewer than
    ``px`` pixels is one superpixel. Choice: SLICO, its form without a compactness, which weighs
    each superpixel's colours by their own spread: with a fixed compactness grain makes fragments,
    and merging these leaves a few superpixels of any size.

    Args:
        photo: (H, W, 3), red, green, blue.
        px: mean size in pixels, >= 1.
    """
    from skimage.segmentation import slic

    height, width = photo.shape[:2]
    count = max(1, round(height * width / px))
    found = slic(photo, n_segments=count, slic_zero=True, start_label=0)
    return np.unique(found, return_inverse=True)[1].reshape(height, width).astype(np.int32)


class Superpixels:
    """The superpixels of a data set's photographs: each photograph is cut once, and kept on disk.

    Args:
        photo: image id -> (H, W, 3) photograph.
        folder: where they are kept, for each version of what makes them apart. Damaged files are
            made again, and a full disk only means that none is kept. None: in memory alone.
    """

    def __init__(
        self, photo: Callable[[str], npt.NDArray[np.uint8]], folder: Path | None = None
    ) -> None:
        self._photo, self._folder = photo, folder
        self._remembered: OrderedDict[tuple[str, int], tuple[Segments, Boxes]] = OrderedDict()
        self._bytes = 0

    def of(self, image_id: str, px: int) -> Segments:
        """Return an image's superpixels of about ``px`` pixels each; read only."""
        return self._both(image_id, px)[0]

    def boxes(self, image_id: str, px: int) -> Boxes:
        """Return ``boxes`` of an image's superpixels; read only."""
        return self._both(image_id, px)[1]

    def _both(self, image_id: str, px: int) -> tuple[Segments, Boxes]:
        key = image_id, px
        if key in self._remembered:
            self._remembered.move_to_end(key)
            return self._remembered[key]
        segments = self._read(image_id, px)
        if segments is None:
            segments = partition(self._photo(image_id), px)
            self._write(image_id, px, segments)
        found = segments, boxes(segments)
        for array in found:
            array.setflags(write=False)
        self._remembered[key] = found
        self._bytes += sum(array.nbytes for array in found)
        while self._bytes > _REMEMBERED_BYTES and len(self._remembered) > 1:
            gone = self._remembered.popitem(last=False)[1]
            self._bytes -= sum(array.nbytes for array in gone)
        return found

    def _file(self, image_id: str, px: int) -> Path | None:
        if self._folder is None:
            return None
        made_by = f"slico-{importlib.metadata.version('scikit-image')}-px-{px}"
        return self._folder / made_by / f"{image_id}.segments"

    def _read(self, image_id: str, px: int) -> Segments | None:
        file = self._file(image_id, px)
        if file is None:
            return None
        try:
            content = zlib.decompress(file.read_bytes())  # it carries a checksum of its own
            size = np.frombuffer(content[:8], np.int32)
            return np.frombuffer(content[8:], np.int32).reshape(size).copy()
        except (OSError, ValueError, zlib.error):
            return None

    def _write(self, image_id: str, px: int, segments: Segments) -> None:
        file = self._file(image_id, px)
        if file is None:
            return
        content = np.array(segments.shape, np.int32).tobytes() + segments.tobytes()
        with contextlib.suppress(OSError), atomic_write(file, sync=False) as draft:
            draft.write_bytes(zlib.compress(content, 6))


def boxes(segments: Segments) -> Boxes:
    """Return the bounding boxes of all superpixels."""
    from scipy import ndimage

    sizes = np.bincount(segments.ravel())
    found = ndimage.find_objects(segments + 1)
    return np.array(
        [
            (rows.start, columns.start, rows.stop - rows.start, columns.stop - columns.start, size)
            for (rows, columns), size in zip(found, sizes, strict=True)
        ],
        np.int64,
    )
