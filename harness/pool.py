"""Which pixels are labelled, and with what. The pool never holds a hidden label."""

from __future__ import annotations

import hashlib
from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.protocols import ImageSizes
from harness.types import Annotation, Region

_UNLABELLED = 255
_REMEMBERED_BYTES = 64 << 20


class _Remembered:
    """The last arrays by image, up to a bound."""

    def __init__(self) -> None:
        self._arrays: OrderedDict[str, npt.NDArray[Any]] = OrderedDict()
        self._bytes = 0

    def get(self, image_id: str) -> npt.NDArray[Any] | None:
        if image_id in self._arrays:
            self._arrays.move_to_end(image_id)
        return self._arrays.get(image_id)

    def keep(self, image_id: str, array: npt.NDArray[Any]) -> None:
        array.setflags(write=False)
        self._arrays[image_id] = array
        self._bytes += array.nbytes
        while self._bytes > _REMEMBERED_BYTES and len(self._arrays) > 1:
            self._bytes -= self._arrays.popitem(last=False)[1].nbytes

    def forget(self, image_id: str) -> None:
        array = self._arrays.pop(image_id, None)
        self._bytes -= array.nbytes if array is not None else 0


class LabelledPool:
    """The training images and all that the oracle has said about them so far.

    class_counts: (256,) bought pixels by train id, 255 void. Memory grows with labelled pixels, not
    with touched images: masks and label maps are put together when they are asked for, and the last
    ones are remembered, up to a bound.
    """

    def __init__(self, sizes: ImageSizes) -> None:
        self.sizes = sizes
        self.total_px = sum(height * width for height, width in sizes.values())
        self.labelled_px = 0
        self.class_counts = np.zeros(256, np.int64)
        self._annotations: dict[str, list[Annotation]] = defaultdict(list)
        self._labelled: dict[str, int] = defaultdict(int)
        self._masks = _Remembered()
        self._maps = _Remembered()

    def add(self, annotations: Sequence[Annotation]) -> None:
        """Take over the oracle's answers."""
        for annotation in annotations:
            new_px = int(np.count_nonzero(annotation.is_new))
            self._annotations[annotation.region.image_id].append(annotation)
            self._labelled[annotation.region.image_id] += new_px
            bought = annotation.labels[annotation.is_new]
            self.class_counts += np.bincount(bought, minlength=256)
            self.labelled_px += new_px
            self._masks.forget(annotation.region.image_id)
            self._maps.forget(annotation.region.image_id)

    @property
    def touched_ids(self) -> list[str]:
        """Images with at least one labelled pixel, in the order of the data set."""
        return [image_id for image_id in self.sizes if self._labelled.get(image_id)]

    @property
    def open_ids(self) -> list[str]:
        """Images that are not labelled in full: only these are predicted."""
        return [
            image_id
            for image_id, (height, width) in self.sizes.items()
            if self._labelled.get(image_id, 0) < height * width
        ]

    @property
    def full_ids(self) -> list[str]:
        """Images that are labelled in full, sorted: the same for any order of the data set."""
        return sorted(set(self.sizes).difference(self.open_ids))

    def labelled_px_of(self, image_id: str) -> int:
        """Number of labelled pixels of one image."""
        return self._labelled.get(image_id, 0)

    def regions(self, image_id: str) -> list[Region]:
        """Return the labelled regions of one image, in their own order, whatever the order in which they were bought."""
        found = (annotation.region for annotation in self._annotations.get(image_id, ()))
        return sorted(found, key=lambda region: region.place)

    def is_labelled(self, image_id: str) -> npt.NDArray[np.bool_]:
        """Return the (H, W) mask of labelled pixels; read only."""
        mask = self._masks.get(image_id)
        if mask is None:
            mask = np.zeros(self.sizes[image_id], dtype=np.bool_)
            for annotation in self._annotations.get(image_id, ()):
                mask[annotation.region.slices] |= annotation.is_new
            self._masks.keep(image_id, mask)
        return mask

    def labels(self, image_id: str) -> npt.NDArray[np.uint8]:
        """Return the (H, W) train ids that are known; 255 elsewhere, as for void. Read only."""
        labels = self._maps.get(image_id)
        if labels is None:
            labels = np.full(self.sizes[image_id], _UNLABELLED, dtype=np.uint8)
            for annotation in self._annotations.get(image_id, ()):
                part = labels[annotation.region.slices]
                np.copyto(part, annotation.labels, where=annotation.is_new)
            self._maps.keep(image_id, labels)
        return labels

    def vertices(self, image_id: str) -> npt.NDArray[np.int32]:
        """Return the (n, 2) recorded vertices (x, y) inside the labelled pixels."""
        parts = []
        for annotation in self._annotations.get(image_id, ()):
            x, y = (
                annotation.vertices[:, 0] - annotation.region.left,
                annotation.vertices[:, 1] - annotation.region.top,
            )
            parts.append(annotation.vertices[annotation.is_new[y, x]])
        return np.concatenate(parts) if parts else np.empty((0, 2), np.int32)

    def digest(self) -> str:
        """Identify the set of labelled regions, whatever the order in which they were bought."""
        regions = sorted(
            (
                annotation.region
                for annotations in self._annotations.values()
                for annotation in annotations
            ),
            key=lambda region: region.place,
        )
        return hashlib.sha256(repr(regions).encode()).hexdigest()
