"""A training shown through transforms of MMSegmentation: ``train_pipeline`` on what is labelled."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import mmseg.datasets.transforms  # noqa: F401  (registers the transforms)
import numpy as np
import numpy.typing as npt
import torch
from mmcv.transforms import Compose
from mmengine.registry import init_default_scope
from torch.utils.data import Dataset

from harness.data.cityscapes import Split
from harness.errors import InputError, RunError, one_line, shorten
from harness.pool import LabelledPool
from harness.seeds import nth_stream

_LOADERS = {"LoadImageFromFile", "LoadAnnotations"}
_TRIES = 10
"""Choice: a transform that gives nothing is asked again, as MMSegmentation's data sets do."""


def build_pipeline(transforms: Sequence[dict[str, Any]]) -> Compose:
    """Build the transforms of a config: without those that read files, and packed at the end.

    Raises:
        InputError: one that is not registered, needs compiled operators, or cannot be built.
    """
    init_default_scope("mmseg")
    kept = [copy.deepcopy(item) for item in transforms if item.get("type") not in _LOADERS]
    if not kept or kept[-1].get("type") != "PackSegInputs":
        kept.append({"type": "PackSegInputs"})
    for number, item in enumerate(kept):
        try:
            Compose([item])
        except Exception as error:
            said = one_line(f"{type(error).__name__}: {error}")
            raise InputError(
                f"train_pipeline: {shorten(item.get('type'))} (number {number}) cannot be built: "
                f"{said}"
            ) from error
    return Compose(kept)


def transformed(
    pipeline: Compose,
    photo: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.uint8],
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Return what a training is shown of one image.

    Args:
        photo: (H, W, 3) RGB. The transforms see BGR, as MMSegmentation reads files.
        labels: (H, W) train ids, 255 where nothing is known.
        rng: all that is random comes from it; numpy's and Python's own states stay as they are.

    Raises:
        RunError: no image came out, or labels of another size.
    """
    size = labels.shape[:2]
    with _seeded(rng):
        for _ in range(_TRIES):
            made = pipeline(
                {
                    "img": np.ascontiguousarray(photo[..., ::-1]),
                    "gt_seg_map": labels.astype(np.uint8),
                    "seg_fields": ["gt_seg_map"],
                    "img_shape": size,
                    "ori_shape": size,
                    "reduce_zero_label": False,
                }
            )
            if made is not None:
                break
        else:
            raise RunError(f"train_pipeline gave nothing in {_TRIES} tries")
    inputs, sample = made.get("inputs"), made.get("data_samples")
    target = getattr(getattr(sample, "gt_sem_seg", None), "data", None)
    if not isinstance(inputs, torch.Tensor) or target is None:
        raise RunError("train_pipeline must give an image and its labels")
    if inputs.ndim != 3 or len(inputs) != 3 or inputs.shape[1:] != target.shape[1:]:
        raise RunError(
            f"train_pipeline must give an image and labels of one size, got {tuple(inputs.shape)} "
            f"and {tuple(target.shape)}"
        )
    sample.gt_sem_seg.data = target.long()
    return {"inputs": inputs.flip(0), "data_samples": sample}


@contextmanager
def _seeded(rng: np.random.Generator) -> Iterator[None]:
    """Let the global streams, which transforms draw from, start at a point of ``rng``."""
    pythons, numpys, torchs = random.getstate(), np.random.get_state(), torch.get_rng_state()
    seed = int(rng.integers(2**32))
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(pythons)
        np.random.set_state(numpys)
        torch.set_rng_state(torchs)


class LabelledPipeline(Dataset[dict[str, Any]]):
    """Images with labels through a config's own transforms; the i-th comes from the i-th stream.

    Choice: an image is drawn in proportion to its labelled pixels, so that these are shown about
    equally often; what the transforms cut out of it is theirs to say.
    """

    def __init__(
        self,
        split: Split,
        pool: LabelledPool,
        pipeline: Compose,
        *,
        length: int,
        key: np.random.SeedSequence,
    ) -> None:
        self._split, self._length, self._key = split, length, key
        self._pipeline = pipeline
        self._ids = pool.touched_ids
        self._labels = {image_id: pool.labels(image_id) for image_id in self._ids}
        self._ends = np.cumsum([pool.labelled_px_of(image_id) for image_id in self._ids])

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < self._length:
            raise IndexError(index)
        rng = nth_stream(self._key, index)
        drawn = int(rng.integers(self._ends[-1]))
        image_id = self._ids[int(np.searchsorted(self._ends, drawn, side="right"))]
        return transformed(self._pipeline, self._split.photo(image_id), self._labels[image_id], rng)
