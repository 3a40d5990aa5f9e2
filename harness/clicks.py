"""What a click is: recorded polygon vertices, and what a region's own border adds to them (METHOD: c_p, c_i, c_b, c_c)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from harness.types import Clicks, Region

BOX_CLICKS = 4


def clamp_vertices(polygons: Sequence[npt.ArrayLike], height: int, width: int) -> npt.NDArray[np.int32]:
    """Return the pixel (x, y) of every recorded vertex, in order: (n, 2) int32.

    Choice: a vertex outside the frame (x = W and y = H do occur) is clamped into it. Closed polygons and repeated vertices
    are counted as recorded.
    """
    parts = [np.asarray(polygon, dtype=np.float64).reshape(-1, 2) for polygon in polygons]
    if not parts:
        return np.empty((0, 2), np.int32)
    vertices = np.floor(np.concatenate(parts))
    return np.clip(vertices, 0, [width - 1, height - 1]).astype(np.int32)


def vertex_map(vertices: npt.NDArray[np.int32], height: int, width: int) -> npt.NDArray[np.int64]:
    """Return the (H, W) number of recorded vertices in each pixel."""
    flat = vertices[:, 1].astype(np.int64) * width + vertices[:, 0]
    return np.bincount(flat, minlength=height * width).reshape(height, width)


def vertices_inside(vertices: npt.NDArray[np.int32], region: Region) -> npt.NDArray[np.int32]:
    """Return the vertices inside a region, half-open, so that the parts of a partition add up to the whole."""
    x, y = vertices[:, 0], vertices[:, 1]
    inside = (x >= region.left) & (x < region.left + region.width) & (y >= region.top) & (y < region.top + region.height)
    return vertices[inside]


def count_clicks(polygons: Sequence[npt.ArrayLike], label_map: npt.NDArray[Any], region: Region) -> Clicks:
    """Count the clicks that annotating one region takes, by kind.

    Args:
        polygons: recorded polygons, each (n, 2) in (x, y) pixels; void and hidden ones too.
        label_map: (H, W) integer labels of the whole image.
        region: a rectangle inside the image.

    Raises:
        ValueError: the region leaves the image.
    """
    return count_region(clamp_vertices(polygons, *label_map.shape), label_map, region)


def count_region(vertices: npt.NDArray[np.int32], label_map: npt.NDArray[Any], region: Region) -> Clicks:
    """Count clicks as ``count_clicks`` does, from vertices that are clamped already."""
    height, width = label_map.shape
    bottom, right = region.top + region.height, region.left + region.width
    if not (0 <= region.top < bottom <= height and 0 <= region.left < right <= width):
        raise ValueError(f"{region} leaves its image of {height}x{width} px")
    is_whole = region.area_px == height * width
    return Clicks(
        polygon=len(vertices_inside(vertices, region)),
        intersection=_border_crossings(label_map, region),
        box=0 if is_whole else BOX_CLICKS,
        classes=count_components(label_map[region.slices]),
    )


def _border_crossings(label_map: npt.NDArray[Any], region: Region) -> int:
    """Count label changes along the region's sides, just inside it; sides on the image frame need no click."""
    height, width = label_map.shape
    inside = label_map[region.slices]
    sides = []
    if region.top > 0:
        sides.append(inside[0])
    if region.top + region.height < height:
        sides.append(inside[-1])
    if region.left > 0:
        sides.append(inside[:, 0])
    if region.left + region.width < width:
        sides.append(inside[:, -1])
    return int(sum(np.count_nonzero(side[1:] != side[:-1]) for side in sides))


def count_components(labels: npt.NDArray[Any]) -> int:
    """Count 8-connected components of equal label: each needs one click on its class."""
    return sum(cv2.connectedComponents((labels == value).view(np.uint8), connectivity=8)[0] - 1 for value in np.unique(labels))
