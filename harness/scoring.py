"""Class areas to IoU; curves over a budget axis to p95, c95 and AUBC. Shares are floats in [0, 1].

Missing is None.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from harness.types import ImageAreas

Curve = Sequence[tuple[float, float]]
"""Points (budget share, mIoU) by rising share."""


def class_areas(
    image_id: str,
    predicted: npt.NDArray[np.integer],
    label: npt.NDArray[np.integer],
    num_classes: int,
    ignore: int,
) -> ImageAreas:
    """Count one image's class areas in pixels, void pixels left out.

    Args:
        predicted: (H, W) class per pixel. label: (H, W) class per pixel, or ``ignore``.
    """
    counted = label != ignore
    seen, truth = predicted[counted], label[counted]
    return ImageAreas(
        image_id,
        np.bincount(truth[seen == truth], minlength=num_classes).tolist(),
        np.bincount(seen, minlength=num_classes).tolist(),
        np.bincount(truth, minlength=num_classes).tolist(),
    )


def iou(areas: Iterable[ImageAreas]) -> npt.NDArray[np.float64]:
    """Return the IoU of each class over a whole split, from summed areas.

    NaN for a class that is nowhere.

    Raises:
        ValueError: no image.
    """
    rows = [(item.intersection, item.prediction, item.label) for item in areas]
    if not rows:
        raise ValueError("areas must be of one image or more, got none")
    intersection, prediction, label = np.asarray(rows, dtype=np.float64).sum(axis=0)
    union = prediction + label - intersection
    scores: npt.NDArray[np.float64] = np.divide(
        intersection, union, out=np.full_like(union, math.nan), where=union > 0
    )
    return scores


def mean_iou(areas: Iterable[ImageAreas]) -> float:
    """Return the mean IoU in [0, 1] over the classes that occur, absent classes left out of the mean."""
    return float(np.nanmean(iou(areas)))


def share_at(curve: Curve, threshold: float) -> float | None:
    """Return the budget share at which a curve first reaches a threshold, linear between rounds.

    None if it never does.

    Choice: a curve that starts at or above the threshold reaches it at its first share. A crossing
    lies after the share at which the curve was still below, also where two shares are so close
    that rounding would put it there.
    """
    previous: tuple[float, float] | None = None
    for share, value in curve:
        if value >= threshold:
            if previous is None:
                return share
            before, below = previous
            crossing = before + (threshold - below) / (value - below) * (share - before)
            return min(max(crossing, math.nextafter(before, share)), share)
        previous = (share, value)
    return None


def aubc(curve: Curve, *, stop: float | None = None) -> float:
    """Return the area under a curve over the budget axis, scaled so that a constant curve returns its value.

    Choice: from the curve's first share to ``stop`` (the last share by default). A curve that ends
    before ``stop`` keeps its last value: whoever stops paying keeps the network. One that goes
    beyond is cut there.

    Raises:
        ValueError: no point, shares that fall, or a ``stop`` before the first share.
    """
    if not curve:
        raise ValueError("a curve must have one point or more, got none")
    shares, values = (np.array(column, dtype=np.float64) for column in zip(*curve, strict=True))
    end = float(shares[-1]) if stop is None else stop
    if (np.diff(shares) < 0).any() or end < shares[0]:
        raise ValueError(f"shares must rise and end at or before {end}")
    if end == shares[0]:
        return float(values[0])
    kept = shares < end
    grid = np.append(shares[kept], end)
    heights = np.append(values[kept], np.interp(end, shares, values))
    return float(np.trapezoid(heights, grid) / (end - shares[0]))
