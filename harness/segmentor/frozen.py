"""Proxy boards: the backbone is given and stays as it is, so its features are made once per image and only the head is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from mmengine.model import BaseDataPreprocessor, BaseModel
from torch import Tensor
from torch.utils.data import Dataset

from harness.blocks import Training
from harness.data.cityscapes import Split
from harness.data.labels import IGNORE
from harness.errors import InputError
from harness.logits import upsample_part
from harness.pool import LabelledPool
from harness.seeds import nth_stream
from harness.segmentor.coverage import counts_in
from harness.segmentor.crops import Covering, sample_of
from harness.segmentor.feature_files import FeatureFiles, Features

MOST_FEATURE_BYTES = 2 << 30
_GREY = 128


class FeatureCache:
    """What a frozen backbone makes of each image, for all trainings and passes while there is room.

    Args:
        most_bytes: of this process's memory; pages of files do not count, which the system takes
            back when it needs them.
        files: shared with other processes.
    """

    def __init__(
        self, most_bytes: int = MOST_FEATURE_BYTES, files: FeatureFiles | None = None
    ) -> None:
        self._features: dict[str, Features] = {}
        self._left, self._files = most_bytes, files

    def get(self, key: str, make: Callable[[], Features]) -> Features:
        """Return an image's features, made now or before, here or by another process."""
        if key in self._features:
            return self._features[key]
        mapped = self._files.get(key) if self._files else None
        if mapped is None:
            features = tuple(level.detach() for level in make())
            if self._files and self._files.put(key, features):
                mapped = self._files.get(key)
        if mapped is None:
            size = sum(level.nbytes for level in features)
            if size > self._left:
                return features
            self._left -= size
        self._features[key] = mapped or features
        return self._features[key]


def batch_of(model: Any, photo: npt.NDArray[np.uint8]) -> Tensor:
    """Return an (H, W, 3) photograph as a network takes it: (1, 3, H, W)."""
    pixels = torch.from_numpy(np.ascontiguousarray(photo.transpose(2, 0, 1)))
    batch: Tensor = model.data_preprocessor({"inputs": [pixels]}, False)["inputs"]
    return batch.contiguous(memory_format=torch.channels_last)


def backbone_features(model: Any, photo: npt.NDArray[np.uint8]) -> Features:
    """Run a segmentor's backbone on an (H, W, 3) photograph."""
    return tuple(model.extract_feat(batch_of(model, photo)))


def finest_stride(levels: Features, height: int) -> int:
    """Return the stride in pixels of the first level of an image of so many rows."""
    return round(height / levels[0].shape[-2])


def check_multiples(sizes: Iterable[tuple[int, int]], stride: int) -> None:
    """Refuse images that crops of features cannot be laid on.

    Raises:
        InputError: (H, W) of which a side is no multiple of the finest stride.
    """
    for height, width in sizes:
        if height % stride or width % stride:
            raise InputError(
                f"training.sampler 'cover' on a frozen backbone needs images whose sides are "
                f"multiples of {stride} px, the finest stride, got one of {height}x{width} px"
            )


class LabelledFeatures(Dataset[dict[str, Any]]):
    """Whole images as features with what is labelled of them.

    Each epoch shows each touched image once, mirrored or not.

    So every labelled pixel counts equally often here too. Choice: where sizes differ, each image is
    grey beyond its right and lower rim, up to the largest height and width, and void there.
    """

    def __init__(
        self,
        model: Any,
        split: Split,
        pool: LabelledPool,
        cache: FeatureCache,
        *,
        length: int,
        key: np.random.SeedSequence,
        flip: bool,
    ) -> None:
        self._model, self._split, self._cache, self._flip = model, split, cache, flip
        self._ids = pool.touched_ids
        self._labels = {image_id: pool.labels(image_id) for image_id in self._ids}
        sizes = list(pool.sizes.values())
        self._size = max(size[0] for size in sizes), max(size[1] for size in sizes)
        rng = np.random.default_rng(key)
        epochs = -(-length // len(self._ids))
        self._order = np.concatenate([rng.permutation(len(self._ids)) for _ in range(epochs)])[
            :length
        ]
        self._mirrored = rng.random(length) < 0.5

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, index: int) -> dict[str, Any]:
        image_id, mirrored = (
            self._ids[self._order[index]],
            bool(self._mirrored[index]) and self._flip,
        )
        target = self._labels[image_id]
        target = target[:, ::-1] if mirrored else target
        return {
            "features": _features_of(
                self._model, self._split, self._cache, image_id, mirrored=mirrored, size=self._size
            ),
            "data_samples": sample_of(_padded(target, self._size, IGNORE)),
        }


