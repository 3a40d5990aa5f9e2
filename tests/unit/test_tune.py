import multiprocessing
import os
import signal
import time
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from harness.config import Tune, Tuned, config_path, load_spec
from harness.errors import InputError
from harness.tune.report import find, importances, to_csv, to_markdown, tuned_config
from harness.tune.search import Search, open_storage, open_study
from harness.tune.space import Choice, Space

BOUND = {"config": "a", "data": "b"}


def a_space(**changes) -> Space:
    block = {
        "strategy": ["cereals-g3-entropy"],
        "parameters": {"alpha": (0.0, 1.0)},
        "window": [32, 64],
        "seeds": [100],
    } | changes
    return Space(Tune.model_validate(block), 64, 1, 8)


def a_study(
    tmp_path,
    space: Space,
    *,
    objective="aubc-clicks",
    sampler="tpe",
    pruner="none",
    bound=BOUND,
    storage=None,
) -> optuna.Study:
    return open_study(
        open_storage(storage or str(tmp_path / "study.journal")),
        "test",
        space,
        objective,
        bound,
        sampler=sampler,
        pruner=pruner,
        seed=0,
        lock=tmp_path / ".lock",
    )


def planted(values, _report):
    """Best at alpha = 0.7 and window 32."""
    return [1.0 - (values["alpha"] - 0.7) ** 2 - (0.2 if values["window"] == 64 else 0.0)]


# ------------------------------------------------------------------------------------------------------------- space


def test_the_default_is_trial_0_and_lies_in_the_bounds():
    assert a_space().defaults() == {"window": 64, "alpha": 0.5}
    assert a_space(parameters={"alpha": (0.6, 1.0)}).defaults()["alpha"] == 0.6
    assert a_space().choice(a_space().defaults()) == Choice("cereals-g3-entropy", 64, 1)


def test_a_parameter_belongs_only_to_strategies_that_have_it():
    space = a_space(
        strategy=["cereals-g1-entropy", "cereals-g3-vote-entropy"],
        parameters={"alpha": (0.0, 1.0), "passes": (4, 12)},
    )
    assert space.defaults() == {"strategy": "cereals-g1-entropy", "window": 64}
    assert space.choice(
        {"strategy": "cereals-g3-vote-entropy", "window": 32, "alpha": 0.123456, "passes": 7}
    ) == Choice("cereals-g3-vote-entropy[alpha=0.1235,passes=7]", 32, 1)
    with pytest.raises(InputError, match="a grid needs every tuned parameter"):
        space.grid()


def test_a_committee_without_a_size_of_its_own_has_the_config_s():
    space = a_space(
        strategy=["cereals-g3-vote-entropy"], parameters={"alpha": (0.0, 1.0), "passes": (4, 20)}
    )
    assert space.defaults()["passes"] == 8


def test_a_grid_has_its_ends():
    assert a_space(grid_points=3).grid() == {"window": [32, 64], "alpha": [0.0, 0.5, 1.0]}


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("strategy=['cereals-g9']", "unknown strategy 'cereals-g9'"),
        ("strategy=['cereals-g3-entropy[alpha=0.2]']", "without parameters and modifiers"),
        (
            "strategy=['entropy-region'], parameters=dict(alpha=(0.0, 1.0))",
            "which none of entropy-region has",
        ),
        ("strategy=['entropy-region']", "nothing to choose"),
        (
            "strategy=['entropy-region'], window=[64, 32, 64]",
            "tune.window must name each value once, got 64 twice",
        ),
        (
            "strategy=['entropy-region', 'entropy-region']",
            "tune.strategy must name each value once, got 'entropy-region' twice",
        ),
        (
            "strategy=['cereals-g3-entropy'], parameters=dict(alpha=(1.0, 0.0))",
            "a lower bound, then a higher one",
        ),
        (
            "strategy=['cereals-g3-entropy'], parameters=dict(alpha=(0.0, 1.0)), window=[16, 32]",
            "it is trial 0",
        ),
        ("strategy=['cereals-g3-entropy'], parameters=dict(alpha=(0.0, 1.5))", "alpha is '1.5'"),
        (
            "strategy=['cereals-g3-entropy'], parameters=dict(cost=(0.0, 1.0))",
            "must name numbers with a default",
        ),
        ("strategy=['cereals-g3-entropy'], windows=[16]", "unknown key 'tune.windows'"),
    ],
)
def test_a_wrong_space_is_one_line(tmp_path, block, message):
    file = tmp_path / "wrong.py"
    file.write_text(
        f"_base_ = [{str(config_path('streets'))!r}]\ntune = dict({block}, seeds=[100])\n"
    )

    with pytest.raises(InputError) as found:
        Space.of(load_spec(file))
    assert message in str(found.value)
    assert "\n" not in str(found.value)


