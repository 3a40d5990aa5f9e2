"""One run: one strategy with one seed, round by round. No branch on a strategy's name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from harness.acquisition import Counters, Proposals, acquire
from harness.errors import RunError
from harness.maps import MapCache, MemoryMaps, QueryRules
from harness.pool import LabelledPool
from harness.protocols import ImageSizes, Network, Oracle, RunWriter, Strategy
from harness.schedule import Schedule
from harness.seeds import Purpose, generator
from harness.statistics import cost_quality
from harness.thumbnails import thumbnails
from harness.types import (
    Annotation,
    Candidate,
    Clicks,
    CostQuality,
    ImageAreas,
    Receipt,
    Region,
    RoundRecord,
    Segment,
)

if TYPE_CHECKING:
    from harness.networks import NetworkStore


@dataclass(frozen=True, slots=True)
class StoredNetwork:
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
    counters: Counters,
) -> None:
    """Run all rounds that are not in ``finished``.

    Those are replayed through the oracle, without any network.
    """
    pool, clicks = LabelledPool(sizes), Clicks()
    trained: StoredNetwork | None = None
    for number in range(schedule.rounds + 1):
        answers: list[Annotation] | None = None
        if number < len(finished):
            query = bought_again(finished[number], strategy, rules)
        elif number == 0:
            query = draw_seed_set(sizes, schedule.seed_images, seed)
        else:
            if strategy.needs_network and trained is None:
                trained = networks.get_or_train(
                    pool, seed, number - 1, with_cost=strategy.learns_cost
                )
            with stage(number, "acquisition"):
                query, answers = _query(
                    strategy,
                    number,
                    seed,
                    schedule=schedule,
                    spent=clicks,
                    pool=pool,
                    trained=trained,
                    oracle=oracle,
                    rules=rules,
                    counters=counters,
                    on_query=_thumbnail_keeper(writer, number)
                    if writer.keeps_maps and strategy.needs_network
                    else None,
                )
        if answers is None:
            answers = oracle.annotate([candidate.region for candidate in query], pool)
            pool.add(answers)
        clicks = sum((answer.clicks for answer in answers), clicks)
        if number < len(finished):
            continue
        before, more_to_buy = trained, number < schedule.rounds
        trained = networks.get_or_train(
            pool, seed, number, with_cost=more_to_buy and strategy.learns_cost
        )
        record = _record(
            number,
            query,
            answers,
            pool,
            schedule.budget_px(number, sizes),
            clicks,
            trained,
            with_cost=strategy.learns_cost,
            budget_clicks=schedule.budget_clicks(number, oracle.totals),
        )
        writer.append(
            replace(record, bought_quality=_bought_quality(strategy, query, answers))
            if number
            else record
        )
        if before is not None:
            networks.discard(before)
    if trained is not None:
        networks.discard(trained)


def _query(
    strategy: Strategy,
    number: int,
    seed: int,
    *,
    schedule: Schedule,
    spent: Clicks,
    pool: LabelledPool,
    trained: StoredNetwork | None,
    oracle: Oracle,
    rules: QueryRules,
    counters: Counters,
    on_query: Callable[[Proposals, list[Candidate]], None] | None,
) -> tuple[list[Candidate], list[Annotation]]:
    """Buy what a strategy asks for in a round, and have it ask for more until the budget is spent.

    Clicks of regions that are not bought decide nothing: by score alone a larger query begins with
    the smaller one; what a strategy's ``select`` chose is bought, and it chooses again among the
    rest.
    """
    query: list[Candidate] = []
    answers: list[Annotation] = []
    seen: list[Proposals] = []
    cache = trained.maps if trained else MemoryMaps()
    room_px = schedule.room_px(number, pool, spent, oracle.totals)
    while True:
        asked = acquire(
            strategy,
            room_px,
            pool=pool,
            predictor=trained.network if trained else None,
            oracle=oracle,
            rules=rules,
            cache=cache,
            rng_for=lambda image_id: generator(seed, number, Purpose.SCORES, image_id),
            counters=Counters() if seen else counters,
            on_query=lambda proposals, _: seen.append(proposals),
        )
        given = oracle.annotate([candidate.region for candidate in asked], pool)
        paid = schedule.bought(number, given, spent, oracle.totals)
        most_px = pool.total_px - pool.labelled_px
        is_last = paid is not None or room_px >= most_px
        if is_last or (strategy.select is not None and asked):
            query += asked[:paid]
            answers += given[:paid]
            pool.add(given[:paid])
        if is_last:
            break
        if strategy.select is not None and asked:
            spent = sum((answer.clicks for answer in given), spent)
            room_px = schedule.room_px(number, pool, spent, oracle.totals)
            cache = MemoryMaps()  # what was just bought carries no information any more
        else:
            room_px = min(2 * room_px, most_px)
    if on_query is not None:
        on_query(seen[-1], query)
    return query, answers


def _thumbnail_keeper(
    writer: RunWriter, number: int
) -> Callable[[Proposals, list[Candidate]], None]:
    return lambda proposals, query: writer.keep_maps(number, thumbnails(proposals, query))


def run_full_data(
    seed: int, *, oracle: Oracle, sizes: ImageSizes, networks: NetworkStore, writer: RunWriter
) -> None:
    """Train the reference: the same recipe on every label of the pool."""
    pool = LabelledPool(sizes)
    query = [_whole(image_id, sizes) for image_id in sizes]
    annotations = oracle.annotate([candidate.region for candidate in query], pool)
    pool.add(annotations)
    clicks = sum((annotation.clicks for annotation in annotations), Clicks())
    trained = networks.get_or_train(pool, seed, 0, with_cost=False)
    writer.append(
        _record(0, query, annotations, pool, pool.total_px, clicks, trained, with_cost=False)
    )
    networks.discard(trained)


def _record(
    number: int,
    query: list[Candidate],
    annotations: list[Annotation],
    pool: LabelledPool,
    budget_px: int,
    clicks: Clicks,
    trained: StoredNetwork,
    *,
    with_cost: bool,
    budget_clicks: int | None = None,
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
        budget_clicks=budget_clicks,
        segments=_segments(query),
    )


def _segments(query: list[Candidate]) -> list[int] | None:
    regions = [candidate.region for candidate in query]
    numbers = [region.number if isinstance(region, Segment) else -1 for region in regions]
    return numbers if any(number >= 0 for number in numbers) else None


def _bought_quality(
    strategy: Strategy, query: list[Candidate], annotations: list[Annotation]
) -> CostQuality | None:
    """Compare what was predicted for the windows just bought with what they cost.

    Their vertices, or their whole bill but the class clicks.
    """
    if not strategy.predicts_cost:
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


def bought_again(record: RoundRecord, strategy: Strategy, rules: QueryRules) -> list[Candidate]:
    """Return what a finished round bought."""
    numbers = record.segments or [-1] * len(record.query)
    return [
        Candidate(
            _region(receipt, number, strategy, rules),
            receipt.score or 0.0,
            receipt.new_px,
            receipt.information,
            receipt.cost,
        )
        for receipt, number in zip(record.query, numbers, strict=True)
    ]


def _region(receipt: Receipt, number: int, strategy: Strategy, rules: QueryRules) -> Region:
    """Return the region of a receipt: a rectangle, or a superpixel.

    Raises:
        RunError: the superpixels that are made today are others.
    """
    if number < 0 or strategy.superpixels is None:
        return receipt.region
    every = rules.superpixels_of(strategy, receipt.image_id)
    found = every[number] if number < len(every) else None
    same = found is not None and found.place == (*receipt.region.place, number)
    whole = found is not None and (rules.allow_overlap or found.size_px == receipt.new_px)
    if found is None or not (same and whole):
        raise RunError(
            f"image {receipt.image_id}: superpixel {number} must be at {receipt.top}, "
            f"{receipt.left}, as was recorded; scikit-image cuts the photograph otherwise now"
        )
    return found
