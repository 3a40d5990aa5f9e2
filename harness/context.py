"""What a strategy's ``select`` may look at besides its candidates."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from harness.errors import RunError
from harness.pool import LabelledPool
from harness.protocols import Predictor
from harness.types import Region
from harness.views import View

T = TypeVar("T")


@dataclass(slots=True)
class QueryContext:
    """What a strategy's ``select`` may look at besides its candidates: no label is in it.

    Raises:
        RunError: something of an image is asked for without a network.
    """

    pool: LabelledPool
    predictor: Predictor | None
    rng: np.random.Generator

    @property
    def labelled(self) -> list[Region]:
        """All regions bought so far, by image."""
        return [
            region for name in sorted(self.pool.touched_ids) for region in self.pool.regions(name)
        ]

    def embeddings(self, regions: Sequence[Region], level: int = -1) -> Tensor:
        """Return (n, c): the mean of the backbone's maps under each region.

        Each image is seen once.
        """
        found = self.of_each(regions, lambda view, region: view.embedding(region, level).cpu())
        return torch.stack(found) if found else torch.empty((0, 0))

    def of_each(self, regions: Sequence[Region], read: Callable[[View, Region], T]) -> list[T]:
        """Return what ``read`` makes of each region and the view of its image, in their order.

        Each image is seen once, without dropout; what is read is kept for all regions at a time, so
        it should be small and on the CPU.
        """
        if self.predictor is None:
            raise RunError("regions are read with a network, and this strategy asked for none")
        by_image: dict[str, list[int]] = defaultdict(list)
        for number, region in enumerate(regions):
            by_image[region.image_id].append(number)
        if not regions:
            return []
        self.predictor.expect(by_image)
        found: dict[int, T] = {}
        for image_id, numbers in by_image.items():
            view = self.predictor.predict(image_id, 1)
            for number in numbers:
                found[number] = read(view, regions[number])
        return [found[number] for number in range(len(regions))]
