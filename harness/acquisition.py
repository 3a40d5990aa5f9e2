"""From trained networks to a query.

Pass 1 makes region maps, pass 2 scales, fuses, suppresses and selects.

Pass 1 sees every image that is not labelled in full once and keeps window sums and their bounds.
Pass 2 needs the pool's minimum and maximum, so it starts when pass 1 is over; it keeps the k-th
best score, and an image stops giving candidates when it can place no more. The result is that of
the simple form: all maps in memory, full greedy suppression, one sort over the pool.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.context import QueryContext
from harness.errors import RunError
from harness.maps import (
    MapCache,
    MapRequest,
    MapSource,
    QueryRules,
    Requests,
    check_tensor,
    requests_of,
)
from harness.pool import LabelledPool
from harness.protocols import Oracle, Predictor, Strategy
from harness.regions import (
    ConditionalCosts,
    CostDistribution,
    RunningBest,
    non_maximum_suppression,
    rescale,
    select_within_budget,
    take_within_budget,
)
from harness.types import Candidate, Region

RngFor = Callable[[str], np.random.Generator]

MOST_COSTS = 1 << 20
"""Choice: of more placements than this, a scale of costs knows every n-th of each image."""


@dataclass(slots=True)
class Counters:
    """How much work was asked for, and how much of it had to be done."""

    trainings_asked: int = 0
    trainings_run: int = 0
    images_asked: int = 0
    images_predicted: int = 0

    def __add__(self, other: Counters) -> Counters:
        return Counters(
            self.trainings_asked + other.trainings_asked,
            self.trainings_run + other.trainings_run,
            self.images_asked + other.images_asked,
            self.images_predicted + other.images_predicted,
        )

    def __sub__(self, other: Counters) -> Counters:
        return Counters(
            self.trainings_asked - other.trainings_asked,
            self.trainings_run - other.trainings_run,
            self.images_asked - other.images_asked,
            self.images_predicted - other.images_predicted,
        )


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
    """Pass 1: fill the cache with what is missing, each image predicted once for all requests.

    Returns:
        How many images were predicted.

    Raises:
        RunError: a map with NaN or infinite values; the message names the image.
    """
    source, wanted = MapSource(pool, predictor, oracle, rules), list(dict.fromkeys(requests))
    missing = {
        image_id: [
            request for request in wanted if cache.bounds(f"{request.key}/{image_id}") is None
        ]
        for image_id in image_ids
    }
    predicted = [
        image_id
        for image_id, due in missing.items()
        if any(request.needs_network for request in due)
    ]
    due_now = [request.learn for due in missing.values() for request in due]
    for learn in dict.fromkeys(learn for learn in due_now if learn is not None):
        source.learned(learn)
    if predictor is not None:
        predictor.expect(predicted)
    for image_id, due in missing.items():
        for request in due:
            region_map = source.region_map(request, image_id)
            bounds = _bounds(
                region_map,
                source.forbidden(
                    image_id,
                    whole_image=request.whole_image,
                    superpixel_px=request.superpixel_px,
                ),
            )
            cache.put(f"{request.key}/{image_id}", region_map, bounds)
    return len(predicted)


def _bounds(region_map: Tensor, forbidden: Tensor | None) -> tuple[float, float]:
    """Return the smallest and largest value that may be asked for; (inf, -inf) if there is none."""
    values = region_map if forbidden is None else region_map[~forbidden]
    if not values.numel():
        return math.inf, -math.inf
    low, high = torch.aminmax(values)
    return float(low), float(high)


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
    counters: Counters | None = None,
    on_query: Callable[[Proposals, list[Candidate]], None] | None = None,
) -> list[Candidate]:
    """Choose the regions to ask for, within a budget of new pixels.

    Choice: scaling bounds are taken over the placements that may be asked for, not over those that
    touch labelled pixels.

    Args:
        on_query: called with what the query was made from, and the query.

    Returns:
        The query by falling score; ``information`` and ``cost`` of each candidate are its unscaled
        window sums.
    """
    proposals, predicted = prepare(
        strategy,
        pool=pool,
        predictor=predictor,
        oracle=oracle,
        rules=rules,
        cache=cache,
        rng_for=rng_for,
    )
    best = RunningBest(_most_px(strategy, budget_px, rules))
    candidates: list[Candidate] = []
    for image_id in pool.open_ids:
        for candidate in proposals.of(image_id, best.floor):
            best.add(candidate.score, candidate.new_px)
            candidates.append(candidate)
    if counters is not None and strategy.needs_network:
        counters.images_asked += len(pool.open_ids)
        counters.images_predicted += predicted + proposals.predicted_again
    query = choose(proposals, candidates, budget_px)
    if on_query is not None:
        on_query(proposals, query)
    return query


def choose(
    proposals: Proposals, candidates: Iterable[Candidate], budget_px: int
) -> list[Candidate]:
    """Choose a query among all candidates, or among those that can still be in it."""
    strategy, source = proposals.strategy, proposals.source
    if strategy.select is None:
        return select_within_budget(candidates, budget_px)
    context = QueryContext(source.pool, source.predictor, proposals.rng_for(""))
    considered = select_within_budget(candidates, _most_px(strategy, budget_px, source.rules))
    return select_by(strategy, considered, budget_px, context)


def _most_px(strategy: Strategy, budget_px: int, rules: QueryRules) -> int:
    """Return how many pixels of candidates are looked at: with ``select``, many times the budget."""
    budget_px = max(0, budget_px)
    if strategy.select is None:
        return budget_px
    if not (strategy.whole_image or strategy.superpixels or rules.allow_overlap):
        budget_px -= budget_px % rules.window_px**2  # as many whole windows as fit
    return budget_px * strategy.considered


def prepare(
    strategy: Strategy,
    *,
    pool: LabelledPool,
    predictor: Predictor | None,
    oracle: Oracle,
    rules: QueryRules,
    cache: MapCache,
    rng_for: RngFor,
) -> tuple[Proposals, int]:
    """Do pass 1; return what pass 2 asks, image by image, and how many images were predicted."""
    image_ids, requests = pool.open_ids, requests_of(strategy, rules)
    predicted = scan(
        image_ids, requests, pool=pool, predictor=predictor, oracle=oracle, rules=rules, cache=cache
    )
    bounds = {request: _pool_bounds(request, image_ids, cache) for request in requests}
    proposals = Proposals(
        strategy, MapSource(pool, predictor, oracle, rules), cache, bounds, rng_for
    )
    if strategy.scaled and strategy.cost_scale != "linear":
        proposals.costs = proposals.scale_of_costs(requests)
    return proposals, predicted


def _pool_bounds(request: MapRequest, image_ids: list[str], cache: MapCache) -> tuple[float, float]:
    found = []
    for image_id in image_ids:
        bounds = cache.bounds(f"{request.key}/{image_id}")
        if bounds is None:
            raise RunError(
                f"image {image_id}: its {request.key} map is gone from the cache; the same command "
                "makes it again"
            )
        found.append(bounds)
    low, high = (
        min((low for low, _ in found), default=0.0),
        max((high for _, high in found), default=0.0),
    )
    return (low, high) if low <= high else (0.0, 0.0)


@dataclass(slots=True)
class Proposals:
    """Pass 2 over one image after another."""

    strategy: Strategy
    source: MapSource
    cache: MapCache
    bounds: dict[MapRequest, tuple[float, float]]
    rng_for: RngFor
    predicted_again: int = 0
    costs: CostDistribution | ConditionalCosts | None = None

    def of(self, image_id: str, floor: float) -> Iterator[Candidate]:
        """Yield one image's candidates that can still enter the query, by falling score."""
        if self.strategy.superpixels is not None:
            yield from self._superpixels_of(image_id, floor)
            return
        rules, whole_image = self.source.rules, self.strategy.whole_image
        window = rules.window(self.strategy, self.source.pool.sizes[image_id])
        information, cost = self.maps(image_id)
        scores, forbidden = self.scores(image_id, information, cost)
        new_px = (
            self.source.new_px(image_id, whole_image=whole_image)[0]
            if rules.allow_overlap and forbidden is not None
            else None
        )
        height, width = (window, window) if isinstance(window, int) else window
        for top, left, score in non_maximum_suppression(
            scores, window, stride=rules.stride_px, floor=floor
        ):
            at = (top // rules.stride_px, left // rules.stride_px)
            yield Candidate(
                Region(image_id, top, left, height, width),
                score,
                height * width if new_px is None else int(new_px[at]),
                None if information is None else float(information[at]),
                None if cost is None else float(cost[at]),
            )

    def _superpixels_of(self, image_id: str, floor: float) -> Iterator[Candidate]:
        """Yield one image's superpixels by falling score; they are disjoint: none suppresses another."""
        rules = self.source.rules
        information, cost = self.maps(image_id)
        scores, forbidden = self.scores(image_id, information, cost)
        row = scores[0].numpy()
        regions = rules.superpixels_of(self.strategy, image_id)
        new_px = [region.area_px for region in regions]
        if forbidden is not None:
            segments = rules.segments(image_id, rules.superpixel_px(self.strategy))
            unlabelled = ~self.source.pool.is_labelled(image_id)
            new_px = np.bincount(segments[unlabelled], minlength=len(regions)).tolist()
        for number in np.argsort(-row, kind="stable").tolist():
            score = float(row[number])
            if score == -math.inf or score < floor:
                return
            yield Candidate(
                regions[number],
                score,
                new_px[number],
                None if information is None else float(information[0, number]),
                None if cost is None else float(cost[0, number]),
            )

    def _made(self, requests: Iterable[MapRequest], image_id: str) -> dict[MapRequest, Tensor]:
        """Return maps of an image: from the cache, or made again where they had no room."""
        found = {request: self.cache.get(f"{request.key}/{image_id}") for request in requests}
        again = [request for request, region_map in found.items() if region_map is None]
        self.predicted_again += any(request.needs_network for request in again)
        made = {request: self.source.region_map(request, image_id) for request in again}
        return {request: made.get(request, kept) for request, kept in found.items()}  # type: ignore[misc]

    def maps(self, image_id: str) -> tuple[Tensor | None, Tensor | None]:
        """Return information and cost of all placements.

        From the cache, or made again where it had no room.
        """
        requests = requests_of(self.strategy, self.source.rules)
        information, cost = requests.information, requests.cost
        made = self._made([item for item in (information, cost) if item is not None], image_id)
        return (
            None if information is None else made[information],
            None if cost is None else made[cost],
        )

    def scores(
        self, image_id: str, information: Tensor | None, cost: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return the fused scores of all placements, -inf where forbidden, and which ones are.

        None where none is.
        """
        scores = self._fused(image_id, information, cost)
        forbidden = self._forbidden(image_id)
        return scores if forbidden is None else scores.masked_fill(forbidden, -math.inf), forbidden

    def _forbidden(self, image_id: str) -> Tensor | None:
        """Return which placements may not be asked for; None where all may."""
        return self.source.forbidden(
            image_id,
            whole_image=self.strategy.whole_image,
            superpixel_px=self.source.rules.superpixel_px(self.strategy),
        )

    def spread(self, region_map: Tensor, image_id: str) -> Tensor:
        """Return a region map as a picture: of superpixels (H, W), of windows as it is."""
        px = self.source.rules.superpixel_px(self.strategy)
        if not px:
            return region_map
        return torch.from_numpy(region_map[0].numpy()[self.source.rules.segments(image_id, px)])

    def scale_of_costs(self, requests: Requests) -> CostDistribution | ConditionalCosts | None:
        """Read the costs of all regions that may be asked for; None where there is none."""
        if requests.cost is None:
            return None
        image_ids = self.source.pool.open_ids
        step = -(-sum(math.prod(self._placements(one)) for one in image_ids) // MOST_COSTS)
        if self.strategy.cost_scale != "conditional":
            costs = self._sample(requests.cost, step)
            return CostDistribution(costs) if costs.size else None
        if requests.information is None:
            raise RunError(f"{self.strategy.name} has no information to compare like with like")
        information, costs = (
            self._sample(request, step) for request in (requests.information, requests.cost)
        )
        return ConditionalCosts(information, costs) if costs.size else None

    def _sample(self, request: MapRequest, step: int) -> npt.NDArray[np.float64]:
        """Return every ``step``-th region's sum, of those that may be asked for."""
        found = []
        for image_id in self.source.pool.open_ids:
            every = self._made([request], image_id)[request].flatten()[::step]
            forbidden = self._forbidden(image_id)
            found.append(every if forbidden is None else every[~forbidden.flatten()[::step]])
        return torch.cat(found).numpy() if found else np.empty(0)

    def scaled(self, candidate: Candidate) -> tuple[float | None, float | None]:
        """Return a candidate's information and cost on the pool's scales, in [0, 1]."""
        requests = requests_of(self.strategy, self.source.rules)
        information, cost = (
            None if value is None else torch.tensor([[value]], dtype=torch.float64)
            for value in (candidate.information, candidate.cost)
        )
        return (
            None
            if information is None or requests.information is None
            else float(rescale(information, *self.bounds[requests.information])),
            None
            if cost is None or requests.cost is None
            else float(self._cost_on_scale(cost, requests.cost, information)),
        )

    def _scaled(self, region_map: Tensor, request: MapRequest) -> Tensor:
        """Return a region map as the strategy's score sees it; not its cost."""
        return rescale(region_map, *self.bounds[request]) if self.strategy.scaled else region_map

    def _cost_on_scale(
        self, cost: Tensor, request: MapRequest, information: Tensor | None
    ) -> Tensor:
        """Return costs on the strategy's scale, in [0, 1]."""
        match self.costs:
            case ConditionalCosts() if information is not None:
                return self.costs.rank(cost, information)
            case CostDistribution():
                robust = self.strategy.cost_scale == "robust"
                return self.costs.robust(cost) if robust else self.costs.rank(cost)
            case _:
                return rescale(cost, *self.bounds[request])

    def _fused(self, image_id: str, information: Tensor | None, cost: Tensor | None) -> Tensor:
        requests = requests_of(self.strategy, self.source.rules)
        if information is None or requests.information is None:
            scaled = torch.zeros(self._placements(image_id), dtype=torch.float64)
        else:
            scaled = self._scaled(information, requests.information)
        if cost is None or requests.cost is None:
            scaled_cost = torch.zeros_like(scaled) if self.strategy.cost == "constant" else None
        elif self.strategy.scaled:
            scaled_cost = self._cost_on_scale(cost, requests.cost, information)
        else:
            scaled_cost = cost
        rng = self.rng_for(image_id)
        if self.strategy.score is not None:
            further = self._made([request for _, request in requests.further], image_id)
            named = {
                "information": None if requests.information is None else scaled,
                "cost": scaled_cost,
                **{
                    name: self._scaled(further[request], request)
                    for name, request in requests.further
                },
            }
            given = {name: values for name, values in named.items() if values is not None}
            scores = self.strategy.score(given, rng)
        elif self.strategy.fuse is not None:
            scores = self.strategy.fuse(scaled, scaled_cost, rng)
        else:
            raise RunError(f"the strategy {self.strategy.name} needs a fuse or a score")
        what = f"image {image_id}: the scores of {self.strategy.name}"
        check_tensor(scores, tuple(scaled.shape), what)
        scores = scores.detach().to("cpu", torch.float64)
        # the smallest and the largest tell as much as a mask of all would, ten times sooner
        if not all(math.isfinite(bound) for bound in torch.aminmax(scores)):
            raise RunError(f"{what} must be finite, got NaN or infinite ones")
        return scores

    def _placements(self, image_id: str) -> tuple[int, int]:
        """Return how many placements a window has along each axis of an image."""
        if self.strategy.whole_image:
            return 1, 1
        rules = self.source.rules
        if px := rules.superpixel_px(self.strategy):
            return 1, int(rules.segments(image_id, px).max()) + 1
        height, width = (
            (side - rules.window_px) // rules.stride_px + 1
            for side in self.source.pool.sizes[image_id]
        )
        return height, width


def select_by(
    strategy: Strategy, candidates: list[Candidate], budget_px: int, context: QueryContext
) -> list[Candidate]:
    """Let a strategy choose among its best candidates, and hold it to the budget.

    Choice: what it leaves of the budget is filled with the best of the others, so that pixels stay
    equal; what it chose beyond the budget is not bought.

    Raises:
        RunError: it returned something else than some of the candidates, each once.
    """
    best = sorted(candidates, key=lambda item: item.rank_key)
    chosen = strategy.select(list(best), budget_px, context) if strategy.select and best else []
    taken = {id(item) for item in chosen} if isinstance(chosen, list) else None
    if taken is None or len(taken) < len(chosen) or not taken <= {id(item) for item in best}:
        raise RunError(f"select of {strategy.name} must return some of its candidates, each once")
    others = (item for item in best if id(item) not in taken)
    return take_within_budget([*chosen, *others], budget_px)
