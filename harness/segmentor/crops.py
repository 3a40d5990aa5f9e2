"""Training crops, drawn where labels are."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch.utils.data import Dataset

from harness.blocks import Training
from harness.data.cityscapes import Split
from harness.data.labels import IGNORE
from harness.errors import RunError
from harness.pool import LabelledPool
from harness.seeds import nth_stream
from harness.segmentor.coverage import Coverage, Piece, Place, counts_in

_PLAN = 1


class LabelledCrops(Dataset[dict[str, Any]]):
    """Crops for one training; what is random about the i-th comes from the i-th random stream."""

    def __init__(
        self,
        split: Split,
        pool: LabelledPool,
        options: Training,
        *,
        length: int,
        key: np.random.SeedSequence,
    ) -> None:
        self._split, self._options, self._length, self._key = split, options, length, key
        self._ids = pool.touched_ids
        self._labels = {image_id: pool.labels(image_id) for image_id in self._ids}
        self._places = (
            Covering(pool, options, length, key)
            if options.sampler == "cover"
            else _AroundPixels(pool, options)
        )

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < self._length:
            raise IndexError(index)
        return self._draw(index, nth_stream(self._key, index))

    def _draw(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        options = self._options
        place, counts = self._places.at(index, rng)
        window = (
            slice(place.top, place.top + place.height),
            slice(place.left, place.left + place.width),
        )
        photo: npt.NDArray[Any] = self._split.photo(place.image_id)[window]
        target = self._labels[place.image_id][window]
        if counts is not None:
            target = np.where(counts, target, np.uint8(IGNORE))
        if options.flip and rng.random() < 0.5:
            photo, target = photo[:, ::-1], target[:, ::-1]
        if options.jitter:
            photo = _jitter(photo, options, rng)
        return {
            "inputs": torch.from_numpy(np.ascontiguousarray(photo.transpose(2, 0, 1))),
            "data_samples": sample_of(target),
        }


class _AroundPixels:
    """Each crop holds a uniformly drawn labelled pixel at a uniform offset, pushed back into the image; all that it shows counts."""

    def __init__(self, pool: LabelledPool, options: Training) -> None:
        self._options, self._ids, self._sizes = options, pool.touched_ids, pool.sizes
        self._masks = {
            image_id: None
            if labelled_in_full(pool, image_id)
            else np.flatnonzero(pool.is_labelled(image_id))
            for image_id in self._ids
        }
        ends = np.cumsum([pool.labelled_px_of(image_id) for image_id in self._ids])
        self._shares = ends / ends[-1]

    def at(self, _index: int, rng: np.random.Generator) -> tuple[Place, None]:
        image_id = self._ids[int(np.searchsorted(self._shares, rng.random(), side="right"))]
        size, labelled = self._sizes[image_id], self._masks[image_id]
        flat = (
            int(rng.integers(size[0] * size[1]))
            if labelled is None
            else int(labelled[rng.integers(len(labelled))])
        )
        height, width = (min(pair) for pair in zip(self._options.crop, size, strict=True))
        row, column = divmod(flat, size[1])
        top, left = _around(row, height, size[0], rng), _around(column, width, size[1], rng)
        return Place(image_id, top, left, height, width, ()), None


class Covering:
    """Epoch after epoch of a coverage, as many crops as the training takes."""

    def __init__(
        self, pool: LabelledPool, options: Training, length: int, key: np.random.SeedSequence
    ) -> None:
        if not pool.labelled_px:
            raise RunError("there is nothing to train on: no pixel is labelled")
        coverage = Coverage(pool, *options.crop)
        self._places: list[tuple[Place, list[Piece]]] = []
        for number in itertools.count():
            if len(self._places) >= length:
                return
            places, pieces = coverage.epoch(nth_stream(key, number, _PLAN))
            self._places += [(place, pieces[place.image_id]) for place in places]

    def planned(self, index: int) -> tuple[Place, list[Piece]]:
        """Return where a crop lies, and the pieces of its image in its epoch."""
        return self._places[index]

    def at(self, index: int, _rng: np.random.Generator) -> tuple[Place, npt.NDArray[np.bool_]]:
        """Return where a crop lies, and which of its pixels count."""
        place, pieces = self._places[index]
        return place, counts_in(place, pieces)


def class_weights(pool: LabelledPool, n_classes: int) -> list[float]:
    """Return 1 / sqrt(share) of each class among the labelled pixels, mean 1.

    0 for a class not seen yet.
    """
    counts = np.zeros(n_classes)
    for image_id in pool.touched_ids:
        counts += np.bincount(pool.labels(image_id).ravel(), minlength=256)[:n_classes]
    seen = counts > 0
    weights = np.zeros(n_classes)
    weights[seen] = 1.0 / np.sqrt(np.maximum(counts[seen] / max(counts.sum(), 1.0), 1e-4))
    return (
        list((weights / max(weights[seen].mean(), 1e-12)).tolist())
        if seen.any()
        else [1.0] * n_classes
    )


def sample_of(target: npt.NDArray[np.uint8]) -> SegDataSample:
    """Return an (H, W) label map as mmseg's heads take it."""
    sample = SegDataSample()
    sample.gt_sem_seg = PixelData(
        data=torch.from_numpy(np.ascontiguousarray(target, dtype=np.int64))[None]
    )
    return sample


def labelled_in_full(pool: LabelledPool, image_id: str) -> bool:
    """Return whether every pixel of an image is labelled."""
    height, width = pool.sizes[image_id]
    return pool.labelled_px_of(image_id) == height * width


def _around(at: int, side: int, extent: int, rng: np.random.Generator) -> int:
    """Place a crop of ``side`` so that it holds pixel ``at`` at a uniform offset, then push it back into the image."""
    return min(max(at - int(rng.integers(side)), 0), extent - side)


def _jitter(
    photo: npt.NDArray[np.uint8], options: Training, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    gain = (1.0 + rng.uniform(-options.brightness, options.brightness)) * (
        1.0 + rng.uniform(-options.tint, options.tint, 3)
    )
    shift = rng.uniform(-options.shift, options.shift)
    return np.asarray(
        np.clip(photo * gain.astype(np.float32) + np.float32(shift), 0.0, 255.0), np.float32
    )
