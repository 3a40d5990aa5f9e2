"""Noisy annotators: options of a board, off by default, part of every run's identity."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from harness.blocks import LabelNoise
from harness.data.cityscapes import ClickOracle, Split
from harness.data.labels import IGNORE
from harness.pool import LabelledPool
from harness.seeds import Purpose, generator
from harness.superpixels import Superpixels
from harness.types import Annotation, Clicks, Region

_REMEMBERED_IMAGES = 64


class NoisyOracle(ClickOracle):
    """A click oracle whose labels and click counts carry noise.

    An image always gets the same noise, whatever is asked of it.
    """

    def __init__(
        self, split: Split, noise: LabelNoise, superpixels: Superpixels | None = None
    ) -> None:
        super().__init__(split, superpixels)
        self._noise = noise
        self._labels: OrderedDict[str, npt.NDArray[np.uint8]] = OrderedDict()

    def annotate(self, regions: Sequence[Region], pool: LabelledPool) -> list[Annotation]:
        """Annotate as ``ClickOracle`` does, with noisy labels and click counts."""
        return [
            self._with_click_noise(annotation) for annotation in super().annotate(regions, pool)
        ]

    def _with_click_noise(self, annotation: Annotation) -> Annotation:
        if self._noise.click_noise == 0.0:
            return annotation
        rng = generator(self._noise.seed, 0, Purpose.SLIPS, f"{annotation.region}")
        factor = max(0.0, 1.0 + self._noise.click_noise * float(rng.standard_normal()))
        clicks = annotation.clicks
        noisy = Clicks(
            round(clicks.polygon * factor), clicks.intersection, clicks.box, clicks.classes
        )
        return replace(annotation, clicks=noisy)

    def _labels_of(self, image_id: str) -> npt.NDArray[np.uint8]:
        if image_id not in self._labels:
            rng = generator(self._noise.seed, 0, Purpose.SLIPS, image_id)
            self._labels[image_id] = with_label_noise(
                self._split.train_ids(image_id), len(self._split.class_names), self._noise, rng
            )
            while len(self._labels) > _REMEMBERED_IMAGES:
                self._labels.popitem(last=False)
        return self._labels[image_id]


def with_label_noise(
    labels: npt.NDArray[np.uint8], n_classes: int, noise: LabelNoise, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Return (H, W) labels with small objects missed or of a wrong class, and jitter on borders."""
    noisy = labels.copy()
    if noise.missed or noise.wrong:
        for component in _small_components(labels, noise.small_px):
            draw = rng.random()
            if draw < noise.missed:
                noisy[component] = _label_around(labels, component)
            elif draw < noise.missed + noise.wrong:
                noisy[component] = (
                    int(labels[component][0]) + 1 + int(rng.integers(n_classes - 1))
                ) % n_classes
    return _jitter(noisy, noise.jitter_px, rng) if noise.jitter_px > 0.0 else noisy


def _small_components(labels: npt.NDArray[np.uint8], small_px: int) -> list[npt.NDArray[np.bool_]]:
    found = []
    for value in np.unique(labels):
        if value == IGNORE:
            continue
        count, components, stats, _ = cv2.connectedComponentsWithStats(
            (labels == value).view(np.uint8), connectivity=8
        )
        found += [
            np.asarray(components == number)
            for number in range(1, count)
            if stats[number, cv2.CC_STAT_AREA] <= small_px
        ]
    return found


def _label_around(labels: npt.NDArray[np.uint8], component: npt.NDArray[np.bool_]) -> int:
    ring = (
        cv2.dilate(component.view(np.uint8), np.ones((3, 3), np.uint8)).astype(np.bool_)
        & ~component
    )
    return int(np.bincount(labels[ring], minlength=256).argmax())


def _jitter(
    labels: npt.NDArray[np.uint8], jitter_px: float, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Move every pixel's label by a smooth random shift with the given standard deviation."""
    height, width = labels.shape
    coarse = rng.standard_normal((2, height // 8 + 2, width // 8 + 2)).astype(np.float32)
    shift = np.stack(
        [cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC) for field in coarse]
    )
    shift *= jitter_px / max(float(shift.std()), 1e-6)
    rows, cols = np.mgrid[0:height, 0:width].astype(np.float32)
    return np.asarray(
        cv2.remap(
            labels,
            cols + shift[0],
            rows + shift[1],
            cv2.INTER_NEAREST,
            borderMode=cv2.BORDER_REPLICATE,
        )
    )
