"""Small pictures of what a query was made from."""

import base64

import cv2
import numpy as np
import pytest

import strategies
from harness.acquisition import Counters
from harness.loop import run_strategy
from harness.maps import QueryRules
from harness.schedule import Schedule
from harness.thumbnails import _small
from tests.fakes import FakeNetworks, FakeOracle, MemoryWriter, no_stage

SIZES = {f"img_{i}": (24, 32) for i in range(6)}


def pixels(thumbnail) -> np.ndarray:
    return cv2.imdecode(
        np.frombuffer(base64.b64decode(thumbnail.png), np.uint8), cv2.IMREAD_UNCHANGED
    )


def test_a_thumbnail_keeps_order_and_marks_what_may_not_be_asked_for():
    values = np.arange(12, dtype=float).reshape(3, 4)
    values[0, 0] = -np.inf
    small = _small(values)
    assert (small.low, small.high) == (1.0, 11.0)
    grey = pixels(small)
    assert grey[0, 0] == 0
    assert grey[2, 3] == 255
    assert grey[0, 1] == 1
    assert (np.diff(grey.flatten()[1:].astype(int)) > 0).all()


@pytest.mark.parametrize("shape", [(1, 1), (897, 1921), (3, 200), (65, 65)])
def test_a_thumbnail_is_small_whatever_the_map(shape):
    grey = pixels(_small(np.random.default_rng(0).random(shape)))
    assert grey.shape[1] <= 64
    assert grey.min() >= 1


def test_a_map_that_is_the_same_everywhere_and_one_that_is_forbidden_everywhere():
    assert set(pixels(_small(np.full((4, 4), 3.0))).flatten()) == {128}
    assert set(pixels(_small(np.full((4, 4), -np.inf))).flatten()) == {0}


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("cereals-g1-entropy", "ics"),
        ("entropy-region", "is"),
        ("cheapest-region", "cs"),
        ("entropy-image", "is"),
    ],
)
def test_a_run_keeps_the_maps_of_the_images_that_it_asks_for(name, parts):
    writer = MemoryWriter(keeps_maps=True)
    strategy = strategies.make(name)
    common = {
        "schedule": Schedule(1, 1, 2),
        "rules": QueryRules(8, committee=3),
        "oracle": FakeOracle(SIZES),
        "sizes": SIZES,
    }
    run_strategy(
        strategy,
        0,
        networks=FakeNetworks(SIZES),
        writer=writer,
        finished=(),
        stage=no_stage,
        counters=Counters(),
        **common,
    )
    assert sorted(writer.maps) == [1, 2]
    for number, maps in writer.maps.items():
        asked = {receipt.image_id for receipt in writer.records[number].query}
        assert {entry.image for entry in maps} == asked
        for entry in maps:
            found = "".join(
                letter
                for letter, part in zip(
                    "ics", (entry.information, entry.cost, entry.score), strict=True
                )
                if part
            )
            assert found == parts
            top, left, height, width = entry.box
            if strategy.whole_image:
                assert entry.box == (0, 0, 24, 32)
            assert 0 <= top < 24
            assert 0 <= left < 32
            assert top + height <= 24
            assert left + width <= 32


def test_maps_change_no_query():
    strategy = strategies.make("cereals-g2-entropy")
    records = []
    for keeps in (True, False):
        writer = MemoryWriter(keeps_maps=keeps)
        common = {
            "schedule": Schedule(1, 1, 2),
            "rules": QueryRules(8, committee=3),
            "oracle": FakeOracle(SIZES),
            "sizes": SIZES,
        }
        run_strategy(
            strategy,
            0,
            networks=FakeNetworks(SIZES),
            writer=writer,
            finished=(),
            stage=no_stage,
            counters=Counters(),
            **common,
        )
        records.append(writer.records)
    assert records[0] == records[1]
