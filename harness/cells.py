"""Where a network's stride-8 scores change their winner, and where they cannot.

Bilinear up-sampling is a convex combination of the four scores around a pixel. A cell is the square
between four neighbouring score positions: where all four have the same best class, so has every
pixel of the cell, exactly. Only mixed cells need work per pixel, and that is one matrix product:
(cells x classes, 4 corners) @ (4 corners, pixels of a cell).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_CHUNK_VALUES = 1 << 17
"""Class values of one chunk of mixed cells: 512 KiB of float32, which stays in a core's cache."""
_CHUNK_VALUES_GPU = 1 << 26


@functools.lru_cache(maxsize=16)
def _corner_weights(side: int, device: torch.device) -> Tensor:
    """Return the (4, side * side) weights of a cell's corners at its pixels.

    Each column sums to 1.
    """
    offset = (torch.arange(side, dtype=torch.float64) + 0.5) / side
    axis = torch.stack([1.0 - offset, offset])
    return torch.einsum("ay,bx->abyx", axis, axis).reshape(4, side * side).float().to(device)


@dataclass(frozen=True, slots=True)
class Cells:
    """The cells of one pass: ``corner`` is the best class at each cell's first corner, ``mixed`` lists the cells that need work.

    corner: (n,) uint8. mixed: (m,) rising indices. scores: (positions, C), the padded score map,
    one row per position.
    """

    grid: CellGrid
    corner: Tensor
    mixed: Tensor
    scores: Tensor

    def pixel_winners(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (cells, (k, side * side) best classes), a chunk of mixed cells at a time."""
        classes, pixels = self.scores.shape[1], self.grid.side**2
        weights = _corner_weights(self.grid.side, self.scores.device)
        step = max(
            1, (_CHUNK_VALUES_GPU if self.scores.is_cuda else _CHUNK_VALUES) // (classes * pixels)
        )
        down = self.grid.columns + 1
        for part in torch.split(self.mixed, step):
            first = (
                part + part // self.grid.columns
            )  # a row of positions is one longer than a row of cells
            corners = torch.stack(
                [self.scores[first + offset] for offset in (0, 1, down, down + 1)], dim=-1
            )
            yield (
                part,
                (corners.flatten(0, 1) @ weights)
                .view(len(part), classes, pixels)
                .max(1)
                .indices.to(torch.uint8),
            )


@dataclass(frozen=True, slots=True)
class CellGrid:
    """The cells of an image of ``rows * side`` x ``columns * side`` pixels, half a cell more than the image on each side."""

    rows: int
    columns: int
    side: int

    @classmethod
    def of(cls, source: tuple[int, int], target: tuple[int, int]) -> CellGrid | None:
        """Return the grid of a score map in an image.

        None unless the image is an even multiple of it along both axes.
        """
        side = target[0] // source[0]
        if side % 2 or side == 0 or target != (source[0] * side, source[1] * side):
            return None
        return cls(source[0] + 1, source[1] + 1, side)

    def look(self, values: Tensor) -> Cells:
        """Find the mixed cells of one pass's (C, h, w) scores."""
        padded = F.pad(values[None], (1, 1, 1, 1), mode="replicate")[0]
        best = padded.max(0).indices.to(torch.uint8)
        corner = best[:-1, :-1]
        mixed = (corner != best[:-1, 1:]) | (corner != best[1:, :-1]) | (corner != best[1:, 1:])
        return Cells(
            self,
            corner.flatten(),
            mixed.flatten().nonzero()[:, 0],
            padded.flatten(1).T.contiguous(),
        )

    def canvas(self, cells: Tensor) -> Tensor:
        """Return a map in which each cell's pixels have the cell's value.

        (n,) values of all cells.
        """
        return cells.view(self.rows, 1, self.columns, 1).repeat(1, self.side, 1, self.side)

    def paint(self, canvas: Tensor, cells: Tensor, values: Tensor) -> None:
        """Give the pixels of some cells values of their own.

        (k,) cells, (k, side * side) values.
        """
        canvas[cells // self.columns, :, cells % self.columns, :] = values.view(
            -1, self.side, self.side
        )

    def image(self, canvas: Tensor) -> Tensor:
        """Return the (H, W) map of a canvas, which has half a cell more on each side."""
        half = self.side // 2
        return canvas.view(self.rows * self.side, self.columns * self.side)[half:-half, half:-half]
