"""What a strategy's ``select`` may look at besides its candidates."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from harness.errors import RunError
from harness.pool import LabelledPool
from harness.protocols import Predictor
from harness.types import Region


@dataclass(slots=True)
class QueryContext:
    """What a strategy's ``select`` may look at besides its candidates: no label is in it.

    Raises:
        RunError: embeddings without a network.
    """

    pool: LabelledPool
    predictor: Predictor | None
    rng: np.random.Generator

    @property
    def labelled(self) -> list[Region]:
        """All regions bought so far, by image."""
        return [region for name in self.pool.touched_ids for region in self.pool.regions(name)]

    def embeddings(self, regions: Sequence[Region], level: int = -1) -> Tensor:
        """Return (n, c): the mean of the backbone's maps under each region.

        Each image is seen once.
        """
        if self.predictor is None:
            raise RunError("embeddings need a network, and this strategy asked for none")
        by_image: dict[str, list[int]] = defaultdict(list)
        for number, region in enumerate(regions):
            by_image[region.image_id].append(number)
        if not regions:
            return torch.empty((0, 0))
        self.predictor.expect(by_image)
        found: dict[int, Tensor] = {}
        for image_id, numbers in by_image.items():
            view = self.predictor.predict(image_id, 1)
            for number in numbers:
                found[number] = view.embedding(regions[number], level).cpu()
        return torch.stack([found[number] for number in range(len(regions))])
