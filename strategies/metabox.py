"""MetaBox+: the predicted quality of segments, and the clicks that their outlines would take.

A segment is an 8-connected component of the predicted class map. MetaBox+ (Colling, Roese-Koerner,
Gottschalk & Rottmann 2020, arXiv 2010.01884) asks where segments are predicted to be poor and their
outlines to be cheap; the quality is that of MetaSeg (Rottmann et al. 2020, arXiv 1811.00648).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.views import View

Labels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Segments:
    """The 8-connected components of equal label in a label map.

    labels: (H, W). numbers: (H, W), the component of each pixel, from 0. classes: (n,), the label
    of each component.
    """

    labels: Labels
    numbers: npt.NDArray[np.int32]
    classes: npt.NDArray[np.int64]

    @classmethod
    def of(cls, labels: Labels) -> Segments:
        """Find the components of a label map."""
        numbers = np.empty(labels.shape, np.int32)
        classes: list[int] = []
        for label in np.unique(labels):
            count, found = cv2.connectedComponents((labels == label).view(np.uint8), connectivity=8)
            np.copyto(numbers, found + (len(classes) - 1), where=found > 0)
            classes += [int(label)] * (count - 1)
        return cls(labels, numbers, np.array(classes, np.int64))

    def sums(self, pixels: npt.NDArray[np.generic]) -> Floats:
        """Return the (n,) sums of an (H, W) map over each component."""
        weights = pixels.ravel().astype(np.float64)
        return np.asarray(np.bincount(self.numbers.ravel(), weights, len(self.classes)), np.float64)

    def rims(self) -> npt.NDArray[np.bool_]:
        """Return the (H, W) pixels that touch another component, across a corner too."""
        around = np.ones((3, 3), np.uint8)
        return np.asarray(cv2.dilate(self.labels, around) != cv2.erode(self.labels, around))


@dataclass(frozen=True, slots=True)
class Quality:
    """A linear regression of a segment's IoU on its metrics, which are standardised first.

    middle, spread, weights: (m,). mean: the mean IoU that it was learned from.
    """

    middle: Floats
    spread: Floats
    weights: Floats
    mean: float

    def predict(self, metrics: Floats) -> Floats:
        """Return the (n,) predicted IoU of segments with (n, m) metrics, held to [0, 1]."""
        predicted = ((metrics - self.middle) / self.spread) @ self.weights + self.mean
        return np.asarray(np.clip(predicted, 0.0, 1.0))


Example = tuple[View, Labels]
"""An image that is labelled in full, and its (H, W) labels; those from C on are void."""


def learn_quality(examples: Iterator[Example]) -> Quality | None:
    """Learn to predict the IoU of predicted segments from images that are labelled in full.

    MetaSeg's linear meta regression. Choice: the images that are labelled in full, mostly the seed
    set; windows that were bought cut segments, so they teach nothing here. The network was trained
    on these images as well, so what is predicted for others is too good; only its order counts.
    Choice: a ridge penalty of 1 on standardised metrics, which counts as one segment.

    Returns:
        None without a segment to learn from.
    """
    rows, targets = [], []
    for view, labels in examples:
        segments = Segments.of(view.prediction.cpu().numpy())
        iou, is_known = segment_iou(segments, labels, view.logits.values.shape[0])
        rows.append(segment_metrics(view, segments)[is_known])
        targets.append(iou[is_known])
    if not sum(map(len, targets)):
        return None
    metrics, target = np.concatenate(rows), np.concatenate(targets)
    middle, spread = metrics.mean(0), metrics.std(0)
    spread[spread <= 1e-12 * (1.0 + np.abs(middle))] = 1.0  # a constant metric says nothing
    scaled, mean = (metrics - middle) / spread, float(target.mean())
    penalised = scaled.T @ scaled + np.eye(scaled.shape[1])
    return Quality(middle, spread, np.linalg.solve(penalised, scaled.T @ (target - mean)), mean)


def segment_iou(
    segments: Segments, truth: Labels, classes: int
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Return the adjusted IoU of each predicted segment, and which ones have a known pixel.

    MetaSeg's IoU_adj: |k and K| / |k or (K without Q)|, with k the segment, K all true segments of
    its class that it meets, and Q the other predicted segments of this class: what another segment
    covers is not held against this one. Choice: void pixels (labels >= ``classes``) count nowhere.
    """
    true, count = Segments.of(truth), len(segments.classes)
    known = truth < classes
    hit = known & (segments.labels == truth)
    missed = true.sums(known & ~hit)
    pairs = np.unique(segments.numbers[hit].astype(np.int64) * len(missed) + true.numbers[hit])
    further = np.bincount(pairs // len(missed), missed[pairs % len(missed)], count)
    size = segments.sums(known)
    return segments.sums(hit) / np.maximum(size + further, 1.0), size > 0


def segment_metrics(view: View, segments: Segments) -> Floats:
    """Return (n, 11 + C) metrics of an image's segments.

    Means over all, rim and inner pixels (0 where there is none) of the entropy on [0, 1], of
    1 - (P1 - P2) and of 1 - P1, which are MetaSeg's dispersions; ln of the size in pixels; the
    share of rim pixels; which class it is. Choice: the class in place of the mean probability of
    each class, which would take C sums over the whole image.
    """
    rim = segments.rims()
    parts = (np.ones_like(rim), rim, ~rim)
    areas = [segments.sums(part) for part in parts]
    columns = [
        segments.sums(dispersion * part) / np.maximum(area, 1.0)
        for dispersion in dispersions(view)
        for part, area in zip(parts, areas, strict=True)
    ]
    columns += [np.log(areas[0]), areas[1] / areas[0]]
    indicators = np.eye(view.logits.values.shape[0])[segments.classes]
    return np.concatenate([np.stack(columns, axis=1), indicators], axis=1)


def dispersions(view: View) -> npt.NDArray[np.float32]:
    """Return (3, H, W): entropy / ln C, 1 - (P1 - P2), 1 - P1, each in [0, 1]."""
    largest = float(np.log(max(view.logits.values.shape[0], 2)))
    made = []
    for _, logits in view.logits.strips():
        p = logits.softmax(0)
        best = p.max(0, keepdim=True)
        first, second = best.values[0], p.scatter(0, best.indices, 0.0).amax(0)
        entropy = -torch.xlogy(p, p).sum(0) / largest
        made.append(torch.stack([entropy, 1.0 - (first - second), 1.0 - first]))
    return np.asarray(torch.cat(made, dim=1).cpu().numpy())


def poorness(view: View) -> Tensor:
    """Return 1 - the predicted IoU of the segment of each pixel, (H, W) in [0, 1].

    ``view.learned`` is what ``learn_quality`` returned. Choice: 1 everywhere where it is None.
    """
    quality: Quality | None = view.learned
    if quality is None:
        return torch.ones(view.size, dtype=torch.float64)
    segments = Segments.of(view.prediction.cpu().numpy())
    iou = quality.predict(segment_metrics(view, segments))
    return torch.from_numpy((1.0 - iou)[segments.numbers])


def outline_vertices(view: View, tolerance_px: float = 2.0) -> Tensor:
    """Return how many vertices of predicted segments' outlines lie on each pixel, (H, W) int32.

    MetaBox+'s estimate of clicks: outlines as polygons, a click for each vertex. Choice: the outer
    outlines, simplified by Douglas & Peucker to within ``tolerance_px``; holes are not traced, as
    whatever fills them has an outline of its own. A border of two segments is counted for both.
    """
    labels = view.prediction.cpu().numpy()
    polygons = []
    for label in np.unique(labels):
        contours, levels = cv2.findContours(
            (labels == label).view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE
        )
        polygons += [
            cv2.approxPolyDP(contour, tolerance_px, closed=True)[:, 0]
            for contour, level in zip(contours, levels[0], strict=True)
            if level[3] < 0  # it has no parent: an outer outline
        ]
    vertices = np.zeros(labels.shape, np.int32)
    x, y = np.concatenate(polygons).T
    np.add.at(vertices, (y, x), 1)
    return torch.from_numpy(vertices)


def poor_and_cheap(maps: Mapping[str, Tensor], _rng: np.random.Generator) -> Tensor:
    """Return scaled poorness times 1 - scaled vertices: MetaBox+'s product of priority maps."""
    return maps["information"] * (1.0 - maps["vertices"])
