"""Which crops a training sees: epochs in which every labelled pixel counts exactly once."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from harness.pool import LabelledPool
from harness.types import Region

_TRIES = 4
"""Random places that are tried for a crop; the one that holds most of what is left is taken."""


class Place(NamedTuple):
    """Where a crop lies, in pixels of its image, and the pieces of labelled area that count in it."""

    image_id: str
    top: int
    left: int
    height: int
    width: int
    pieces: tuple[int, ...]


class Piece(NamedTuple):
    """A labelled rectangle that fits into a crop.

    Rows top to bottom, columns left to right, half-open.
    """

    top: int
    left: int
    bottom: int
    right: int


class Coverage:
    """Plans crops around labelled regions.

    Choice: the paper does not say how a network is trained on regions. Each epoch cuts every
    labelled region into pieces that fit into a crop, lays crops around them at random places, and
    lets each piece count in exactly one crop, together with all other pieces of the image that
    happen to lie inside it. So every labelled pixel is seen equally often, whatever the mix of
    whole images and windows, and a crop is never laid where nothing is left to learn. Regions that
    overlap share their pixels: the first has them. Of a superpixel its bounding box is taken; what
    is not labelled in it counts nowhere.
    """

    def __init__(self, pool: LabelledPool, height: int, width: int) -> None:
        self._crop = height, width
        self._sizes = {image_id: pool.sizes[image_id] for image_id in pool.touched_ids}
        self._regions = {image_id: pool.regions(image_id) for image_id in self._sizes}
        self._overlapping = {
            image_id
            for image_id, regions in self._regions.items()
            if sum(box.height * box.width for box in regions) > pool.labelled_px_of(image_id)
        }

    def epoch(self, rng: np.random.Generator) -> tuple[list[Place], dict[str, list[Piece]]]:
        """Plan one epoch: crops in random order, and the pieces that they refer to by their index."""
        places: list[Place] = []
        pieces: dict[str, list[Piece]] = {}
        for image_id, size in self._sizes.items():
            side = min(self._crop[0], size[0]), min(self._crop[1], size[1])
            pieces[image_id] = [
                piece for region in self._regions[image_id] for piece in _cut(region, side, rng)
            ]
            if image_id in self._overlapping:
                pieces[image_id] = [
                    pieces[image_id][number]
                    for number in np.unique(_owners(pieces[image_id], 0, 0, *size))
                    if number >= 0
                ]
            places += _pack(image_id, size, side, pieces[image_id], rng)
        order = rng.permutation(len(places))
        return [places[i] for i in order], pieces


def counts_in(place: Place, pieces: Sequence[Piece]) -> npt.NDArray[np.bool_]:
    """Return the mask, of the crop's size, of the pixels that count in it.

    Args:
        pieces: all pieces of the image in this epoch; where two overlap, the pixel belongs to the
            first.
    """
    owner = _owners(pieces, place.top, place.left, place.height, place.width)
    return np.isin(owner, place.pieces)


def _owners(
    pieces: Sequence[Piece], top: int, left: int, height: int, width: int
) -> npt.NDArray[np.int32]:
    """Return for each pixel of a rectangle the first piece that holds it, or -1."""
    owner = np.full((height, width), -1, np.int32)
    for number in range(len(pieces) - 1, -1, -1):
        piece = pieces[number]
        if piece.bottom > top and piece.right > left:
            owner[
                max(piece.top - top, 0) : piece.bottom - top,
                max(piece.left - left, 0) : piece.right - left,
            ] = number
    return owner


def _cut(region: Region, side: tuple[int, int], rng: np.random.Generator) -> list[Piece]:
    """Cut a region into as few pieces as fit into a crop, at random places where there is slack."""
    rows = _cuts(region.top, region.height, side[0], rng)
    columns = _cuts(region.left, region.width, side[1], rng)
    return [Piece(top, left, bottom, right) for top, bottom in rows for left, right in columns]


def _cuts(start: int, length: int, side: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    count = -(-length // side)
    shifts = np.sort(rng.integers(count * side - length + 1, size=count - 1)).tolist()
    edges = [
        start,
        *(start + (number + 1) * side - shift for number, shift in enumerate(shifts)),
        start + length,
    ]
    return list(itertools.pairwise(edges))


def _pack(
    image_id: str,
    size: tuple[int, int],
    side: tuple[int, int],
    pieces: Sequence[Piece],
    rng: np.random.Generator,
) -> list[Place]:
    """Lay crops until each piece counts in one.

    Around a random piece that is left, at the best of a few random places.
    """
    boxes = np.array(pieces)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    left_over = np.ones(len(boxes), np.bool_)
    places = []
    for first in rng.permutation(len(boxes)):
        if not left_over[first]:
            continue
        tries = []
        for _ in range(_TRIES if left_over.sum() > 1 else 1):
            top, left = (
                int(
                    rng.integers(
                        max(boxes[first, axis + 2] - side[axis], 0),
                        min(boxes[first, axis], size[axis] - side[axis]) + 1,
                    )
                )
                for axis in (0, 1)
            )
            inside = (
                left_over
                & (boxes[:, 0] >= top)
                & (boxes[:, 1] >= left)
                & (boxes[:, 2] <= top + side[0])
                & (boxes[:, 3] <= left + side[1])
            )
            tries.append((int(areas[inside].sum()), top, left, inside))
        _, top, left, inside = max(tries, key=lambda one: one[0])
        left_over &= ~inside
        places.append(Place(image_id, top, left, *side, tuple(np.flatnonzero(inside).tolist())))
    return places
