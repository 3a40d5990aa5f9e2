"""What a click is: recorded polygon vertices, and what a region's own border adds to them (METHOD: c_p, c_i, c_b, c_c)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from harness.types import Clicks, Region, Segment

IntMap = npt.NDArray[np.int64]

BOX_CLICKS = 4


def clamp_vertices(
    polygons: Sequence[npt.ArrayLike], height: int, width: int
) -> npt.NDArray[np.int32]:
    """Return the pixel (x, y) of every recorded vertex, in order: (n, 2) int32.

    Choice: a vertex outside the frame (x = W and y = H do occur) is clamped into it. Closed
    polygons and repeated vertices are counted as recorded.
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
    inside = (
        (x >= region.left)
        & (x < region.left + region.width)
        & (y >= region.top)
        & (y < region.top + region.height)
    )
    return vertices[inside]


def count_clicks(
    polygons: Sequence[npt.ArrayLike], label_map: npt.NDArray[Any], region: Region
) -> Clicks:
    """Count the clicks that annotating one region takes, by kind.

    Args:
        polygons: recorded polygons, each (n, 2) in (x, y) pixels; void and hidden ones too.
        label_map: (H, W) integer labels of the whole image.
        region: a rectangle inside the image.

    Raises:
        ValueError: the region leaves the image.
    """
    return count_region(clamp_vertices(polygons, *label_map.shape), label_map, region)


def count_region(
    vertices: npt.NDArray[np.int32], label_map: npt.NDArray[Any], region: Region
) -> Clicks:
    """Count clicks as ``count_clicks`` does, from vertices that are clamped already."""
    height, width = label_map.shape
    bottom, right = region.top + region.height, region.left + region.width
    if not (0 <= region.top < bottom <= height and 0 <= region.left < right <= width):
        raise ValueError(
            f"the region of {region.height}x{region.width} px at ({region.top}, {region.left}) "
            f"leaves its image of {height}x{width} px"
        )
    is_whole = region.area_px == height * width
    return Clicks(
        polygon=len(vertices_inside(vertices, region)),
        intersection=_border_crossings(label_map, region),
        box=0 if is_whole else BOX_CLICKS,
        classes=count_components(label_map[region.slices]),
    )


def count_segment(
    vertices: npt.NDArray[np.int32],
    label_map: npt.NDArray[Any],
    segments: npt.NDArray[np.int32],
    region: Segment,
) -> Clicks:
    """Count the clicks of one superpixel.

    c_p: vertices inside it; c_i: label changes along its outline, just inside it, nothing on the
    image frame; c_c: components inside it. Choice: c_b = 0, since its outline is drawn by the
    machine and takes no box; with a dominant label c_p = 1, its one click, which is
    in both definitions of cost and once in the hours, and nothing else.

    Args:
        vertices: (n, 2) recorded (x, y) that are billed. label_map: (H, W) of the whole image.
        segments: (H, W) superpixels of the image.
    """
    if region.dominant:
        return Clicks(polygon=1)
    inside = segments[region.slices] == region.number
    near = vertices_inside(vertices, region)
    own = inside[near[:, 1] - region.top, near[:, 0] - region.left]
    rows = slice(max(region.top - 1, 0), region.top + region.height + 1)
    columns = slice(max(region.left - 1, 0), region.left + region.width + 1)
    crossings = outline_crossings(label_map[rows, columns], segments[rows, columns])
    return Clicks(
        polygon=int(own.sum()),
        intersection=int(crossings[region.number]),
        classes=count_components(label_map[region.slices], inside),
    )


Part = tuple[slice, slice]
_NEIGHBOURS: tuple[tuple[Part, Part, tuple[Part, ...]], ...] = (
    (np.s_[:, 1:], np.s_[:, :-1], ()),
    (np.s_[1:, :], np.s_[:-1, :], ()),
    (np.s_[1:, 1:], np.s_[:-1, :-1], (np.s_[1:, :-1], np.s_[:-1, 1:])),
    (np.s_[1:, :-1], np.s_[:-1, 1:], (np.s_[1:, 1:], np.s_[:-1, :-1])),
)
"""Two neighbouring pixels, and of those across a corner the two pixels that touch both."""


