"""One run: one strategy with one seed, round by round. No branch on a strategy's name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from harness.acquisition import Proposals, Tally, acquire
from harness.maps import MapCache, MemoryMaps, QueryRules
from harness.pool import LabelledPool
from harness.protocols import ImageSizes, Network, Oracle, RunWriter, Strategy
from harness.seeds import Purpose, generator
from harness.sketches import sketches
from harness.statistics import cost_quality
from harness.types import (
    Annotation,
    Candidate,
    Clicks,
    CostQuality,
    ImageAreas,
    Receipt,
    Region,
    RoundRecord,
)

if TYPE_CHECKING:
    from harness.networks import NetworkStore

FULL_DATA = "full-data"


@dataclass(frozen=True, slots=True)
class Schedule:
    """How much is bought when, in pixels; the same for every strategy of a board.

    Another unit is another class with ``room_px`` and ``buy``.

    shares: of the pool that may be labelled up to round 1, 2, ...; equal steps without them.
    """

    seed_images: int
    images_per_round: int
    rounds: int
    shares: tuple[float, ...] = ()

    def images(self, round_number: int, pool_images: int) -> int:
        """Return how many images' worth of pixels may be labelled up to and including a round."""
        if self.shares and round_number:
            return round(self.shares[round_number - 1] * pool_images)
        return self.seed_images + round_number * self.images_per_round

    def budget_px(self, round_number: int, sizes: ImageSizes) -> int:
        """Return the pixels of as many images of the pool's mean size."""
        images = self.images(round_number, len(sizes))
        return images * sum(height * width for height, width in sizes.values()) // len(sizes)

    def room_px(self, round_number: int, pool: LabelledPool) -> int:
        """Return how many new pixels a query of a round may ask for."""
        return self.budget_px(round_number, pool.sizes) - pool.labelled_px

    def buy(
        self,
        round_number: int,  # noqa: ARG002  other units look at it
        query: list[Candidate],
        pool: LabelledPool,
        oracle: Oracle,
    ) -> list[Annotation]:
        """Have a query annotated, from its first region on, as far as a round's budget goes.

        All of it here: a query of ``room_px`` is within the budget. The answers go into the pool.
        """
        annotations = oracle.annotate([candidate.region for candidate in query], pool)
        pool.add(annotations)
        return annotations


@dataclass(frozen=True, slots=True)
class Trained:
    """What a run needs of one round's networks, trained here or elsewhere."""

    key: str
    network: Network
    areas: list[ImageAreas]
    cost_quality: CostQuality | None
    maps: MapCache


StageTimer = Callable[[int, str], AbstractContextManager[None]]


def draw_seed_set(sizes: ImageSizes, n: int, seed: int) -> list[Candidate]:
    """Draw n whole images uniformly: the same for every strategy with this seed."""
    ids = sorted(sizes)
    chosen = generator(seed, 0, Purpose.SEED_SET).choice(len(ids), size=n, replace=False)
    return [_whole(ids[i], sizes) for i in sorted(chosen)]


def draw_pool(sizes: ImageSizes, n: int | None, seed: int) -> list[str]:
    """Draw the images of a seed's own pool, in the order of the data set; all without a number."""
    if n is None:
        return list(sizes)
    ids = sorted(sizes)
    drawn = generator(seed, 0, Purpose.SEED_SET, "pool").choice(len(ids), size=n, replace=False)
    chosen = {ids[i] for i in drawn}
    return [image_id for image_id in sizes if image_id in chosen]


def _whole(image_id: str, sizes: ImageSizes) -> Candidate:
    height, width = sizes[image_id]
    return Candidate(Region(image_id, 0, 0, height, width), 0.0, height * width)


