"""One toy run, byte for byte: a change here changes every published result, so raise a version and say why."""

import json
import os
from pathlib import Path

import pytest

import strategies
from harness.acquisition import Counters
from harness.loop import run_strategy
from harness.maps import QueryRules
from harness.results import dump_record
from harness.schedule import Schedule
from tests.fakes import FakeNetworks, FakeOracle, MemoryWriter, no_stage

GOLDEN = Path(__file__).parent / "toy_run.json"
SIZES = {f"img_{number}": (24, 32) for number in range(5)}


@pytest.mark.parametrize(
    "name", ["random-region", "cereals-g2-entropy-oracle-cost", "random-image"]
)
def test_the_toy_run_is_what_it_was(name):
    """Only strategies without learned maps: their queries are the same on every machine."""
    strategy = strategies.make(name)
    if strategy.measure is not None:
        from dataclasses import replace

        strategy = replace(strategy, measure=None, fuse=lambda _information, cost, _rng: 1.0 - cost)
    writer = MemoryWriter()
    run_strategy(
        strategy,
        3,
        schedule=Schedule(1, 1, 2),
        rules=QueryRules(window_px=7),
        oracle=FakeOracle(SIZES),
        sizes=SIZES,
        networks=FakeNetworks(SIZES),
        writer=writer,
        finished=(),
        stage=no_stage,
        counters=Counters(),
    )
    records = [json.loads(dump_record(record)) for record in writer.records]
    stored = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(json.dumps({**stored, name: records}, indent=1, sort_keys=True) + "\n")
    assert records == json.loads(GOLDEN.read_text())[name]
