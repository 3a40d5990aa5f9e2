"""Why these windows: a query made again from its networks, with all that decided about each window."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from harness.acquisition import Proposals, choose
from harness.types import Candidate, Receipt, Region, RoundRecord, Segment


@dataclass(frozen=True, slots=True)
class Neighbour:
    """The best placement that a window suppressed and that shares at most half of its pixels."""

    top: int
    left: int
    score: float


@dataclass(frozen=True, slots=True)
class WindowReason:
    """One window that was asked for.

    rank: its place among all candidates of the pool, from 1. information, cost: window sums in nats
    and predicted (or true) clicks; the scaled ones lie in [0, 1] over the pool. suppressed:
    placements that gave way to it, and not to a better window. polygon .. box: what it really cost.
    """

    image_id: str
    top: int
    left: int
    height: int
    width: int
    rank: int
    score: float
    information: float | None
    information_scaled: float | None
    cost: float | None
    cost_scaled: float | None
    suppressed: int
    strongest_suppressed: Neighbour | None
    polygon: int
    intersection: int
    box: int


@dataclass(frozen=True, slots=True)
class Explanation:
    """A round's query and its reasons.

    Reproduced says that the query made again is the recorded one.
    """

    strategy: str
    equation: str
    seed: int
    round: int
    images_in_the_pool: int
    candidates: int
    reproduced: bool
    windows: list[WindowReason]


@dataclass(frozen=True, slots=True)
class ImageMaps:
    """What the strategy saw of one image.

    Sums of all placements, and scores, -inf where one may not be asked for.
    """

    information: npt.NDArray[np.float64] | None
    cost: npt.NDArray[np.float64] | None
    scores: npt.NDArray[np.float64]


def explain(
    proposals: Proposals,
    budget_px: int,
    record: RoundRecord,
    *,
    seed: int,
) -> Explanation:
    """Make a round's query again and say for each of its windows why it was asked for."""
    recorded = [
        receipt.region.place
        if record.segments is None
        else (*receipt.region.place, record.segments[place])
        for place, receipt in enumerate(record.query)
    ]
    candidates = sorted(
        (
            candidate
            for image_id in proposals.source.pool.open_ids
            for candidate in proposals.of(image_id, -math.inf)
        ),
        key=lambda candidate: candidate.rank_key,
    )
    query = choose(proposals, candidates, budget_px)
    rank = {candidate.region: number for number, candidate in enumerate(candidates, start=1)}
    scores = {
        image_id: image_maps(proposals, image_id).scores
        for image_id in {candidate.region.image_id for candidate in query}
    }
    bills = dict(zip(recorded, record.query, strict=True))
    windows = []
    for candidate in query:
        region = candidate.region
        better = [
            other.region
            for other in candidates[: rank[region] - 1]
            if other.region.image_id == region.image_id
        ]
        near = _suppressed(
            region, scores[region.image_id], better, proposals.source.rules.stride_px
        )
        windows.append(
            _reason(
                proposals,
                candidate,
                rank[region],
                near,
                bills.get(region.place),
            )
        )
    made = [candidate.region.place for candidate in query]
    return Explanation(
        proposals.strategy.name,
        proposals.strategy.equation,
        seed,
        record.round,
        len(proposals.source.pool.open_ids),
        len(candidates),
        made == recorded,
        windows,
    )


def _reason(
    proposals: Proposals,
    candidate: Candidate,
    rank: int,
    near: tuple[int, Neighbour | None],
    bill: Receipt | None,
) -> WindowReason:
    region = candidate.region
    information, cost = proposals.scaled(candidate)
    return WindowReason(
        region.image_id,
        region.top,
        region.left,
        region.height,
        region.width,
        rank,
        candidate.score,
        candidate.information,
        information,
        candidate.cost,
        cost,
        *near,
        bill.polygon if bill else 0,
        bill.intersection if bill else 0,
        bill.box if bill else 0,
    )


def image_maps(proposals: Proposals, image_id: str) -> ImageMaps:
    """Return the maps of one image; of superpixels what each pixel's is worth."""
    information, cost = proposals.maps(image_id)
    scores, _ = proposals.scores(image_id, information, cost)

    def array(values: Tensor) -> npt.NDArray[np.float64]:
        return np.asarray(proposals.spread(values, image_id).numpy(), np.float64)

    return ImageMaps(
        None if information is None else array(information),
        None if cost is None else array(cost),
        array(scores),
    )


def _suppressed(
    region: Region, scores: npt.NDArray[np.float64], better: list[Region], stride: int
) -> tuple[int, Neighbour | None]:
    """Count the placements that gave way to a window, and not to a better one.

    Find the best that shares at most half of it. Superpixels are disjoint: none gives way.
    """
    if isinstance(region, Segment):
        return 0, None
    shared = _shared_px(region, scores.shape, stride)
    gave_way = (shared > 0) & np.isfinite(scores)
    for other in better:
        gave_way &= _shared_px(other, scores.shape, stride) == 0
    far = np.where(gave_way & (shared <= region.area_px / 2), scores, -np.inf)
    count = int(gave_way.sum()) - 1
    if not np.isfinite(far).any():
        return count, None
    y, x = np.unravel_index(int(far.argmax()), far.shape)
    return count, Neighbour(int(y) * stride, int(x) * stride, float(far[y, x]))


def _shared_px(region: Region, placements: tuple[int, ...], stride: int) -> npt.NDArray[np.int64]:
    """Return how many pixels each placement shares with a region of the same size."""
    down = np.clip(region.height - np.abs(np.arange(placements[0]) * stride - region.top), 0, None)
    across = np.clip(
        region.width - np.abs(np.arange(placements[1]) * stride - region.left), 0, None
    )
    return np.outer(down, across)
