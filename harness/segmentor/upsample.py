"""Bilinear up-sampling as two small matrix products: faster than the built-in on a CPU, and its backward is deterministic."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor


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
