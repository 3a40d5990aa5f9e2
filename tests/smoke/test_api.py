"""Boards from Python, as docs/reference/python.md shows them."""

import subprocess
import sys

import pytest

import harness
from harness.errors import InputError

CHANGES = [
    "data.train=10",
    "data.val=4",
    "training.steps=2",
    "training.steps_per_image=0",
    "training.max_steps=2",
    "cost_model.steps=2",
    "harness.seed_images=2",
    "harness.budgets=[0.3]",
]


def test_an_experiment_runs_and_its_board_is_a_table(tmp_path):
    experiment = harness.Experiment.from_config("streets", seeds=[0], changes=CHANGES)
    board = experiment.run(["random-region", "entropy-region"], out=tmp_path / "out")
    frame = board.to_frame()
    assert list(frame.columns[:3]) == ["strategy", "seed", "round"]
    assert len(frame) == 2 * 2
    again = harness.load_board(tmp_path / "out").to_frame()
    assert again.equals(frame)
    assert frame["miou"].between(0, 1).all()
    assert (tmp_path / "out/leaderboard.md").is_file()


def test_bad_input_is_one_line_before_any_work(tmp_path):
    with pytest.raises(InputError, match="unknown strategy"):
        harness.Experiment.from_config(changes=CHANGES).run("no-such", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError):
        harness.load_board(tmp_path / "nothing")


def test_public_names_are_there_and_importing_is_light():
    assert {"Experiment", "Strategy", "View", "load_board", "register_dataset"} <= set(dir(harness))
    with pytest.raises(AttributeError):
        _ = harness.nothing
    code = "import harness, sys; print(len([m for m in sys.modules if m.startswith('torch')]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"
