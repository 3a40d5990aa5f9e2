"""How far a board is, read from its files."""

import json

import pytest

from harness.claims import claim
from harness.errors import InputError
from harness.experiment import CLAIM_FOLDER, WORK_FOLDER
from harness.results import run_path
from harness.status import read_status, remove_plan, write_plan


def rounds(out, name, seed, count, seconds=10.0):
    folder = run_path(out, name, seed)
    folder.mkdir(parents=True)
    (folder / "rounds.jsonl").write_text("{}\n" * count + '{"torn')
    rows = [{"round": number, "training": seconds} for number in range(count)]
    (folder / "timings.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_each_run_is_finished_running_failed_or_waiting(tmp_path):
    write_plan(tmp_path, ["a", "b"], [0, 1], 2, references=True)
    rounds(tmp_path, "full-data", 0, 1, 100.0)
    rounds(tmp_path, "a", 0, 3)
    rounds(tmp_path, "b", 0, 1, 20.0)
    (rounds(tmp_path, "a", 1, 1) / "failure.txt").write_text("loss is NaN\n\nTraceback")
    with claim(tmp_path / WORK_FOLDER / CLAIM_FOLDER, "b seed 0"):
        found = read_status(tmp_path)
    states = {(run.strategy, run.seed): (run.state, run.rounds) for run in found.runs}
    assert states == {
        ("full-data", 0): ("finished", 1),
        ("full-data", 1): ("waiting", 0),
        ("a", 0): ("finished", 3),
        ("a", 1): ("failed", 1),
        ("b", 0): ("running", 1),
        ("b", 1): ("waiting", 0),
    }
    assert found.of("failed")[0].failure == "loss is NaN"
    assert found.at_work == 1
    # full-data 1: 100; b 0, rounds 1 and 2: those of a, 10 each; b 1, round 0: that of b, 20, and 10, 10
    assert found.seconds_left == pytest.approx(100 + 2 * 10 + 20 + 2 * 10)
    assert read_status(tmp_path).of("running") == []


def test_plans_of_several_commands_are_added_up_and_forgotten_in_the_end(tmp_path):
    write_plan(tmp_path, ["a"], [0], 2, references=False)
    write_plan(tmp_path, ["b"], [0, 1], 2, references=False)
    found = read_status(tmp_path)
    assert [(run.strategy, run.seed) for run in found.runs] == [("a", 0), ("b", 0), ("b", 1)]
    assert found.seconds_left is None
    rounds(tmp_path, "a", 0, 3)
    torn = tmp_path / WORK_FOLDER / ".plan.json-abcdefgh"
    torn.touch()
    remove_plan(tmp_path)
    assert not torn.exists()
    assert [run.strategy for run in read_status(tmp_path).runs] == ["b", "b"]
    for seed in (0, 1):
        rounds(tmp_path, "b", seed, 3)
    remove_plan(tmp_path)
    with pytest.raises(InputError, match="must be a folder of harness bench, found no run"):
        read_status(tmp_path)


@pytest.mark.parametrize("damage", ["", "[", "[1]", '{"a": 1}', '[["a", "x", 1]]'])
def test_a_damaged_plan_is_no_plan(tmp_path, damage):
    write_plan(tmp_path, ["a"], [0], 2, references=False)
    (tmp_path / WORK_FOLDER / "plan.json").write_text(damage)
    with pytest.raises(InputError):
        read_status(tmp_path)
    write_plan(tmp_path, ["a"], [0], 2, references=False)
    assert len(read_status(tmp_path).runs) == 1
