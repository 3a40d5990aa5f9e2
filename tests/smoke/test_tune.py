"""`harness tune` on a very small board."""

import json
from pathlib import Path

import pytest

from harness.config import load_spec
from harness.data.source import open_splits
from harness.provenance import collect
from harness.tune.trials import Tuner, tuning_splits

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def config(tmp_path_factory, tiny_config) -> Path:
    file = tmp_path_factory.mktemp("config") / "tiny_tune.py"
    file.write_text(
        f"_base_ = [{str(tiny_config)!r}]\n"
        "tune = dict(strategy=['cereals-g3-entropy'], parameters=dict(alpha=(0.0, 1.0)), window=[8, 16], seeds=[100, 101], trials=4)\n"
    )
    return file


def test_a_stride_that_leaves_no_room_for_the_budget_is_refused_before_any_trial(harness, config):
    file = config.parent / "wide.py"
    file.write_text(config.read_text() + "tune['stride'] = [1, 500]\n")
    done = harness("tune", "--config", str(file), "--workers", "1")
    assert done.returncode == 2, done.stderr
    assert "harness.stride=500 must leave room for the budget" in done.stderr
    assert not (harness.folder / "tuning/study.journal").exists()


def test_a_network_that_cannot_be_trained_is_refused_before_any_trial(harness, config):
    file = config.parent / "broken.py"
    file.write_text(
        config.read_text() + "param_scheduler = [dict(type='LinearLR', start_factor=5.0)]\n"
    )
    done = harness("tune", "--config", str(file), "--workers", "1")
    assert done.returncode == 2, done.stderr
    assert "param_scheduler[0] cannot run for" in done.stderr
    assert not (harness.folder / "tuning/study.journal").exists()


def test_a_study_from_the_first_trial_to_the_board(harness, config):
    done = harness("tune", "--config", str(config), "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert "trial 0: window=16, alpha=0.5:" in done.stdout
    assert "optimism (tuned score minus reported score)" in done.stdout
    out = harness.folder / "tuning"
    assert {"tuning.md", "trials.csv", "history.png", "report.json", "study.journal"} <= {
        file.name for file in out.iterdir()
    }
    assert set(json.loads((out / "report.json").read_text())) == {
        "default",
        "tuned",
        "gain",
        "optimism",
        "choice",
    }
    tuned = harness.folder / "configs" / "tuned" / "tiny_tune.py"
    chosen = load_spec(tuned).tuned.strategy

    board = harness(
        "bench",
        "--strategies",
        f"random-region,{chosen}",
        "--config",
        str(tuned),
        "--seeds",
        "0",
        "--workers",
        "1",
    )
    assert board.returncode == 0, board.stderr
    table = (harness.folder / "out" / "leaderboard.md").read_text()
    assert f"| {chosen} (tuned) |" in table
    assert "was found by harness tune in 4 trials" in table

    again = harness("tune", "--config", str(config), "--no-report")
    assert again.stdout.splitlines()[1].startswith("Best of 4 trials")
    changed = config.parent / "tiny_tune_changed.py"
    changed.write_text(config.read_text() + "cost_model = dict(steps=11)\n")
    (harness.folder / "tiny_tune.py").write_text(changed.read_text())
    refused = harness("tune", "--config", "./tiny_tune.py", "--no-report")
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "was started with another config" in refused.stderr


def test_a_killed_search_goes_on(harness, config):
    rounds = harness.folder / "tuning" / "trials"
    command = ("tune", "--config", str(config), "--no-report", "--grace", "4")
    harness.kill_when(lambda: len(list(rounds.glob("*/runs/*/*/rounds.jsonl"))) >= 3, *command)
    done = harness(*command)
    assert done.returncode == 0, done.stderr
    states = [
        line.split(",")[1]
        for line in (harness.folder / "tuning" / "trials.csv").read_text().splitlines()[1:]
    ]
    assert states.count("FAIL") == 1
    assert states.count("COMPLETE") + states.count("PRUNED") == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--sampler", "random"), "--sampler must be tpe or grid, got 'random'"),
        (
            ("--objective", "miou"),
            "--objective must be aubc-clicks or c95",
        ),
        (("--grace", "0"), "--grace must be from 4"),
        (("--config", "streets"), "config streets has no tune block"),
        (("--storage", "nosuch://x"), "--storage nosuch://x cannot be opened"),
        (("--write", "."), "--write must be a config file, NAME.py, got the folder '.'"),
        (("--write", "found.yaml"), "--write must be a config file, NAME.py, got 'found.yaml'"),
        (("--write", "/dev/null/found.py"), "--write must be a file in a writable folder"),
    ],
)
def test_bad_input_is_one_line(harness, config, arguments, message):
    given = arguments if "--config" in arguments else ("--config", str(config), *arguments)
    refused = harness("tune", *given)
    assert refused.returncode == 2
    assert message in refused.stderr
    assert refused.stderr.count("\n") == 1


@pytest.fixture
def tuner(config, cache, monkeypatch):
    monkeypatch.setenv("HARNESS_CACHE", str(cache))
    spec = load_spec(config)

    def make(out: Path, objective="aubc-clicks") -> Tuner:
        bought, scored = tuning_splits(open_splits(spec.data)[0], 0.25)
        return Tuner(spec, out, objective, bought, scored, collect(1, "cpu"))

    return make


def nobody(_value, _step):
    """Nobody watches."""


def test_sharing_changes_no_number(tmp_path, tuner):
    points = [{"window": window, "alpha": alpha} for window in (8, 16) for alpha in (0.25, 0.75)]
    together = tuner(tmp_path / "together")
    values = [together.evaluate(point, nobody) for point in points]
    alone = [
        tuner(tmp_path / f"alone-{number}").evaluate(point, nobody)
        for number, point in enumerate(points)
    ]
    assert values == alone
    for file in (tmp_path / "together" / "trials").glob("*/runs/*/*/rounds.jsonl"):
        others = [
            tmp_path / f"alone-{number}" / file.relative_to(tmp_path / "together")
            for number in range(len(points))
        ]
        assert [other.read_bytes() for other in others if other.exists()] == [file.read_bytes()]
    # round 0 of each seed is trained once for all four points, and its pool is predicted once for each window
    assert together.counters.trainings_run == 2 + 4 * 2 * 2
    assert together.counters.images_predicted < together.counters.images_asked


def test_trials_never_see_val_and_never_score_what_they_buy(config, cache, monkeypatch):
    monkeypatch.setenv("HARNESS_CACHE", str(cache))
    train, val = open_splits(load_spec(config).data)
    bought, scored = tuning_splits(train, 0.25)
    assert set(bought.files) | set(scored.files) == set(train.files)
    assert not set(bought.files) & set(scored.files)
    assert not set(train.files) & set(val.files)
    assert not set(bought.cities) & set(scored.cities)
    assert bought.index.totals.polygon + scored.index.totals.polygon == train.index.totals.polygon
    assert bought.index.totals.classes + scored.index.totals.classes == train.index.totals.classes


def test_c95_uses_a_reference_of_the_tuning_images(tmp_path, tuner):
    (value,) = tuner(tmp_path, "c95").evaluate({"window": 16, "alpha": 0.5}, nobody)
    assert value > 0
    assert len(list((tmp_path / "trials").glob("*/runs/full-data/seed-*/rounds.jsonl"))) == 2