def test_tuning_seeds_are_not_reporting_seeds(tmp_path):
    file = tmp_path / "wrong.py"
    file.write_text(
        f"_base_ = [{str(config_path('streets'))!r}]\ntune = dict(strategy=['entropy-region'], window=[32, 64], seeds=[0, 9])\n"
    )
    with pytest.raises(InputError, match=r"got \[0\], which harness\.seeds has too"):
        load_spec(file)


def test_a_config_without_a_tune_block_is_refused():
    with pytest.raises(InputError, match="has no tune block"):
        Space.of(load_spec(config_path("streets")))


# ------------------------------------------------------------------------------------------------------------- study


@pytest.mark.parametrize("sampler", ["tpe", "grid"])
def test_a_search_finds_a_planted_optimum(tmp_path, sampler):
    space = a_space(grid_points=11)
    study = a_study(tmp_path, space, sampler=sampler)
    Search(study, space, planted, 0 if sampler == "grid" else 40).run()
    findings = find(study, space, "aubc-clicks")
    assert findings.best.params["window"] == 32
    assert abs(findings.best.params["alpha"] - 0.7) < 0.06
    assert findings.default.params == space.defaults()
    assert findings.default.values == pytest.approx([0.76])
    assert len(study.trials) == (22 if sampler == "grid" else 40)
    if sampler == "tpe":
        assert set(importances(study, findings)) == {"alpha", "window"}


def test_c95_is_minimised(tmp_path):
    space = a_space()
    study = a_study(tmp_path, space, objective="c95")
    Search(study, space, lambda values, report: [-planted(values, report)[0]], 25).run()
    assert find(study, space, "c95").best.params["window"] == 32


def test_two_objectives_have_a_front_and_no_pruning(tmp_path):
    space = a_space()
    study = a_study(tmp_path, space, objective="aubc-clicks,time", pruner="median")

    def both(values, report):
        report(0.0, 1)
        return [values["alpha"], 10 * values["alpha"]]

    Search(study, space, both, 8).run()
    assert len(study.best_trials) >= 2
    assert find(study, space, "aubc-clicks,time").best.values[0] == max(
        trial.values[0] for trial in study.trials
    )


def test_a_bad_start_is_pruned_against_the_same_step_of_other_trials(tmp_path):
    space, steps = a_space(), []
    study = a_study(tmp_path, space, pruner="median")

    def in_steps(values, report):
        score = planted(values, report)[0]
        for step in range(1, 5):
            report(score, step)
            steps.append(step)
        return [score]

    Search(study, space, in_steps, 30).run()
    pruned = study.get_trials(states=(TrialState.PRUNED,))
    assert pruned
    assert len(steps) < 4 * 30
    assert min(trial.number for trial in pruned) >= 4


def test_a_resumed_study_goes_on_where_it_was(tmp_path):
    space = a_space()
    Search(a_study(tmp_path, space), space, planted, 5).run()
    study = a_study(tmp_path, space)
    Search(study, space, planted, 9).run()
    assert [trial.number for trial in study.trials] == list(range(9))
    assert sum(trial.params == space.defaults() for trial in study.trials) == 1


