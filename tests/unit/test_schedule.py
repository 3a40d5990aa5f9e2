"""What may be bought when; and that another unit than pixels is one class."""

from dataclasses import dataclass

import pytest

import strategies
from harness.acquisition import Tally
from harness.loop import Schedule, run_strategy
from harness.maps import QueryRules
from harness.types import Annotation, Candidate
from tests.fakes import FakeNetworks, FakeOracle, MemoryWriter, no_stage

SIZES = {f"img_{number}": (24, 32) for number in range(8)}


@dataclass(frozen=True, slots=True)
class ClickSchedule(Schedule):
    """Each round buys, region by region, until so many clicks are spent; it overshoots by one at most."""

    clicks: tuple[int, ...] = ()

    def room_px(self, round_number, pool) -> int:
        return pool.total_px - pool.labelled_px

    def buy(self, round_number, query: list[Candidate], pool, oracle) -> list[Annotation]:
        answers: list[Annotation] = []
        for candidate in query:
            if round_number and _bill(answers) >= self.clicks[round_number - 1]:
                break
            answers += oracle.annotate([candidate.region], pool)
            pool.add(answers[-1:])
        return answers


def _bill(answers: list[Annotation]) -> int:
    clicks = [answer.clicks for answer in answers]
    return sum(one.polygon + one.intersection + one.box for one in clicks)


def run(schedule: Schedule, name: str, finished=()) -> MemoryWriter:
    writer = MemoryWriter()
    run_strategy(
        strategies.make(name),
        3,
        schedule=schedule,
        rules=QueryRules(window_px=8),
        oracle=FakeOracle(SIZES),
        sizes=SIZES,
        networks=FakeNetworks(SIZES),
        writer=writer,
        finished=finished,
        stage=no_stage,
        tally=Tally(),
    )
    return writer


@pytest.mark.parametrize("name", ["random-region", "cereals-g2-entropy", "random-image"])
def test_another_unit_is_one_class(name):
    budgets = (30, 40)
    records = run(ClickSchedule(1, 0, 2, clicks=budgets), name).records
    assert len(records) == 3
    for record, budget in zip(records[1:], budgets, strict=True):
        bills = [receipt.polygon + receipt.intersection + receipt.box for receipt in record.query]
        assert sum(bills) >= budget
        assert sum(bills[:-1]) < budget
    again = run(ClickSchedule(1, 0, 2, clicks=budgets), name, finished=records[:2])
    assert again.records == records[2:]


@pytest.mark.parametrize("name", ["random-region", "cereals-g2-entropy", "random-image"])
def test_pixels_are_equal(name):
    schedule = Schedule(1, 1, 2)
    px = 24 * 32
    records = run(schedule, name).records
    assert [record.budget_px for record in records] == [px, 2 * px, 3 * px]
    window = px if name.endswith("image") else 64
    assert all(0 <= r.budget_px - r.labelled_px < window for r in records)
