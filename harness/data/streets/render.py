"""A list of painted polygons at a chosen resolution.

The photograph, the recorded polygons and the label image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from harness.data.streets.street import CAMERA_HEIGHT_M, FOCAL, HORIZON, CityLook, Paint, Polygon

Photo = npt.NDArray[np.uint8]
FloatMap = npt.NDArray[np.float32]

_FIXED_POINT_BITS = 4
_SMALLEST_SUPERSAMPLED_PX = 512


@dataclass(frozen=True, slots=True)
class Recorded:
    """What an annotator left behind for one object.

    Its label and the vertices, in pixels of the final image.
    """

    label: str
    polygon: list[list[int]]


# ----------------------------------------------------------------------------------------- polygons


def clip_to_frame(polygon: Polygon, aspect: float) -> Polygon:
    """Clip a polygon against the image frame (Sutherland-Hodgman).

    An empty result has shape (0, 2).
    """
    for axis, bound, keep_below in (
        (0, 0.0, False),
        (0, aspect, True),
        (1, 0.0, False),
        (1, 1.0, True),
    ):
        if len(polygon) == 0:
            break
        polygon = _clip_half_plane(polygon, axis, bound, keep_below=keep_below)
    return polygon


def _clip_half_plane(polygon: Polygon, axis: int, bound: float, *, keep_below: bool) -> Polygon:
    kept = []
    for start, end in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        start_in = start[axis] <= bound if keep_below else start[axis] >= bound
        end_in = end[axis] <= bound if keep_below else end[axis] >= bound
        if start_in:
            kept.append(start)
        if start_in != end_in:
            kept.append(start + (bound - start[axis]) / (end[axis] - start[axis]) * (end - start))
    return np.array(kept) if kept else np.empty((0, 2))


def record(
    paints: Sequence[Paint], height: int, width: int, rng: np.random.Generator
) -> list[Recorded]:
    """Return the annotator's clicks.

    Visible-frame polygons rounded to pixels, with the flaws that real files have.
    """
    recorded = []
    for paint in paints:
        if paint.label is None:
            continue
        clipped = clip_to_frame(paint.polygon, width / height)
        vertices = [
            [min(width, round(x * height)), min(height, round(y * height))]
            for x, y in clipped.tolist()
        ]
        distinct = [vertex for i, vertex in enumerate(vertices) if vertex != vertices[i - 1]]
        if len({tuple(vertex) for vertex in distinct}) < 3:
            continue
        if rng.random() < 0.02:
            distinct.append(list(distinct[0]))
        if rng.random() < 0.06:
            repeated = int(rng.integers(len(distinct)))
            distinct.insert(repeated, list(distinct[repeated]))
        recorded.append(Recorded(paint.label, distinct))
    return recorded


# --------------------------------------------------------------------------------------- photograph


_NOISES = {
    "plain": (0.3, 0.0, 0.0, 0.0),
    "asphalt": (0.6, 0.0, 0.5, 0.5),
    "leaves": (0.7, 0.7, 0.5, 0.0),
    "grass": (0.6, 0.4, 0.0, 0.5),
    "cloud": (0.0, 0.0, 0.3, 0.9),
    "metal": (0.15, 0.0, 0.5, 0.0),
    "cloth": (0.4, 0.6, 0.0, 0.0),
}
"""Textures that are noise alone: shares of the fine, middle, coarse and broad field."""


class _Canvas:
    """A float image with noise fields that do not depend on its resolution."""

    def __init__(self, height: int, width: int, rng: np.random.Generator) -> None:
        self.height, self.width = height, width
        self.pixels = np.zeros((height, width, 3), np.float32)
        aspect = width / height
        self.noise = {cells: self._field(rng, cells, aspect) for cells in (160, 80, 24, 6)}
        rows = (np.arange(height, dtype=np.float32) + 0.5) / height
        cols = (np.arange(width, dtype=np.float32) + 0.5) / height
        self.rows, self.cols = rows[:, None], cols[None, :]
        depth = FOCAL * CAMERA_HEIGHT_M / np.maximum(self.rows - HORIZON, 0.01)
        self.ground_z = depth
        self.ground_x = (self.cols - aspect / 2) * depth / FOCAL

    def _field(self, rng: np.random.Generator, cells: int, aspect: float) -> FloatMap:
        grid = rng.standard_normal((cells, int(cells * aspect))).astype(np.float32)
        return np.asarray(
            cv2.resize(grid, (self.width, self.height), interpolation=cv2.INTER_LINEAR), np.float32
        )

    def paint(self, paint: Paint, look: CityLook) -> None:
        corners = np.round(paint.polygon * (self.height * (1 << _FIXED_POINT_BITS))).astype(
            np.int64
        )
        limit = (1 << _FIXED_POINT_BITS) * 4 * max(self.height, self.width)
        corners = np.clip(corners, -limit, limit).astype(np.int32)
        low = np.maximum(np.floor(paint.polygon.min(axis=0) * self.height).astype(int) - 1, 0)
        high = np.minimum(
            np.ceil(paint.polygon.max(axis=0) * self.height).astype(int) + 2,
            (self.width, self.height),
        )
        if (high <= low).any():
            return
        window = np.s_[low[1] : high[1], low[0] : high[0]]
        mask = np.zeros((high[1] - low[1], high[0] - low[0]), np.uint8)
        offset = (low << _FIXED_POINT_BITS).astype(np.int32)
        cv2.fillPoly(mask, [corners - offset], 1, shift=_FIXED_POINT_BITS)
        inside = mask.astype(bool)
        target = self.pixels[window]
        if paint.texture == "shade":
            target[inside] *= np.array(paint.color, np.float32)
            return
        pattern = self._pattern(paint, window)
        if paint.texture.startswith("lattice"):
            inside &= pattern > (0.0 if paint.texture == "lattice" else -0.45)
        rise = (self.rows[window[0]] - low[1] / self.height) / max(
            (high[1] - low[1]) / self.height, 1e-6
        )
        shade = 1.0 + paint.contrast * pattern + paint.gradient * (rise - 0.5)
        haze = float(1.0 - np.exp(-look.haze * paint.depth_m)) if paint.depth_m > 1.0 else 0.0
        own, sky = np.array(paint.color, np.float32), np.array(look.sky, np.float32)
        target[inside] = (1.0 - haze) * own * shade[inside][:, None] + haze * sky

    def _pattern(self, paint: Paint, window: tuple[slice, slice]) -> FloatMap:
        """Return a texture in about [-1, 1] over a window of the canvas."""
        rows, cols = self.rows[window[0]], self.cols[:, window[1]]
        fine, middle, coarse, broad = (self.noise[cells][window] for cells in (160, 80, 24, 6))
        period = np.float32(max(paint.period, 0.012))
        pattern: npt.NDArray[Any]
        if paint.texture in _NOISES:
            pattern = np.tensordot(
                np.array(_NOISES[paint.texture], np.float32),
                np.stack([fine, middle, coarse, broad]),
                axes=1,
            )
        elif paint.texture == "slabs":
            x, z = (
                self.ground_x[window],
                np.broadcast_to(self.ground_z[window[0]], self.ground_x[window].shape),
            )
            joints = ((x / period % 1.0) < 0.1) | ((z / period % 1.0) < 0.1)
            pattern = 0.5 * middle + 0.4 * broad - 1.2 * (joints & (z < 14.0))
        elif paint.texture == "windows":
            u, v = cols / period % 1.0, rows / period % 1.0
            panes = (u > 0.25) & (u < 0.70) & (v > 0.25) & (v < 0.75)
            pattern = 0.25 * fine + 0.3 * coarse - 1.3 * panes
        elif paint.texture == "bricks":
            pattern = 0.4 * fine + 0.5 * coarse - 0.8 * ((rows / (0.35 * period) % 1.0) < 0.2)
        else:  # lattices: bars where positive, see-through where negative
            bars = ((cols / (0.5 * period) % 1.0) < 0.45) | ((rows / period % 1.0) < 0.25)
            pattern = np.where(bars, 0.5 + 0.1 * fine, -0.5)
        return np.asarray(pattern, np.float32)


def _motion_blur(pixels: FloatMap, extent_px: float) -> FloatMap:
    taps = int(extent_px) | 1
    return np.asarray(cv2.blur(pixels, (taps, 1)), np.float32) if taps > 1 else pixels


def photograph(
    paints: Sequence[Paint], look: CityLook, height: int, width: int, rng: np.random.Generator
) -> Photo:
    """Return the (H, W, 3) RGB photograph.

    Textures, haze, shadows, light of the day, motion blur and sensor noise.
    """
    factor = 2 if height < _SMALLEST_SUPERSAMPLED_PX else 1
    canvas = _Canvas(factor * height, factor * width, rng)
    for paint in paints:
        canvas.paint(paint, look)
    blur = float(rng.exponential(0.005))
    pixels = _motion_blur(canvas.pixels, blur * canvas.height)
    if factor > 1:
        pixels = np.asarray(
            cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), np.float32
        )
    gain = look.light * float(rng.uniform(0.85, 1.15))
    tint = np.array([1.0 + look.warmth, 1.0, 1.0 - look.warmth], np.float32)
    rows, cols = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    vignette = 1.0 - 0.12 * (rows**2 + cols**2)
    pixels = pixels * (gain * tint) * vignette[..., None]
    pixels += look.noise * rng.standard_normal(pixels.shape, dtype=np.float32)
    return np.asarray(np.clip(np.rint(pixels), 0, 255), np.uint8)


def polygons_json(recorded: Sequence[Recorded], height: int, width: int) -> dict[str, Any]:
    """Return the content of a ``*_gtFine_polygons.json`` file."""
    return {
        "imgHeight": height,
        "imgWidth": width,
        "objects": [{"label": item.label, "polygon": item.polygon} for item in recorded],
    }
