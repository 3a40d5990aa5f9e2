"""From trained networks to a query: pass 1 makes region maps, pass 2 scales, fuses, suppresses and selects.

Pass 1 sees every image that is not labelled in full once and keeps only window sums. Pass 2 needs the pool's minimum and
maximum, so it starts when pass 1 is over; it keeps the k-th best score, and an image stops giving candidates when it can
place no more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from harness.errors import RunError
from harness.pool import LabelledPool
from harness.protocols import MapCache, Measure, Oracle, Predictor, Strategy
from harness.regions import RunningBest, Window, non_maximum_suppression, rescale, select_within_budget, window_sum
from harness.types import Candidate, Region

RngFor = Callable[[str], np.random.Generator]


@dataclass(slots=True)
class Tally:
    """How much work was asked for, and how much of it had to be done."""

    trainings_asked: int = 0
    trainings_run: int = 0
    images_asked: int = 0
    images_predicted: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.trainings_asked + other.trainings_asked,
            self.trainings_run + other.trainings_run,
            self.images_asked + other.images_asked,
            self.images_predicted + other.images_predicted,
        )

    def __sub__(self, other: Tally) -> Tally:
        return Tally(
            self.trainings_asked - other.trainings_asked,
            self.trainings_run - other.trainings_run,
            self.images_asked - other.images_asked,
            self.images_predicted - other.images_predicted,
        )


@dataclass(frozen=True, slots=True)
class QueryRules:
    """The same for every strategy of a board: window side and stride in pixels, overlap rule, committee size E."""

    window_px: int
    stride_px: int = 1
    allow_overlap: bool = False
    committee: int = 20

    def window(self, strategy: Strategy, size: tuple[int, int]) -> Window:
        """Return the window of a strategy in an image of ``size``."""
        return size if strategy.whole_image else self.window_px


@dataclass(frozen=True, slots=True)
class MapRequest:
    """One region map that a strategy needs of every open image; equal requests of two strategies are one."""

    measure: Measure | None
    cost: str
    n_passes: int
    whole_image: bool

    @property
    def needs_network(self) -> bool:
        """Whether it takes a prediction; the true clicks do not."""
        return self.cost != "oracle"

    @property
    def key(self) -> str:
        """The name of this map in a cache."""
        what = f"{self.cost}-cost" if self.measure is None else f"{_full_name(self.measure)}-{self.n_passes}"
        return f"{what}-{'image' if self.whole_image else 'window'}"


def _full_name(measure: Measure) -> str:
    """Return a name that two measures of different packages cannot share."""
    return f"{measure.__module__}.{getattr(measure, '__qualname__', type(measure).__qualname__)}"


@dataclass(frozen=True, slots=True)
class Requests:
    """The region maps that one strategy needs."""

    information: MapRequest | None
    cost: MapRequest | None

    def __iter__(self) -> Iterator[MapRequest]:
        return iter([request for request in (self.information, self.cost) if request is not None])


def requests_of(strategy: Strategy, rules: QueryRules) -> Requests:
    """List the region maps that a strategy needs."""
    n_passes = strategy.n_passes or rules.committee
    information = MapRequest(strategy.measure, "", n_passes, strategy.whole_image) if strategy.measure is not None else None
    cost = MapRequest(None, strategy.cost, 1, strategy.whole_image) if strategy.cost != "none" else None
    return Requests(information, cost)


class MemoryMaps:
    """A map cache that forgets everything with the process."""

    def __init__(self) -> None:
        self._maps: dict[str, Tensor] = {}

    def has(self, key: str) -> bool:
        """Say whether a map is stored."""
        return key in self._maps

    def get(self, key: str) -> Tensor | None:
        """Return a stored map, or None."""
        return self._maps.get(key)

    def put(self, key: str, region_map: Tensor) -> None:
        """Store a map."""
        self._maps[key] = region_map


def scan(
    image_ids: Iterable[str],
    requests: Iterable[MapRequest],
    *,
    pool: LabelledPool,
    predictor: Predictor | None,
    oracle: Oracle,
    rules: QueryRules,
    cache: MapCache,
) -> int:
    """Pass 1: fill the cache with the region maps that are missing, each image predicted once for all requests.

    Returns:
        How many images were predicted.

    Raises:
        RunError: a map with NaN or infinite values; the message names the image.
    """
    wanted = list(dict.fromkeys(requests))
    predicted = 0
    for image_id in image_ids:
        missing = [request for request in wanted if not cache.has(f"{request.key}/{image_id}")]
        predicted += any(request.needs_network for request in missing)
        for request in missing:
            window = pool.sizes[image_id] if request.whole_image else rules.window_px
            pixels = _pixel_map(request, image_id, predictor, oracle).cpu() * torch.from_numpy(~pool.is_labelled(image_id))
            try:
                sums = window_sum(pixels, window, stride=rules.stride_px)
            except ValueError as error:
                raise RunError(f"image {image_id}: {request.key} map: {error}") from error
            cache.put(f"{request.key}/{image_id}", sums)
    return predicted


def _pixel_map(request: MapRequest, image_id: str, predictor: Predictor | None, oracle: Oracle) -> Tensor:
    if request.cost == "oracle":
        return torch.from_numpy(oracle.click_map(image_id))
    if predictor is None:
        raise ValueError("a predictor is missing; allowed: the networks of the last round")
    prediction = predictor.predict(image_id, request.n_passes)
    if request.measure is not None:
        return request.measure(prediction)
    if prediction.cost_map is None:
        raise ValueError("the networks predict no cost; allowed: networks with a cost head")
    return prediction.cost_map


def acquire(
    strategy: Strategy,
    budget_px: int,
    *,
    pool: LabelledPool,
    predictor: Predictor | None,
    oracle: Oracle,
    rules: QueryRules,
    cache: MapCache,
    rng_for: RngFor,
    tally: Tally | None = None,
) -> list[Candidate]:
    """Choose the regions to ask for, within a budget of new pixels.

    Choice: scaling bounds are taken over the placements that may be asked for, not over those that touch labelled pixels.

    Returns:
        The query by falling score; ``information`` and ``cost`` of each candidate are its unscaled window sums.
    """
    image_ids = pool.open_ids
    requests = requests_of(strategy, rules)
    predicted = scan(image_ids, requests, pool=pool, predictor=predictor, oracle=oracle, rules=rules, cache=cache)
    if tally is not None and strategy.needs_network:
        tally.images_asked += len(image_ids)
        tally.images_predicted += predicted
    bounds = {request: _pool_bounds(request, image_ids, strategy, pool, rules, cache) for request in requests}
    best = RunningBest(None if rules.allow_overlap or strategy.whole_image else budget_px // rules.window_px**2)
    candidates: list[Candidate] = []
    for image_id in image_ids:
        information, cost = (_cached(cache, request, image_id) if request else None for request in (requests.information, requests.cost))
        new_px, allowed = _placements(image_id, strategy, pool, rules)
        scores = strategy.fuse(
            torch.zeros_like(new_px)
            if requests.information is None or information is None
            else rescale(information, *bounds[requests.information]),
            None if requests.cost is None or cost is None else rescale(cost, *bounds[requests.cost]),
            rng_for(image_id),
        )
        scores = scores.to(torch.float64).masked_fill(~allowed, -math.inf)
        for candidate in _propose(
            image_id, rules.window(strategy, pool.sizes[image_id]), scores, best.floor, rules, new_px, information, cost
        ):
            best.add(candidate.score)
            candidates.append(candidate)
    return select_within_budget(candidates, budget_px)


def _propose(
    image_id: str,
    window: Window,
    scores: Tensor,
    floor: float,
    rules: QueryRules,
    new_px: Tensor,
    information: Tensor | None,
    cost: Tensor | None,
) -> Iterator[Candidate]:
    """Yield one image's candidates that can still enter the query."""
    height, width = (window, window) if isinstance(window, int) else window
    for top, left, score in non_maximum_suppression(scores, window, stride=rules.stride_px, floor=floor):
        at = (top // rules.stride_px, left // rules.stride_px)
        yield Candidate(
            Region(image_id, top, left, height, width),
            score,
            int(new_px[at]),
            None if information is None else float(information[at]),
            None if cost is None else float(cost[at]),
        )


def _placements(image_id: str, strategy: Strategy, pool: LabelledPool, rules: QueryRules) -> tuple[Tensor, Tensor]:
    """Return the number of new pixels of each placement, and which placements may be asked for."""
    window = rules.window(strategy, pool.sizes[image_id])
    new_px = window_sum(torch.from_numpy(~pool.is_labelled(image_id)), window, stride=rules.stride_px)
    area = window * window if isinstance(window, int) else window[0] * window[1]
    return new_px, new_px > 0 if rules.allow_overlap else new_px == area


def _pool_bounds(
    request: MapRequest, image_ids: list[str], strategy: Strategy, pool: LabelledPool, rules: QueryRules, cache: MapCache
) -> tuple[float, float]:
    low, high = math.inf, -math.inf
    for image_id in image_ids:
        _, allowed = _placements(image_id, strategy, pool, rules)
        values = _cached(cache, request, image_id)[allowed]
        if values.numel():
            low, high = min(low, float(values.min())), max(high, float(values.max()))
    return (low, high) if low <= high else (0.0, 0.0)


def _cached(cache: MapCache, request: MapRequest, image_id: str) -> Tensor:
    stored = cache.get(f"{request.key}/{image_id}")
    if stored is None:
        raise RunError(f"image {image_id}: its {request.key} map is gone from the cache")
    return stored
