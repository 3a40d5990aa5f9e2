"""Network outputs at stride 8 and what is made of them at full resolution, without ever holding C x H x W.

Bilinear up-sampling is written as two small matrix products: faster than the built-in on a CPU, and
its backward is deterministic.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.cells import CellGrid

_STRIP_VALUES = 1 << 19
"""Class values of one strip of rows: 2 MiB of float32, which stays in a core's cache."""
_STRIP_VALUES_GPU = 1 << 24


@functools.lru_cache(maxsize=64)
def _weights(source: int, target: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return the (target, source) interpolation matrix of ``align_corners=False``.

    Its rows sum to 1.
    """
    identity = torch.eye(source, device="cpu")[None, None]
    rows = F.interpolate(identity, size=(target, source), mode="bilinear", align_corners=False)[
        0, 0
    ]
    return rows.to(device=device, dtype=dtype)


def upsample(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (..., h, w) maps to (..., H, W).

    Equal to ``F.interpolate(mode="bilinear")`` but for rounding.
    """
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    with torch.no_grad():
        down = _weights(maps.shape[-2], size[0], maps.device, maps.dtype)
        across = _weights(maps.shape[-1], size[1], maps.device, maps.dtype)
    return down @ (maps @ across.T)


def upsample_part(maps: Tensor, size: tuple[int, int], rows: slice, columns: slice) -> Tensor:
    """Return ``upsample(maps, size)[..., rows, columns]`` without making the rest."""
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps[..., rows, columns]
    down = _weights(maps.shape[-2], size[0], maps.device, maps.dtype)[rows]
    across = _weights(maps.shape[-1], size[1], maps.device, maps.dtype)[columns]
    high = _source_band(rows, maps.shape[-2], size[0])
    wide = _source_band(columns, maps.shape[-1], size[1])
    part = maps[..., high, wide].contiguous()
    return down[:, high] @ (part @ across[:, wide].T)


def _source_band(rows: slice, source: int, target: int) -> slice:
    """Return the source rows that the given rows of the target are made of."""
    first, last = (
        math.floor((row + 0.5) * source / target - 0.5) for row in (rows.start, rows.stop - 1)
    )
    return slice(max(first, 0), min(last + 2, source))


@dataclass(frozen=True, slots=True)
class Logits:
    """Class scores of one pass at the network's stride, to be seen at the image's size.

    values: (C, h, w). size: (H, W) of the image in pixels.
    """

    values: Tensor
    size: tuple[int, int]

    def probabilities(self) -> Tensor:
        """Return the whole (C, H, W) softmax: for small images and for comparison."""
        return upsample(self.values, self.size).softmax(0)

    def strips(self) -> Iterator[tuple[slice, Tensor]]:
        """Yield (rows, (C, rows, W) full-resolution logits), a few rows at a time."""
        return self._strips(reuse=False)

    def _strips(self, *, reuse: bool) -> Iterator[tuple[slice, Tensor]]:
        """Yield ``strips``; with ``reuse`` each lies where the one before lay."""
        classes = self.values.shape[0]
        if tuple(self.values.shape[1:]) == tuple(self.size):
            yield slice(0, self.size[0]), self.values
            return
        wide = (
            self.values
            @ _weights(self.values.shape[2], self.size[1], self.values.device, self.values.dtype).T
        )
        down = _weights(self.values.shape[1], self.size[0], self.values.device, self.values.dtype)
        step = max(
            1,
            (_STRIP_VALUES_GPU if self.values.is_cuda else _STRIP_VALUES)
            // (classes * self.size[1]),
        )
        strip = self.values.new_empty(classes, step, self.size[1]) if reuse else None
        for top in range(0, self.size[0], step):
            rows = slice(top, min(top + step, self.size[0]))
            band = _source_band(rows, self.values.shape[1], self.size[0])
            whole = rows.stop - rows.start == step
            yield rows, torch.matmul(down[rows, band], wide[:, band], out=strip if whole else None)

    def entropy(self) -> Tensor:
        """Return the (H, W) entropy of the softmax in nats.

        It is ln sum e^z - sum p z, in one pass over the rows. All strips use the same memory: taking
        it anew for each is slower.
        """
        result = self.values.new_empty(self.size)
        shifted = exponentials = self.values.new_empty(0)
        for rows, logits in self._strips(reuse=True):
            if shifted.shape != logits.shape:
                shifted, exponentials = torch.empty_like(logits), torch.empty_like(logits)
            torch.sub(logits, logits.amax(0), out=shifted)
            torch.exp(shifted, out=exponentials)
            total = exponentials.sum(0)
            spread = exponentials.mul_(shifted).sum(0)
            torch.sub(total.log(), spread.div_(total), out=result[rows])
        return result.clamp_(min=0.0)

    def winners(self) -> Tensor:
        """Return the (H, W) uint8 class with the highest score.

        Pixel by pixel only in the cells where it changes.
        """
        grid = CellGrid.of((self.values.shape[1], self.values.shape[2]), self.size)
        if grid is None:
            return torch.cat([logits.max(0).indices.to(torch.uint8) for _, logits in self.strips()])
        cells = grid.look(self.values)
        canvas = grid.canvas(cells.corner)
        for part, winners in cells.pixel_winners():
            grid.paint(canvas, part, winners)
        return grid.image(canvas)