def test_restarts_and_other_processes_ask_for_other_points(tmp_path):
    space = a_space()
    for trials in range(2, 8):
        Search(a_study(tmp_path, space), space, planted, trials).run()
    alphas = [trial.params["alpha"] for trial in a_study(tmp_path, space).trials]
    assert len(set(alphas)) == len(alphas) == 7


def test_a_grid_joins_a_study_that_is_there(tmp_path):
    space = a_space(grid_points=3)
    Search(a_study(tmp_path, space), space, planted, 1).run()
    study = a_study(tmp_path, space, sampler="grid")
    Search(study, space, planted, 0).run()
    assert len(study.trials) == 6


def test_a_failing_point_is_not_tried_for_ever(tmp_path):
    space = a_space()

    def fails(values, report):
        if values["window"] == 32:
            raise ValueError("no such window")
        return planted(values, report)

    for _ in range(12):
        try:
            Search(a_study(tmp_path, space), space, fails, 4).run()
            break
        except ValueError:
            continue
    states = [trial.state for trial in a_study(tmp_path, space).trials]
    assert states.count(TrialState.COMPLETE) == 4
    assert TrialState.WAITING not in states


def test_a_trial_that_was_taken_away_is_let_go(tmp_path):
    space = a_space()
    study = a_study(tmp_path, space)

    def loses_its_trial(values, report):
        if study.trials[-1].number == 0:
            study.tell(0, state=TrialState.FAIL)
            report(0.5, 1)
        return planted(values, report)

    Search(study, space, loses_its_trial, 3).run()
    assert [trial.state for trial in study.trials].count(TrialState.COMPLETE) == 3


