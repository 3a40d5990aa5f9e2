"""One image as a strategy may see it: what nobody asks for is never computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.logits import Logits
from harness.types import Region

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class View:
    """An image that is not labelled in full.

    There is no label in it but those bought, so a strategy cannot leak.

    passes: the E passes that a strategy asked for, one at a time: (C, H, W) class probabilities, or
    ``Logits`` at the network's stride, which never grow to full resolution all at once; E = 1 is
    the pass without dropout. cost_map: (H, W) predicted clicks per pixel, None without a cost
    network. learned: what the strategy's ``learn`` returned, None without one. The other fields
    give on demand what the properties return.
    """

    passes: Iterator[Tensor | Logits]
    cost_map: Tensor | None = None
    plain_pass: Callable[[], Logits] | None = None
    backbone_maps: Callable[[], Sequence[Tensor]] | None = None
    photograph: Callable[[], npt.NDArray[np.uint8]] | None = None
    labelled: Callable[[], npt.NDArray[np.bool_]] | None = None
    class_counts: Callable[[], npt.NDArray[np.int64]] | None = None
    mirrored_pass: Callable[[], Logits] | None = None
    learned: Any = None

    @property
    def logits(self) -> Logits:
        """The pass without dropout, at the network's stride; ``size`` is (H, W)."""
        return _asked(self.plain_pass, "logits")

    @property
    def mirrored(self) -> Logits:
        """The pass without dropout over the mirrored photograph, mirrored back."""
        return _asked(self.mirrored_pass, "mirrored")

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.logits.size

    @property
    def probabilities(self) -> Tensor:
        """(C, H, W) softmax of the pass without dropout: large; ``logits`` has it in strips."""
        return self.logits.probabilities()

    @property
    def prediction(self) -> Tensor:
        """(H, W) uint8: the class with the highest score."""
        return self.logits.winners()

    @property
    def features(self) -> Sequence[Tensor]:
        """The backbone's maps, (c, h, w) each, in its own order: mostly from fine to coarse."""
        return [level[0] for level in _asked(self.backbone_maps, "features")]

    @property
    def image(self) -> npt.NDArray[np.uint8]:
        """(H, W, 3) photograph, red, green, blue."""
        return _asked(self.photograph, "image")

    @property
    def is_labelled(self) -> npt.NDArray[np.bool_]:
        """(H, W): which pixels were bought already."""
        return _asked(self.labelled, "is_labelled")

    @property
    def class_shares(self) -> Tensor:
        """(C,) float64: the share of each class among all pixels bought so far; sums to 1."""
        counts = torch.from_numpy(_asked(self.class_counts, "class_shares"))
        counts = counts[: self.logits.values.shape[0]].double()
        return counts / counts.sum().clamp(min=1.0)

    def under(self, region: Region, maps: Tensor) -> Tensor:
        """Return the part of (c, h, w) maps of this image, at any stride, that a region touches.

        Choice: of a superpixel its bounding box.
        """
        rows = _cells(region.top, region.height, maps.shape[-2], self.size[0])
        columns = _cells(region.left, region.width, maps.shape[-1], self.size[1])
        return maps[:, rows, columns]

    def embedding(self, region: Region, level: int = -1) -> Tensor:
        """Return the mean of the backbone's maps under a region: (c,), of one of its levels."""
        return self.under(region, self.features[level]).mean(dim=(1, 2))


def _asked(source: Callable[[], T] | None, name: str) -> T:
    if source is None:
        raise ValueError(f"this view has no {name}: the network that made it gives none")
    return source()


def _cells(start: int, length: int, cells: int, extent: int) -> slice:
    """Return the cells of an axis that pixels touch, one at least."""
    first = min(start * cells // extent, cells - 1)
    return slice(first, max(-(-(start + length) * cells // extent), first + 1))
