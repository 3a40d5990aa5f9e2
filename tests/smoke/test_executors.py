"""Another executor is one file: a function that is given jobs."""

import sys

import pytest

import harness
from harness.errors import InputError
from harness.executors import find_executor
from tests.smoke.test_api import CHANGES

MODULE = """
from harness.bench import execute

DONE = []


def one_after_another(make_experiment, jobs, *, report, ended, **_):
    experiment = make_experiment()
    for job in jobs:
        result = execute(experiment, job, report)
        DONE.append(job.title)
        ended(result)
    return []


NOT_A_FUNCTION = 1
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "my_executors.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "my_executors"
    sys.modules.pop("my_executors", None)


def test_jobs_go_to_an_executor_of_ones_own_and_the_rounds_are_the_same(module, tmp_path):
    experiment = harness.Experiment.from_config("streets", seeds=[0], changes=CHANGES)
    names = ["random-region", "entropy-region"]
    experiment.run(names, out=tmp_path / "own", executor=f"{module}:one_after_another")
    done = sys.modules[module].DONE
    assert len(done) == len(set(done)) == 4  # what is shared, the reference, two runs
    experiment.run(names, out=tmp_path / "ours")
    for name in [*names, "full-data"]:
        ours, own = (
            (tmp_path / place / "runs" / name / "seed-0" / "rounds.jsonl").read_bytes()
            for place in ("ours", "own")
        )
        assert ours == own


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nothing", "must be local or MODULE:FUNCTION"),
        ("no_such_module:run", "cannot be loaded"),
        ("my_executors:no_such", "cannot be loaded"),
        ("my_executors:NOT_A_FUNCTION", "must be a function"),
    ],
)
def test_an_executor_that_is_none_is_refused(module, name, said):
    with pytest.raises(InputError, match=said):
        find_executor(name)