def outline_crossings(
    label_map: npt.NDArray[Any], segments: npt.NDArray[np.int32]
) -> npt.NDArray[np.int64]:
    """Count label changes along the outline of every superpixel.

    A change lies between two neighbouring pixels of a superpixel that both touch another one: one
    beside or above the other, or across a corner where the outline steps diagonally. For rectangles
    of three pixels or more a side that is METHOD's c_i.

    Returns:
        (n,) by the superpixel's number.
    """
    right, below = segments[:, 1:] != segments[:, :-1], segments[1:] != segments[:-1]
    outline = np.zeros(segments.shape, np.bool_)
    outline[:, 1:] |= right
    outline[:, :-1] |= right
    outline[1:] |= below
    outline[:-1] |= below
    found = np.zeros(int(segments.max()) + 1, np.int64)

    def on_one_outline(here: Part, there: Part) -> npt.NDArray[np.bool_]:
        both: npt.NDArray[np.bool_] = outline[here] & outline[there]
        both &= segments[here] == segments[there]
        return both

    for here, there, corners in _NEIGHBOURS:
        changes = on_one_outline(here, there) & (label_map[here] != label_map[there])
        for corner in corners:  # the outline goes round by it, and is counted there
            changes &= ~on_one_outline(here, corner)
        found += np.bincount(segments[here][changes], minlength=len(found))
    return found


def _border_crossings(label_map: npt.NDArray[Any], region: Region) -> int:
    """Count label changes along the region's sides, just inside it.

    Sides on the image frame need no click.
    """
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


def count_components(labels: npt.NDArray[Any], inside: npt.NDArray[np.bool_] | None = None) -> int:
    """Count 8-connected components of equal label: each needs one click on its class.

    Args:
        inside: which pixels count; all without it.
    """
    return sum(
        cv2.connectedComponents(
            ((labels == value) if inside is None else (labels == value) & inside).view(np.uint8),
            connectivity=8,
        )[0]
        - 1
        for value in np.unique(labels if inside is None else labels[inside])
    )


class ClickMaps(NamedTuple):
    """Clicks by kind for every placement of a window: four (rows, cols) int64 maps.

    [y, x] is the window at (y*stride, x*stride).
    """

    polygon: IntMap
    intersection: IntMap
    box: IntMap
    classes: IntMap


def count_all_windows(
    vertices: npt.NDArray[np.int32],
    label_map: npt.NDArray[Any],
    window: tuple[int, int],
    *,
    stride: int = 1,
) -> ClickMaps:
    """Count the clicks of every placement of a window in one go.

    Each agrees exactly with ``count_region``.

    Everything is read off integral images, so the time does not depend on the window.

    Args:
        vertices: (n, 2) clamped (x, y), as from ``clamp_vertices``.
        label_map: (H, W) integer labels.
        window: (height, width) in pixels.
        stride: step between placements in pixels.

    Raises:
        ValueError: the window does not fit into the image, or the stride is below 1.
    """
    rows, cols = label_map.shape
    height, width = window
    if not (1 <= height <= rows and 1 <= width <= cols and stride >= 1):
        raise ValueError(
            f"window must be from 1x1 to {rows}x{cols} and stride 1 or more, "
            f"got {height}x{width} and {stride}"
        )
    box = 0 if (height, width) == (rows, cols) else BOX_CLICKS
    maps = (
        _box_sums(vertex_map(vertices, rows, cols), height, width),
        _all_border_crossings(label_map, height, width),
        np.full((rows - height + 1, cols - width + 1), box, np.int64),
        _all_components(label_map, height, width),
    )
    return ClickMaps(*(counts[::stride, ::stride] for counts in maps))


def count_border_crossings(
    label_map: npt.NDArray[Any], window: tuple[int, int], *, stride: int = 1
) -> IntMap:
    """Count c_i of every placement of a window: label changes along its sides.

    Sides on the image's frame count 0.
    """
    return _all_border_crossings(label_map, *window)[::stride, ::stride]


