"""A run that is killed anywhere and started again ends with the bytes of one that was never killed. docs/project/reliability.md

More than 50 kills: one at each named point, before and after; one in each line; and chains of random ones.
"""

import os
import shutil

import optuna
import pytest

from harness.tune.search import open_storage
from tests.faults import POINTS, random_faults
from tests.reliability.conftest import (
    ARGUMENTS,
    KILLED,
    STRATEGY,
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


# --------------------------------------------------------------------------------- other commands

TUNE = """
_base_ = ["tiny.py"]
harness = dict(rounds=1)
tune = dict(strategy=["cereals-g3-entropy"], parameters=dict(alpha=(0.0, 1.0)), seeds=[100], trials=2)
"""


def files_of(out) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}


@pytest.mark.parametrize("call", [1, 2, 4, 6])
def test_publishing_is_killed_and_leaves_whole_files(folder, faults, undisturbed, call):
    wanted = folder / f"published-{call}"
    shutil.copytree(folder / "undisturbed/out/runs", wanted / "out/runs")
    arguments = ("publish", "--allow-dirty", "--runs", "out")
    assert faults.run(wanted, *arguments) == 0
    whole = files_of(wanted / "out")
    place = folder / f"killed-publish-{call}"
    shutil.copytree(folder / "undisturbed/out/runs", place / "out/runs")
    assert faults.run(place, *arguments, point="a renamed file", call=call) == KILLED
    for name, content in files_of(place / "out").items():
        assert name.startswith(".") or content == whole[name], name
    assert faults.run(place, *arguments) == 0
    assert {n: c for n, c in files_of(place / "out").items() if not n.startswith(".")} == whole


@pytest.mark.parametrize("point", ["selecting", "appending a line", "saving weights"])
def test_repeating_a_run_is_killed_and_goes_on(folder, faults, point):
    arguments = ("noise", "--config", "../tiny.py", "--strategy", STRATEGY, "--repeats", "2")
    place = folder / f"killed-noise-{point}".replace(" ", "-")
    place.mkdir()
    assert faults.run(place, *arguments, point=point, call=2) == KILLED
    assert faults.run(place, *arguments) == 0, (place / "log.txt").read_text()
    assert "the runs are equal byte for byte" in (place / "log.txt").read_text()


@pytest.mark.parametrize("point", ["a renamed file", "a synced file"])
@pytest.mark.parametrize("call", [1, 2])
def test_checking_data_is_killed_and_begins_again(folder, faults, point, call):
    place = folder / f"killed-check-{point}-{call}".replace(" ", "-")
    place.mkdir()
    size = ("--size", "32x64", "--train", "3", "--val", "2", "--seed", str(50 + call))
    assert faults.run(place, "data", "make", "--out", "data", *size) == 0
    arguments = ("data", "check", "--data-root", "data")
    assert faults.run(place, *arguments, point=point, call=call) == KILLED
    assert faults.run(place, *arguments) == 0, (place / "log.txt").read_text()
    assert not [path for path in (folder / "cache/decoded").iterdir() if path.name[0] == "."]


@pytest.mark.parametrize("point", ["appending a line", "saving weights", "a renamed file"])
def test_a_search_is_killed_and_ends_with_no_trial_running(folder, faults, point):
    place = folder / f"killed-tune-{point}".replace(" ", "-")
    place.mkdir()
    (folder / "tiny_tune.py").write_text(TUNE)
    arguments = ("tune", "--config", "../tiny_tune.py", "--no-report", "--grace", "4")
    arguments += ("--workers", "1", "--write", "tuned.py")
    assert faults.run(place, *arguments, point=point, call=2) == KILLED
    assert faults.run(place, *arguments) == 0, (place / "log.txt").read_text()
    storage = open_storage(str(place / "tuning/study.journal"))
    (study,) = optuna.get_all_study_summaries(storage)
    states = [
        trial.state.name
        for trial in optuna.load_study(study_name=study.study_name, storage=storage).trials
    ]
    assert "RUNNING" not in states
    assert sum(state in {"COMPLETE", "PRUNED"} for state in states) >= 2