def run_strategy(
    strategy: Strategy,
    seed: int,
    *,
    schedule: Schedule,
    rules: QueryRules,
    oracle: Oracle,
    sizes: ImageSizes,
    networks: NetworkStore,
    writer: RunWriter,
    finished: Sequence[RoundRecord],
    stage: StageTimer,
    tally: Tally,
) -> None:
    """Run all rounds that are not in ``finished``.

    Those are replayed through the oracle, without any network.
    """
    pool, clicks = LabelledPool(sizes), Clicks()
    trained: Trained | None = None
    for number in range(schedule.rounds + 1):
        if number < len(finished):
            query = [_from_receipt(receipt) for receipt in finished[number].query]
        elif number == 0:
            query = draw_seed_set(sizes, schedule.seed_images, seed)
        else:
            if strategy.needs_network and trained is None:
                trained = networks.obtain(pool, seed, number - 1, with_cost=strategy.learns_cost)
            with stage(number, "acquisition"):
                query = acquire(
                    strategy,
                    schedule.room_px(number, pool),
                    pool=pool,
                    predictor=trained.network if trained else None,
                    oracle=oracle,
                    rules=rules,
                    cache=trained.maps if trained else MemoryMaps(),
                    rng_for=lambda image_id, number=number: generator(
                        seed, number, Purpose.SCORES, image_id
                    ),  # type: ignore[misc]
                    tally=tally,
                    look=_sketcher(writer, number)
                    if writer.keeps_maps and strategy.needs_network
                    else None,
                )
        annotations = schedule.buy(number, query, pool, oracle)
        query = query[: len(annotations)]
        clicks = sum((annotation.clicks for annotation in annotations), clicks)
        if number < len(finished):
            continue
        before, more_to_buy = trained, number < schedule.rounds
        trained = networks.obtain(
            pool, seed, number, with_cost=more_to_buy and strategy.learns_cost
        )
        record = _record(
            number,
            query,
            annotations,
            pool,
            schedule.budget_px(number, sizes),
            clicks,
            trained,
            with_cost=strategy.learns_cost,
        )
        writer.append(
            replace(record, bought_quality=_bought_quality(strategy, query, annotations))
            if number
            else record
        )
        if before is not None:
            networks.release(before)
    if trained is not None:
        networks.release(trained)


def _sketcher(writer: RunWriter, number: int) -> Callable[[Proposals, list[Candidate]], None]:
    return lambda proposals, query: writer.keep_maps(number, sketches(proposals, query))


def run_full_data(
    seed: int, *, oracle: Oracle, sizes: ImageSizes, networks: NetworkStore, writer: RunWriter
) -> None:
    """Train the reference: the same recipe on every label of the pool."""
    pool = LabelledPool(sizes)
    query = [_whole(image_id, sizes) for image_id in sizes]
    annotations = oracle.annotate([candidate.region for candidate in query], pool)
    pool.add(annotations)
    clicks = sum((annotation.clicks for annotation in annotations), Clicks())
    trained = networks.obtain(pool, seed, 0, with_cost=False)
    writer.append(
        _record(0, query, annotations, pool, pool.total_px, clicks, trained, with_cost=False)
    )
    networks.release(trained)


def _record(
    number: int,
    query: list[Candidate],
    annotations: list[Annotation],
    pool: LabelledPool,
    budget_px: int,
    clicks: Clicks,
    trained: Trained,
    *,
    with_cost: bool,
) -> RoundRecord:
    return RoundRecord(
        round=number,
        query=[
            _receipt(candidate, annotation, bought=number > 0)
            for candidate, annotation in zip(query, annotations, strict=True)
        ],
        labelled_px=pool.labelled_px,
        budget_px=budget_px,
        clicks=clicks,
        areas=trained.areas,
        cost_quality=trained.cost_quality if with_cost else None,
        network=trained.key,
    )


def _bought_quality(
    strategy: Strategy, query: list[Candidate], annotations: list[Annotation]
) -> CostQuality | None:
    """Compare what was predicted for the windows just bought with what they cost.

    Their vertices, or their whole bill but the class clicks.
    """
    if not strategy.learns_cost:
        return None
    bills = [annotation.clicks for annotation in annotations]
    recorded = [
        bill.polygon + (bill.intersection + bill.box if strategy.cost == "whole" else 0)
        for bill in bills
    ]
    return cost_quality([candidate.cost or 0.0 for candidate in query], recorded)


def _receipt(candidate: Candidate, annotation: Annotation, *, bought: bool) -> Receipt:
    region, spent = candidate.region, annotation.clicks
    return Receipt(
        region.image_id,
        region.top,
        region.left,
        region.height,
        region.width,
        int(annotation.is_new.sum()),
        spent.polygon,
        spent.intersection,
        spent.box,
        spent.classes,
        candidate.score if bought else None,
        candidate.information,
        candidate.cost,
    )


def _from_receipt(receipt: Receipt) -> Candidate:
    return Candidate(
        receipt.region, receipt.score or 0.0, receipt.new_px, receipt.information, receipt.cost
    )
