"""Thumbnails of the maps that a query was made from.

For people who read the published page, never for a result.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
from torch import Tensor

from harness.acquisition import Proposals
from harness.types import Candidate, ImageThumbnails, Thumbnail

MOST_IMAGES = 12
_WIDEST_PX = 64


def thumbnails(
    proposals: Proposals, query: Sequence[Candidate], most: int = MOST_IMAGES
) -> list[ImageThumbnails]:
    """Return the maps of the images that a query asks for, best score first."""
    best = dict.fromkeys(
        candidate.region.image_id
        for candidate in sorted(query, key=lambda candidate: candidate.rank_key)
    )
    return [_thumbnails_of(proposals, image_id) for image_id in list(best)[:most]]


def _thumbnails_of(proposals: Proposals, image_id: str) -> ImageThumbnails:
    information, cost = proposals.maps(image_id)
    scores, _ = proposals.scores(image_id, information, cost)
    size, rules = proposals.source.pool.sizes[image_id], proposals.source.rules
    window = rules.window(proposals.strategy, size)
    height, width = (window, window) if isinstance(window, int) else window

    def small(values: Tensor) -> Thumbnail:
        return _small(proposals.spread(values, image_id).numpy())

    rows, cols = scores.shape
    stride = rules.stride_px
    box = (height - stride) / 2, (width - stride) / 2, float(rows * stride), float(cols * stride)
    if proposals.strategy.whole_image or proposals.strategy.superpixels:
        box = 0.0, 0.0, float(size[0]), float(size[1])
    return ImageThumbnails(
        image_id,
        box,
        None if information is None else small(information),
        None if cost is None else small(cost),
        small(scores),
    )


def _small(values: npt.NDArray[np.float64]) -> Thumbnail:
    steps = [min(math.ceil(values.shape[1] / _WIDEST_PX), side) for side in values.shape]
    picked = values[steps[0] // 2 :: steps[0], steps[1] // 2 :: steps[1]]
    finite = np.isfinite(picked)
    low, high = (
        (float(picked[finite].min()), float(picked[finite].max())) if finite.any() else (0.0, 0.0)
    )
    grey = np.zeros(picked.shape, np.uint8)
    grey[finite] = (
        1 + np.round(254 * (picked[finite] - low) / (high - low)).astype(np.uint8)
        if high > low
        else 128
    )
    return Thumbnail(
        base64.b64encode(
            cv2.imencode(".png", grey, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].tobytes()
        ).decode(),
        low,
        high,
    )
