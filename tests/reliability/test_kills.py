"""A run that is killed anywhere and started again ends with the bytes of one that was never killed. docs/reliability.md

More than 50 kills: one at each named point, before and after; one in each line; and chains of random ones.
"""

import os

import pytest

from tests.faults import POINTS, random_faults
from tests.reliability.conftest import (
    ARGUMENTS,
    KILLED,
    assert_ends_the_same,
    assert_nothing_lost,
    lines,
)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("point", POINTS)
def test_killed_at_a_named_point(folder, faults, undisturbed, point, after):
    """At the second call of each function that has one, so that there is something to lose."""
    place = folder / f"{point}-{after}".replace(" ", "-")
    place.mkdir()
    last = point == "writing the leaderboard"
    code = faults.run(
        place, *ARGUMENTS, point=point, call=1 if last else 2, after=after, tables=last
    )
    assert_nothing_lost(place / "out", undisturbed)
    if code != KILLED:
        assert point == "finding networks again"  # a run that is not disturbed has no need to
        code = faults.run(
            place, *ARGUMENTS, "--overwrite", point="selecting", call=2, after=False, tables=False
        )
        assert code == KILLED
        code = faults.run(place, *ARGUMENTS, point=point, call=1, after=after, tables=False)
        assert code == KILLED, (place / "log.txt").read_text()
    assert_ends_the_same(place, faults, undisturbed)


@pytest.mark.parametrize("line", range(1, 7))
def test_killed_in_the_middle_of_a_line(folder, faults, undisturbed, line):
    place = folder / f"torn-{line}"
    place.mkdir()
    assert faults.run(place, *ARGUMENTS, torn=line, tables=False) == KILLED
    assert_nothing_lost(place / "out", undisturbed)
    assert_ends_the_same(place, faults, undisturbed)


def chain(folder, faults, undisturbed, seed) -> int:
    """Kill one run five times; where it gets through in spite of a fault, go on with a new one."""
    kills, log = 0, random_faults(seed, longest_s=1.0)
    place = folder / f"chain-{seed}"
    place.mkdir()
    for number, fault in enumerate(log):
        killed = faults.run(place, *ARGUMENTS, tables=False, **fault) == KILLED
        kills += killed
        assert_nothing_lost(place / "out", undisturbed)
        if not killed:
            assert lines(place / "out") == undisturbed, log
            place = folder / f"chain-{seed}-{number}"
            place.mkdir()
    assert_ends_the_same(place, faults, undisturbed, log)
    return kills


@pytest.mark.parametrize("seed", range(6))
def test_killed_again_and_again_at_random(folder, faults, undisturbed, seed):
    assert chain(folder, faults, undisturbed, seed) > 1


@pytest.mark.skipif(
    "HARNESS_MANY_KILLS" not in os.environ, reason="set HARNESS_MANY_KILLS=1000 for as many chains"
)
def test_killed_for_hours(folder, faults, undisturbed):
    kills = sum(
        chain(folder, faults, undisturbed, 1000 + seed)
        for seed in range(int(os.environ["HARNESS_MANY_KILLS"]))
    )
    assert kills > 0
