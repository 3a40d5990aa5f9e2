"""Small stand-ins that keep the contracts of harness.protocols: no training, no disk."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from harness.clicks import count_region, vertex_map, vertices_inside
from harness.logits import Logits
from harness.loop import StoredNetwork
from harness.maps import MemoryMaps
from harness.types import Annotation, ClickTotals, CostQuality, ImageAreas, Region, RoundRecord
from harness.views import View

CLASSES = 5


class FakeOracle:
    """Images of random blocks with random vertices; hidden labels can be flipped outside some regions."""

    def __init__(self, sizes: dict[str, tuple[int, int]], seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.labels = {}
        self.vertices = {}
        for image_id, (height, width) in sizes.items():
            coarse = rng.integers(0, CLASSES, (height // 8 + 1, width // 8 + 1), dtype=np.uint8)
            self.labels[image_id] = np.kron(coarse, np.ones((8, 8), np.uint8))[
                :height, :width
            ].copy()
            count = int(rng.integers(20, 60))
            self.vertices[image_id] = np.stack(
                [rng.integers(0, width, count), rng.integers(0, height, count)], axis=1
            ).astype(np.int32)
        self.totals = ClickTotals(sum(map(len, self.vertices.values())), 100)

    def annotate(self, regions: Sequence[Region], pool) -> list[Annotation]:
        billed: dict[str, np.ndarray] = {}
        answers = []
        for region in regions:
            known = billed.setdefault(region.image_id, pool.is_labelled(region.image_id).copy())
            is_new = ~known[region.slices]
            inside = vertices_inside(self.vertices[region.image_id], region)
            paid = inside[is_new[inside[:, 1] - region.top, inside[:, 0] - region.left]]
            labels = self.labels[region.image_id]
            answers.append(
                Annotation(
                    region,
                    labels[region.slices].copy(),
                    inside,
                    is_new,
                    count_region(paid, labels, region),
                )
            )
            known[region.slices] = True
        return answers

    def click_map(self, image_id: str) -> np.ndarray:
        return vertex_map(self.vertices[image_id], *self.labels[image_id].shape)

    def flip_hidden(self, bought: Sequence[Region]) -> None:
        """Give every pixel outside ``bought`` another label."""
        for image_id, labels in self.labels.items():
            hidden = np.ones(labels.shape, bool)
            for region in bought:
                if region.image_id == image_id:
                    hidden[region.slices] = False
            labels[hidden] = (labels[hidden] + 1) % CLASSES


class FakeNetwork:
    """Predictions that depend on a seed, the image and on what is labelled: as a trained network's would."""

    has_cost = True
    losses = ()

    def __init__(self, sizes: dict[str, tuple[int, int]], key: str) -> None:
        self._sizes, self._key = sizes, key

    def _generator(self, image_id: str) -> torch.Generator:
        return torch.Generator().manual_seed(zlib.crc32(f"{self._key} {image_id}".encode()))

    def predict(self, image_id: str, n_passes: int) -> View:
        generator = self._generator(image_id)
        height, width = self._sizes[image_id]
        passes = [
            torch.randn((CLASSES, height, width), generator=generator).softmax(0)
            for _ in range(n_passes)
        ]
        cost = torch.rand((height, width), generator=generator) * 0.1
        shown = torch.randn((CLASSES, height, width), generator=generator)
        mirrored = shown + 0.1 * torch.randn(shown.shape, generator=generator)
        features = [torch.randn((1, 6, height // 4, width // 4), generator=generator)]
        return View(
            iter(passes),
            cost,
            plain_pass=lambda: Logits(shown, (height, width)),
            backbone_maps=lambda: features,
            class_counts=lambda: np.zeros(256, np.int64),
            mirrored_pass=lambda: Logits(mirrored, (height, width)),
        )

    def expect(self, image_ids) -> None:
        """Nothing is read ahead."""

    def evaluate(self) -> list[ImageAreas]:
        rng = np.random.default_rng(zlib.crc32(self._key.encode()))
        hit = rng.integers(10, 50, CLASSES)
        return [ImageAreas("val_0", hit.tolist(), (hit + 7).tolist(), (hit + 5).tolist())]

    def cost_quality(self) -> CostQuality:
        return CostQuality(10, 0.5, 0.4, 0.3)

    def save(self, path: Path) -> None:
        raise NotImplementedError


class FakeNetworks:
    """Gives a fake network for every set of labels; counts how often it was asked."""

    def __init__(self, sizes: dict[str, tuple[int, int]]) -> None:
        self.sizes = sizes
        self.asked = 0

    def get_or_train(self, pool, seed: int, round_number: int, *, with_cost: bool) -> StoredNetwork:
        self.asked += 1
        known = "".join(pool.labels(image_id).tobytes().hex() for image_id in pool.touched_ids)
        key = f"{zlib.crc32(known.encode()):08x}-{seed}-{round_number}"
        network = FakeNetwork(self.sizes, key)
        return StoredNetwork(key, network, network.evaluate(), network.cost_quality(), MemoryMaps())

    def discard(self, trained: StoredNetwork) -> None:
        """Nothing is kept."""


@dataclass
class MemoryWriter:
    records: list[RoundRecord] = field(default_factory=list)
    maps: dict[int, list] = field(default_factory=dict)
    keeps_maps: bool = False

    def keep_maps(self, round_number: int, maps) -> None:
        self.maps[round_number] = list(maps)

    def append(self, record: RoundRecord) -> None:
        self.records.append(record)


@contextmanager
def no_stage(_round: int, _name: str):
    yield
