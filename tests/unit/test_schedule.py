"""What may be bought when: equal pixels, or equal clicks."""

import json
from dataclasses import replace

import pytest

import strategies
from harness.acquisition import Counters
from harness.loop import run_strategy
from harness.maps import QueryRules
from harness.results import accounting, dump_record
from harness.schedule import ClickSchedule, Schedule
from harness.types import Clicks, ClickTotals
from tests.fakes import FakeNetworks, FakeOracle, MemoryWriter, no_stage

SIZES = {f"img_{number}": (24, 32) for number in range(8)}
NAMES = ["random-region", "cereals-g2-entropy", "random-image", "coreset"]


def run(schedule: Schedule, name: str, finished=(), oracle=None) -> MemoryWriter:
    writer = MemoryWriter()
    run_strategy(
        strategies.make(name),
        3,
        schedule=schedule,
        rules=QueryRules(window_px=8),
        oracle=oracle or FakeOracle(SIZES),
        sizes=SIZES,
        networks=FakeNetworks(SIZES),
        writer=writer,
        finished=finished,
        stage=no_stage,
        counters=Counters(),
    )
    return writer


def bills(record) -> list[int]:
    return [receipt.clicks.billed for receipt in record.query]


def in_clicks(*shares: float) -> ClickSchedule:
    return ClickSchedule(1, 0, len(shares), shares)


class DearOracle(FakeOracle):
    """What a region costs has nothing to do with its pixels, nor with what was paid before."""

    def __init__(self, sizes):
        super().__init__(sizes)
        self.totals = ClickTotals(1000, 100)

    def annotate(self, regions, pool):
        answers = super().annotate(regions, pool)
        return [replace(answer, clicks=Clicks(_price(answer.region))) for answer in answers]


def _price(region) -> int:
    return 1 + (7 * region.top + region.left) % 13 + region.area_px // 64


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("oracle", [FakeOracle(SIZES), DearOracle(SIZES)], ids=["even", "uneven"])
def test_a_budget_of_clicks_is_spent_and_passed_by_one_region_at_most(name, oracle):
    seed_set = run(Schedule(1, 0, 0), name, oracle=oracle).records[0].clicks.billed
    total = oracle.totals.polygon
    shares = tuple((seed_set + more) / total for more in (30, 64, 75))
    records = run(in_clicks(*shares), name, oracle=oracle).records
    assert records[0].budget_clicks is None
    for before, record, share in zip(records, records[1:], shares, strict=False):
        assert record.budget_clicks == round(share * total)
        assert record.clicks.billed >= record.budget_clicks
        most = before.clicks.billed + sum(bills(record)[:-1])
        assert most < record.budget_clicks or not record.query
    assert not list(accounting(records))
    again = run(in_clicks(*shares), name, finished=records[:2], oracle=oracle)
    assert again.records == records[2:]


def test_a_larger_query_begins_with_the_smaller_one():
    """The first query is too small where windows cost less than was paid before: it is made again."""
    cheap = DearOracle(SIZES)
    wanted = run(in_clicks(0.3), "cereals-g2-entropy", oracle=cheap).records[1].query
    every = run(Schedule(1, 7, 1), "cereals-g2-entropy", oracle=cheap).records[1].query
    assert 1 < len(wanted) < len(every)
    assert wanted == every[: len(wanted)]


SELECTING = ["coreset", "badge", "entropy-coreset", "typiclust", "entropy-spread", "spatial"]


@pytest.mark.parametrize("name", ["cereals-g2-entropy", "random-region", *SELECTING])
def test_what_was_not_bought_decides_nothing(name):
    """The first query costs less than the budget; other regions cost what they like."""
    schedule = in_clicks(0.25, 0.4)
    records = run(schedule, name, oracle=DearOracle(SIZES)).records
    bought = {receipt.region for record in records for receipt in record.query}

    class Other(DearOracle):
        def annotate(self, regions, pool):
            answers = super().annotate(regions, pool)
            return [
                answer if answer.region in bought else replace(answer, clicks=Clicks(0))
                for answer in answers
            ]

    assert run(schedule, name, oracle=Other(SIZES)).records == records


@pytest.mark.parametrize("name", SELECTING)
def test_a_choice_among_candidates_is_bought_before_there_is_another(name):
    records = run(in_clicks(0.3), name, oracle=DearOracle(SIZES)).records
    assert records[1].clicks.billed >= records[1].budget_clicks
    assert len({receipt.region for receipt in records[1].query}) == len(records[1].query)
    assert not list(accounting(records))


def test_a_pool_that_costs_less_than_the_budget_is_bought_whole():
    records = run(in_clicks(1.0), "random-image", oracle=DearOracle(SIZES)).records
    assert records[1].labelled_px == 8 * 24 * 32
    assert records[1].clicks.billed < records[1].budget_clicks


def test_a_budget_that_the_seed_set_has_spent_buys_nothing():
    records = run(in_clicks(1e-6, 0.2), "random-region").records
    assert records[1].query == []
    assert records[2].query


def test_accounting_finds_clicks_beyond_the_budget():
    records = run(in_clicks(0.3, 0.5), "random-region").records
    low = replace(records[1], budget_clicks=records[1].budget_clicks - max(bills(records[1])) - 1)
    assert any("before its last region" in line for line in accounting([records[0], low]))
    falling = [*records[:2], replace(records[2], budget_clicks=1)]
    assert any("the budget falls" in line for line in accounting(falling))


@pytest.mark.parametrize("schedule", [Schedule(1, 1, 1), in_clicks(0.2)], ids=["px", "clicks"])
def test_only_a_record_of_equal_clicks_mentions_them(schedule):
    record = run(schedule, "random-region").records[1]
    assert ("budget_clicks" in json.loads(dump_record(record))) == (
        record.budget_clicks is not None
    )


@pytest.mark.parametrize("name", ["random-region", "cereals-g2-entropy", "random-image"])
def test_pixels_are_equal(name):
    schedule = Schedule(1, 1, 2)
    px = 24 * 32
    records = run(schedule, name).records
    assert [record.budget_px for record in records] == [px, 2 * px, 3 * px]
    window = px if name.endswith("image") else 64
    assert all(0 <= r.budget_px - r.labelled_px < window for r in records)
