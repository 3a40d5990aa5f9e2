"""Network outputs at stride 8 and what is made of them at full resolution, without ever holding C x H x W.

Bilinear up-sampling is written as two small matrix products: faster than the built-in on a CPU, and its backward is deterministic.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_STRIP_VALUES = 1 << 19
"""Class values of one strip of rows: 2 MiB of float32, which stays in a core's cache."""


@functools.lru_cache(maxsize=64)
def _weights(source: int, target: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return the (target, source) interpolation matrix of ``align_corners=False``; its rows sum to 1."""
    identity = torch.eye(source, device="cpu")[None, None]
    rows = F.interpolate(identity, size=(target, source), mode="bilinear", align_corners=False)[0, 0]
    return rows.to(device=device, dtype=dtype)


def upsample(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (..., h, w) maps to (..., H, W); equal to ``F.interpolate(mode="bilinear")`` but for rounding."""
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    with torch.no_grad():
        down = _weights(maps.shape[-2], size[0], maps.device, maps.dtype)
        across = _weights(maps.shape[-1], size[1], maps.device, maps.dtype)
    return down @ (maps @ across.T)


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
        classes = self.values.shape[0]
        wide = self.values @ _weights(self.values.shape[2], self.size[1], self.values.device, self.values.dtype).T
        down = _weights(self.values.shape[1], self.size[0], self.values.device, self.values.dtype)
        step = self.size[0] if self.values.is_cuda else max(1, _STRIP_VALUES // (classes * self.size[1]))
        for top in range(0, self.size[0], step):
            rows = slice(top, min(top + step, self.size[0]))
            yield rows, down[rows] @ wide

    def entropy(self) -> Tensor:
        """Return the (H, W) entropy of the softmax in nats: ln sum e^z - sum p z, in one pass over the rows."""
        result = self.values.new_empty(self.size)
        for rows, logits in self.strips():
            shifted = logits - logits.amax(0)
            exponentials = shifted.exp()
            total = exponentials.sum(0)
            result[rows] = total.log() - (exponentials * shifted).sum(0) / total
        return result.clamp_(min=0.0)

    def winners(self) -> Tensor:
        """Return the (H, W) uint8 class with the highest score.

        An up-sampled score is a convex combination of those at the four corners of its cell: where all four have the same
        winner, so has every pixel in between. Only the other cells are worked out pixel by pixel.
        """
        corner = self.values.max(0).indices.to(torch.uint8)
        scores = self.values.flatten(1).T.contiguous()
        rows, cols = (_cells(source, target, corner.device) for source, target in zip(corner.shape, self.size, strict=True))
        result = torch.empty(self.size, dtype=torch.uint8, device=corner.device)
        step = self.size[0] if self.values.is_cuda else max(1, _STRIP_VALUES // (8 * self.size[1]))
        for top in range(0, self.size[0], step):
            strip = slice(top, min(top + step, self.size[0]))
            above, below = corner[rows.low[strip]], corner[rows.high[strip]]
            result[strip] = above[:, cols.low]
            mixed = (result[strip] != above[:, cols.high]) | (result[strip] != below[:, cols.low]) | (result[strip] != below[:, cols.high])
            y, x = mixed.nonzero(as_tuple=True)
            for start in range(0, len(y), _STRIP_VALUES // 16):
                ys, xs = y[start : start + _STRIP_VALUES // 16] + top, x[start : start + _STRIP_VALUES // 16]
                result[ys, xs] = self._winners_at(ys, xs, scores, rows, cols)
        return result

    def _winners_at(self, y: Tensor, x: Tensor, scores: Tensor, rows: _Cells, cols: _Cells) -> Tensor:
        width = self.values.shape[2]
        down, across = rows.weight[y, None], cols.weight[x, None]
        top = torch.lerp(scores[rows.low[y] * width + cols.low[x]], scores[rows.low[y] * width + cols.high[x]], across)
        bottom = torch.lerp(scores[rows.high[y] * width + cols.low[x]], scores[rows.high[y] * width + cols.high[x]], across)
        return torch.lerp(top, bottom, down).max(1).indices.to(torch.uint8)


@dataclass(frozen=True, slots=True)
class _Cells:
    """For each target position of one axis: the two source positions around it, and the weight of the second."""

    low: Tensor
    high: Tensor
    weight: Tensor


@functools.lru_cache(maxsize=64)
def _cells(source: int, target: int, device: torch.device) -> _Cells:
    position = ((torch.arange(target, dtype=torch.float64) + 0.5) * source / target - 0.5).clamp(0, source - 1)
    low = position.floor().long()
    return _Cells(low.to(device), (low + 1).clamp(max=source - 1).to(device), (position - low).float().to(device))