def test_a_leftover_lock_of_a_relative_journal_is_released(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    journal = open_storage("study.journal")
    assert Path(journal._backend._file_path).is_absolute()


@pytest.mark.parametrize("changed", [{"config": "z"}, {"data": "z"}, {"more": "z"}])
def test_a_study_is_bound_to_its_config_and_data(tmp_path, changed):
    a_study(tmp_path, a_space())
    with pytest.raises(InputError, match=f"started with another {next(iter(changed))}"):
        a_study(tmp_path, a_space(), bound=BOUND | changed)


def test_another_objective_is_refused(tmp_path):
    a_study(tmp_path, a_space(), bound=BOUND | {"objective": "aubc-clicks"})
    with pytest.raises(InputError):
        a_study(
            tmp_path,
            a_space(),
            objective="aubc-clicks,time",
            bound=BOUND | {"objective": "aubc-clicks,time"},
        )


def test_an_interrupted_trial_is_tried_again_with_the_same_point(tmp_path):
    space, asked = a_space(), []

    def breaks_once(values, report):
        asked.append(values)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return planted(values, report)

    study = a_study(tmp_path, space)
    with pytest.raises(KeyboardInterrupt):
        Search(study, space, breaks_once, 5).run()
    Search(a_study(tmp_path, space), space, breaks_once, 5).run()
    assert asked[3] == asked[2]
    states = [trial.state for trial in study.trials]
    assert (states.count(TrialState.FAIL), states.count(TrialState.COMPLETE)) == (1, 5)


def _work(folder, storage, slow_s, grace_s):
    space = a_space()

    def slowly(values, report):
        time.sleep(slow_s)
        return planted(values, report)

    Search(a_study(folder, space, storage=storage), space, slowly, 6, grace_s=grace_s).run()


@pytest.mark.parametrize("kind", ["journal", "sqlite"])
def test_two_processes_share_a_study_and_one_is_killed(tmp_path, kind):
    storage = None if kind == "journal" else f"sqlite:///{tmp_path / 'study.db'}"
    context = multiprocessing.get_context("spawn")
    a_study(tmp_path, a_space(), storage=storage)
    doomed = context.Process(target=_work, args=(tmp_path, storage, 600.0, 5.0))
    doomed.start()
    deadline = time.monotonic() + 90
    while not any(
        trial.state == TrialState.RUNNING
        for trial in a_study(tmp_path, a_space(), storage=storage).trials
    ):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    os.kill(doomed.pid, signal.SIGKILL)
    doomed.join()
    # a live process's trial takes longer than the grace, and is not taken away: it sends heartbeats
    live = context.Process(target=_work, args=(tmp_path, storage, 6.0, 5.0))
    live.start()
    _work(tmp_path, storage, 0.1, 5.0)
    live.join()
    trials = a_study(tmp_path, a_space(), storage=storage).trials
    failed = [trial for trial in trials if trial.state == TrialState.FAIL]
    assert len(failed) == 1
    assert sum(trial.state == TrialState.COMPLETE for trial in trials) >= 6
    again = [trial for trial in trials if trial.user_attrs.get("retry of") == failed[0].number]
    assert [trial.params for trial in again] == [a_space().defaults()]
    assert live.exitcode == 0


@pytest.mark.parametrize(
    "storage", ["nosuch://x", "sqlite:////nowhere/at/all/study.db", "/proc/nothing/study.journal"]
)
def test_a_wrong_storage_is_one_line(tmp_path, storage):
    with pytest.raises(InputError) as found:
        a_study(tmp_path, a_space(), storage=storage)
    assert "--storage" in str(found.value)
    assert "\n" not in str(found.value)


def test_a_file_that_is_no_journal_is_refused(tmp_path):
    (tmp_path / "study.journal").write_text("these are not trials\n")
    with pytest.raises(InputError, match=r"journal:1: must be an entry of an Optuna journal"):
        a_study(tmp_path, a_space())


# ------------------------------------------------------------------------------------------------------------ report


def test_the_tuned_config_is_the_board_with_the_choice(tmp_path):
    spec = load_spec(config_path("streets_tune"))
    tuned = Tuned(
        strategy="cereals-g3-entropy[alpha=0.7]",
        trials=20,
        objective="aubc-clicks",
        clicks=1000,
        hours=0.25,
    )
    protocol = spec.harness.model_copy(update={"window": 32})
    tuned_config(spec.model_copy(update={"harness": protocol}), tuned, tmp_path / "found.py")
    again = load_spec(tmp_path / "found.py")
    assert "--data-root" not in (tmp_path / "found.py").read_text()
    assert again.tuned == tuned
    assert again.harness.window == 32
    assert again.digest() == spec.model_copy(update={"harness": protocol, "name": "found"}).digest()


def test_the_tuned_config_says_how_it_is_run(tmp_path):
    spec = load_spec(config_path("camvid"), data_root="photographs")
    tuned = Tuned(
        strategy="entropy-region", trials=2, objective="aubc-clicks", clicks=1000, hours=0.25
    )
    tuned_config(spec, tuned, tmp_path / "found.py")
    first = (tmp_path / "found.py").read_text().splitlines()[0]
    assert first.endswith(f"--config {tmp_path / 'found.py'} --data-root DIR")
    assert "photographs" not in (tmp_path / "found.py").read_text()


def test_tables_hold_every_trial(tmp_path):
    space = a_space()
    study = a_study(tmp_path, space)
    Search(study, space, planted, 7).run()
    to_csv(study, tmp_path / "trials.csv")
    assert len((tmp_path / "trials.csv").read_text().splitlines()) == 8
    to_markdown(
        "test",
        find(study, space, "aubc-clicks"),
        {"alpha": 0.9},
        ["what came out"],
        tmp_path / "tuning.md",
    )
    text = (tmp_path / "tuning.md").read_text()
    assert text.count("| complete |") == 7
    assert "alpha 90 %" in text