def _box_sums(counts: npt.NDArray[Any], height: int, width: int) -> IntMap:
    """Sum an integer map under every placement of a box.

    A box of no height or width holds nothing.
    """
    integral = np.zeros((counts.shape[0] + 1, counts.shape[1] + 1), np.int64)
    np.cumsum(np.cumsum(counts, axis=0, dtype=np.int64), axis=1, out=integral[1:, 1:])
    rows, cols = counts.shape[0] - height + 1, counts.shape[1] - width + 1
    return np.asarray(
        integral[height : height + rows, width : width + cols]
        - integral[:rows, width : width + cols]
        - integral[height : height + rows, :cols]
        + integral[:rows, :cols]
    )


def _all_border_crossings(label_map: npt.NDArray[Any], height: int, width: int) -> IntMap:
    rows, cols = label_map.shape
    along_rows = _box_sums(
        label_map[:, 1:] != label_map[:, :-1], 1, width - 1
    )  # [y, x]: changes on row y, columns x .. x + width - 1
    along_cols = _box_sums(label_map[1:] != label_map[:-1], height - 1, 1)
    tops, lefts = rows - height + 1, cols - width + 1
    crossings = np.zeros((tops, lefts), np.int64)
    crossings[1:] += along_rows[1:tops]
    crossings[: tops - 1] += along_rows[height - 1 : rows - 1]
    crossings[:, 1:] += along_cols[:, 1:lefts]
    crossings[:, : lefts - 1] += along_cols[:, width - 1 : cols - 1]
    return crossings


def _all_components(label_map: npt.NDArray[Any], height: int, width: int) -> IntMap:
    """Count the 8-connected components of equal label in every window, exactly, without labelling any window.

    Components = Euler characteristic + holes. The characteristic of the pixels of one label, taken
    as closed squares, is that of the nerve of the squares (pixels - pairs + triples - quadruples of
    touching squares), and each of these lies in a 2 x 2 block: so it is a window sum. A hole of a
    label in a window is a 4-connected component of all other labels that does not touch the
    window's rim; it is then a component of the whole image too, and its bounding box says which
    windows hold it.
    """
    same_right = label_map[:, 1:] == label_map[:, :-1]
    same_below = label_map[1:] == label_map[:-1]
    falling = label_map[1:, 1:] == label_map[:-1, :-1]
    rising = label_map[1:, :-1] == label_map[:-1, 1:]
    top, left, right = same_right[:-1], same_below[:, :-1], same_below[:, 1:]
    bottom = same_right[1:]
    triples = (top & left).astype(np.int64) + (top & right) + (bottom & left) + (bottom & right)
    quadruples = top & left & right
    euler = np.full(
        (label_map.shape[0] - height + 1, label_map.shape[1] - width + 1), height * width, np.int64
    )
    euler -= _box_sums(same_right, height, width - 1)
    euler -= _box_sums(same_below, height - 1, width)
    euler += _box_sums(triples - quadruples - falling - rising, height - 1, width - 1)
    return euler + _all_holes(label_map, height, width)


def _all_holes(label_map: npt.NDArray[Any], height: int, width: int) -> IntMap:
    """Count, for every window, the holes of all labels in it."""
    rows, cols = label_map.shape[0] - height + 1, label_map.shape[1] - width + 1
    steps = np.zeros((rows + 1, cols + 1), np.int64)
    for value in np.unique(label_map):
        _, _, stats, _ = cv2.connectedComponentsWithStats(
            (label_map != value).view(np.uint8), connectivity=4
        )
        x, y, w, h = (stats[1:, column].astype(np.int64) for column in range(4))
        # the window's top lies above the hole's first row and its bottom below the last one; so for
        # the columns
        first_top, last_top = np.maximum(y + h + 1 - height, 0), np.minimum(y - 1, rows - 1)
        first_left, last_left = np.maximum(x + w + 1 - width, 0), np.minimum(x - 1, cols - 1)
        kept = (first_top <= last_top) & (first_left <= last_left)
        for tops, lefts, sign in (
            (first_top, first_left, 1),
            (last_top + 1, first_left, -1),
            (first_top, last_left + 1, -1),
            (last_top + 1, last_left + 1, 1),
        ):
            np.add.at(steps, (tops[kept], lefts[kept]), sign)
    return np.asarray(steps.cumsum(axis=0).cumsum(axis=1)[:rows, :cols])