class LabelledFeatureCrops(Dataset[dict[str, Any]]):
    """Crops of features where labels are: each labelled pixel counts once an epoch.

    A window is a small part of its image, and a head that looks at its neighbours alone needs no
    more than a rim around it: features already hold all context. All levels come at the finest
    one's resolution, as a head that adds them up there would make them; for others that is a
    ``Choice:``. Crops begin at a cell of that level and are one cell larger than asked for.

    Raises:
        InputError: images whose sides are no multiples of the finest stride.
        RunError: nothing is labelled.
    """

    def __init__(
        self,
        model: Any,
        split: Split,
        pool: LabelledPool,
        cache: FeatureCache,
        options: Training,
        *,
        length: int,
        key: np.random.SeedSequence,
    ) -> None:
        self._model, self._split, self._cache, self._length = model, split, cache, length
        self._pool, self._key, self._flip = pool, key, options.flip
        self._labels = {image_id: pool.labels(image_id) for image_id in pool.touched_ids}
        self._places = Covering(pool, options, length, key)
        first = self._levels(pool.touched_ids[0], mirrored=False)
        height = pool.sizes[pool.touched_ids[0]][0]
        self._stride = finest_stride(first, height)
        check_multiples(pool.sizes.values(), self._stride)
        smallest = (min(size[axis] for size in pool.sizes.values()) for axis in (0, 1))
        self._cells = tuple(
            min(-(-crop // self._stride) + 1, side // self._stride)
            for crop, side in zip(options.crop, smallest, strict=True)
        )

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> dict[str, Any]:
        rng = nth_stream(self._key, index)
        place, pieces = self._places.planned(index)
        size = self._pool.sizes[place.image_id]
        top, left = (
            min(start // self._stride, extent // self._stride - cells)
            for start, extent, cells in zip((place.top, place.left), size, self._cells, strict=True)
        )
        around = place._replace(
            top=top * self._stride,
            left=left * self._stride,
            height=self._cells[0] * self._stride,
            width=self._cells[1] * self._stride,
        )
        target = self._labels[place.image_id][
            around.top : around.top + around.height, around.left : around.left + around.width
        ]
        target = np.where(counts_in(around, pieces), target, np.uint8(IGNORE))
        mirrored = self._flip and rng.random() < 0.5
        levels = self._levels(place.image_id, mirrored=mirrored)
        finest = levels[0].shape[-2], levels[0].shape[-1]
        left = finest[1] - left - self._cells[1] if mirrored else left
        rows, columns = (
            slice(top, top + self._cells[0]),
            slice(left, left + self._cells[1]),
        )
        return {
            "features": tuple(upsample_part(level, finest, rows, columns) for level in levels),
            "data_samples": sample_of(target[:, ::-1] if mirrored else target),
        }

    def _levels(self, image_id: str, *, mirrored: bool) -> Features:
        size = self._pool.sizes[image_id]
        return _features_of(
            self._model, self._split, self._cache, image_id, mirrored=mirrored, size=size
        )


@torch.no_grad()
def _features_of(
    model: Any,
    split: Split,
    cache: FeatureCache,
    image_id: str,
    *,
    mirrored: bool,
    size: tuple[int, int],
) -> Features:
    """Return a training image's features, made now or before; mirrored, or grey up to a size."""
    photo = split.photo(image_id)
    padded = f" padded to {size[0]}x{size[1]}" if photo.shape[:2] != size else ""
    key = f"train/{image_id}{' mirrored' if mirrored else ''}{padded}"

    def make() -> Features:
        return backbone_features(model, _padded(photo[:, ::-1] if mirrored else photo, size, _GREY))

    return cache.get(key, make)


def _padded(image: npt.NDArray[Any], size: tuple[int, int], value: int) -> npt.NDArray[Any]:
    """Make an image larger at its right and lower rim."""
    down, across = size[0] - image.shape[0], size[1] - image.shape[1]
    if not down and not across:
        return image
    rims = ((0, down), (0, across), *((0, 0),) * (image.ndim - 2))
    return np.pad(image, rims, constant_values=value)


def collate(batch: list[dict[str, Any]]) -> dict[str, Any]:
    """Put images of one size together."""
    levels = zip(*(item["features"] for item in batch), strict=True)
    return {
        "features": [torch.cat(level) for level in levels],
        "data_samples": [item["data_samples"] for item in batch],
    }


class HeadTraining(BaseModel):  # type: ignore[misc]
    """A segmentor's head as a model of its own, for the Runner: features in, loss out."""

    def __init__(self, segmentor: Any) -> None:
        super().__init__(BaseDataPreprocessor())
        self.decode_head = segmentor.decode_head

    def forward(
        self, features: list[Tensor], data_samples: list[Any], mode: str = "loss"
    ) -> dict[str, Tensor]:
        """Return the loss; there is nothing else to ask."""
        if mode != "loss":
            raise ValueError(f"mode must be 'loss', got {mode!r}")
        losses: dict[str, Tensor] = self.decode_head.loss_by_feat(
            self.decode_head(features), data_samples
        )
        return losses
