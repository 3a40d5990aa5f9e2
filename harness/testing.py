"""The contract of strategies, to run against your own: ``check_strategy(my_factory())``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch

from harness.acquisition import acquire
from harness.errors import InputError, RunError, one_line
from harness.logits import Logits
from harness.maps import MemoryMaps, QueryRules
from harness.pool import LabelledPool
from harness.protocols import Strategy
from harness.seeds import Purpose, generator
from harness.superpixels import Boxes, Segments, Superpixels, boxes
from harness.types import Annotation, Candidate, Clicks, ClickTotals, Region
from harness.views import View

_SIZES = {f"image_{number}": (48, 64) for number in range(6)}
_CLASSES = 5


class _Squares(Superpixels):
    """Squares in the place of superpixels: no photograph is needed."""

    def __init__(self) -> None:
        super().__init__(lambda _: np.empty((0, 0, 3), np.uint8))

    def of(self, image_id: str, px: int) -> Segments:
        """Return squares of as many pixels."""
        side = max(1, math.isqrt(px))
        down, across = (np.arange(length) // side for length in _SIZES[image_id])
        return np.asarray(down[:, None] * (across[-1] + 1) + across, np.int32)

    def boxes(self, image_id: str, px: int) -> Boxes:
        """Return the bounding boxes of the squares."""
        return boxes(self.of(image_id, px))


_RULES = QueryRules(window_px=12, stride_px=4, committee=3, superpixels=_Squares())


class ToyOracle:
    """Labels of its own for a toy pool; other ``seed``, other labels."""

    totals = ClickTotals(10_000, 1_000)

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed

    def labels(self, image_id: str) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
        """Return the (H, W) labels of an image."""
        rng = np.random.default_rng([self._seed, list(_SIZES).index(image_id)])
        blocks = rng.integers(_CLASSES, size=(6, 8), dtype=np.uint8)
        return blocks.repeat(8, axis=0).repeat(8, axis=1)

    def annotate(self, regions: Sequence[Region], pool: LabelledPool) -> list[Annotation]:
        """Label regions; every pixel of them is new."""
        return [
            Annotation(
                region,
                self.labels(region.image_id)[region.slices],
                np.empty((0, 2), np.int32),
                ~pool.is_labelled(region.image_id)[region.slices],
                Clicks(polygon=4),
            )
            for region in regions
        ]

    def click_map(self, image_id: str) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
        """Return (H, W) true clicks."""
        rng = np.random.default_rng([1, list(_SIZES).index(image_id)])
        return rng.integers(3, size=_SIZES[image_id])


class ToyNetwork:
    """Random but fixed scores, features and costs for a toy pool."""

    def predict(self, image_id: str, n_passes: int) -> View:
        """Return a view; member passes differ from each other."""
        height, width = _SIZES[image_id]
        number = list(_SIZES).index(image_id)
        rng = torch.Generator().manual_seed(100 + number)
        scores = torch.randn(_CLASSES, height // 8, width // 8, generator=rng) * 2
        noise = torch.randn(n_passes, *scores.shape, generator=rng)
        features = [torch.randn(1, 4 * 2**k, 6 // 2**k, 8 // 2**k, generator=rng) for k in range(2)]
        cost = torch.rand(height, width, generator=rng) * 0.1
        members: Iterator[Logits] = (
            Logits(scores + noise[k] * (n_passes > 1), (height, width)) for k in range(n_passes)
        )
        photo = np.random.default_rng(number).integers(256, size=(height, width, 3), dtype=np.uint8)
        return View(
            members,
            cost,
            plain_pass=lambda: Logits(scores, (height, width)),
            backbone_maps=lambda: features,
            photograph=lambda: photo,
            mirrored_pass=lambda: Logits(scores.flip(-1) * 0.9, (height, width)),
        )

    def expect(self, image_ids: Iterable[str]) -> None:
        """Read nothing ahead."""


def _pool(oracle: ToyOracle) -> LabelledPool:
    pool = LabelledPool(_SIZES)
    whole = Region("image_0", 0, 0, 48, 64)
    pool.add(oracle.annotate([whole, Region("image_1", 0, 0, 12, 12)], pool))
    return pool


def _query(strategy: Strategy, pool: LabelledPool, images: int = 1) -> list[Candidate]:
    return acquire(
        strategy,
        images * 48 * 64,
        pool=pool,
        predictor=ToyNetwork(),
        oracle=ToyOracle(),
        rules=_RULES,
        cache=MemoryMaps(),
        rng_for=lambda image_id: generator(0, 1, Purpose.SCORES, image_id),
    )


def check_strategy(strategy: Strategy) -> None:
    """Run a strategy through what the loop demands of every strategy.

    It asks a toy pool of six images, of which one and a half windows are labelled.

    Raises:
        AssertionError: one sentence in plain words on the first thing that is wrong.
    """
    oracle = ToyOracle()
    try:
        query = _query(strategy, _pool(oracle))
    except (RunError, InputError, ValueError) as error:
        raise AssertionError(f"{strategy.name}: {error}") from error
    except Exception as error:
        said = one_line(f"{type(error).__name__}: {error}")
        raise AssertionError(f"{strategy.name} failed: {said}") from error
    pool = _pool(oracle)
    _hold(bool(query), f"{strategy.name} must ask for something, got an empty query")
    for candidate in query:
        taken = pool.is_labelled(candidate.region.image_id)[candidate.region.slices]
        _hold(not taken.any(), f"{strategy.name} must not ask for labelled pixels twice")
        pool.add(oracle.annotate([candidate.region], pool))
    asked = [candidate.region for candidate in query]
    largest_px = max(region.area_px for region in asked)
    spent = sum(candidate.new_px for candidate in query)
    room = 48 * 64 - spent
    _hold(
        0 <= room < largest_px, f"{strategy.name} must spend its budget, got {spent} of {48 * 64}"
    )
    again = [candidate.region for candidate in _query(strategy, _pool(ToyOracle()))]
    _hold(again == asked, f"{strategy.name} must ask the same twice, with the same random stream")
    hidden = _pool(_OtherHidden())
    same = [candidate.region for candidate in _query(strategy, hidden)]
    _hold(same == asked, f"{strategy.name} must not depend on labels that were not bought")


class _OtherHidden(ToyOracle):
    """The same labels where the toy pool is labelled, others elsewhere."""

    def labels(self, image_id: str) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
        own = super().labels(image_id)
        if image_id == "image_0":
            return own
        other = ToyOracle(7).labels(image_id)
        other[:12, :12] = own[:12, :12]
        return other


def _hold(holds: bool, otherwise: str) -> None:  # noqa: FBT001
    if not holds:
        raise AssertionError(otherwise)
