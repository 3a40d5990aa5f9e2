"""The votes of a committee, counted in place as bytes.

Memory does not grow with the number of members.
"""

from __future__ import annotations

import torch
from torch import Tensor

from harness.cells import CellGrid, Cells
from harness.logits import Logits

LARGEST_COMMITTEE = 255
"""Votes are counted in bytes."""
_CHUNK_CELLS = 256


class Votes:
    """Counts, for every pixel, how many members vote for each class.

    Where the scores come at a stride, a member's vote for a whole cell is one count; only in mixed
    cells it is one per pixel.
    """

    def __init__(self) -> None:
        self.members = 0
        self._grid: CellGrid | None = None
        self._of_cells: Tensor
        self._of_pixels: Tensor

    def add(self, scores: Logits | Tensor) -> None:
        """Count one member's votes.

        ``scores`` are probabilities (C, H, W), or logits at any stride.

        Raises:
            ValueError: more than 255 members.
        """
        if self.members == LARGEST_COMMITTEE:
            raise ValueError(f"a committee must have 1 to {LARGEST_COMMITTEE} members, got more")
        grid = (
            CellGrid.of((scores.values.shape[1], scores.values.shape[2]), scores.size)
            if isinstance(scores, Logits)
            else None
        )
        if self.members == 0:
            self._start(scores, grid)
        self.members += 1
        if isinstance(scores, Logits) and grid is not None:
            self._add_cells(grid.look(scores.values))
        else:
            winner = scores.winners() if isinstance(scores, Logits) else scores.max(0).indices
            one = torch.ones((), dtype=torch.uint8, device=winner.device).expand(1, *winner.shape)
            self._of_pixels.scatter_add_(0, winner[None].long(), one)

    def _start(self, scores: Logits | Tensor, grid: CellGrid | None) -> None:
        values = scores.values if isinstance(scores, Logits) else scores
        self._grid = grid
        if grid is None:
            size = scores.size if isinstance(scores, Logits) else (values.shape[1], values.shape[2])
            self._of_pixels = torch.zeros(
                (len(values), *size), dtype=torch.uint8, device=values.device
            )
        else:
            cells = grid.rows * grid.columns
            self._of_cells = torch.zeros(
                (cells, len(values)), dtype=torch.uint8, device=values.device
            )
            self._of_pixels = torch.zeros(
                (cells, len(values), grid.side**2), dtype=torch.uint8, device=values.device
            )

    def _add_cells(self, cells: Cells) -> None:
        votes = torch.ones((), dtype=torch.uint8, device=cells.corner.device).repeat(
            len(cells.corner)
        )
        votes[cells.mixed] = 0
        self._of_cells.scatter_add_(1, cells.corner[:, None].long(), votes[:, None])
        _, classes, pixels = self._of_pixels.shape
        flat, pixel = self._of_pixels.view(-1), torch.arange(pixels, device=votes.device)
        one = torch.ones((), dtype=torch.uint8, device=votes.device)
        for part, winners in cells.pixel_winners():
            place = ((part[:, None] * classes + winners) * pixels + pixel).view(-1)
            flat.scatter_add_(0, place, one.expand(place.shape))

    def entropy(self) -> Tensor:
        """Return -sum_c (v_c / E) ln (v_c / E): (H, W) float64, in [0, ln min(E, C)].

        Raises:
            ValueError: no member has voted.
        """
        if self.members == 0:
            raise ValueError("a committee must have one pass or more, got none")
        shares = (
            torch.arange(self.members + 1, dtype=torch.float64, device=self._of_pixels.device)
            / self.members
        )
        term = -torch.xlogy(shares, shares)
        if self._grid is None:
            return _sum_of_terms(self._of_pixels, term, axis=0).clamp_(min=0.0)
        canvas = self._grid.canvas(_sum_of_terms(self._of_cells, term, axis=1))
        divided = (self._of_cells.sum(1) < self.members).nonzero()[:, 0]
        for part in torch.split(divided, len(divided) or 1 if canvas.is_cuda else _CHUNK_CELLS):
            votes = self._of_pixels[part] + self._of_cells[part][..., None]
            self._grid.paint(canvas, part, _sum_of_terms(votes, term, axis=1))
        return self._grid.image(canvas).clamp_(min=0.0)


def _sum_of_terms(votes: Tensor, term: Tensor, axis: int) -> Tensor:
    """Add up term[votes] along the class axis, one class after the other, so that equal votes have equal sums."""
    total: Tensor | float = 0.0
    for count in votes.unbind(axis):
        total = total + term[count.long()]
    return torch.as_tensor(total)
