"""A study that meets NaN, torn journals, databases that forget, and passwords that must not be seen."""

import json
import math

import optuna
import pytest

from harness.errors import InputError, without_password
from harness.tune.search import Search, open_storage
from tests.unit.test_tune import a_space

SECRET = "hunter2-secret"  # noqa: S105


def study_in(storage):
    return optuna.create_study(
        storage=storage, study_name="s", direction="maximize", load_if_exists=True
    )


def search(study, values, trials):
    said = []
    answers = iter(values)
    Search(study, a_space(), lambda _point, _report: [next(answers)], trials, said.append).run()
    return said


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_an_objective_that_is_no_number_fails_its_trial_and_the_study_ends(tmp_path, bad):
    study = study_in(open_storage(str(tmp_path / "s.journal")))
    said = search(study, [0.5, bad, 0.7, bad], 4)
    states = [trial.state.name for trial in study.get_trials()]
    assert states == ["COMPLETE", "FAIL", "COMPLETE", "FAIL"]
    assert [trial.state.name for trial in said] == states
    assert study.best_value == 0.7


def test_a_study_of_nothing_but_nan_ends_too(tmp_path):
    study = study_in(open_storage(str(tmp_path / "s.journal")))
    search(study, [math.nan] * 3, 3)
    assert {trial.state.name for trial in study.get_trials()} == {"FAIL"}


def test_an_exception_leaves_no_trial_running(tmp_path):
    study = study_in(open_storage(str(tmp_path / "s.journal")))

    def evaluate(_point, _report):
        raise RuntimeError("the disk is gone")

    with pytest.raises(RuntimeError):
        Search(study, a_space(), evaluate, 2).run()
    assert [trial.state.name for trial in study.get_trials()] == ["FAIL"]


# ------------------------------------------------------------------------------------------ storage


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///file::memory:?cache=shared&uri=true",
        "sqlite+pysqlite:///:memory:",
    ],
)
def test_a_database_in_memory_is_refused(url):
    with pytest.raises(InputError, match="must outlive this process"):
        open_storage(url)


@pytest.mark.parametrize(
    "url",
    [
        f"mysql://u:{SECRET}@localhost/db",
        f"postgresql://u:{SECRET}@localhost:1/db",
        f"postgresql://localhost:1/db?user=u&password={SECRET}",
        f"nonsense://u:{SECRET}@localhost/db",
        f"redis://:{SECRET}@localhost",
        f"sqlite:///no/such/dir/x.db?password={SECRET}",
        f"://u:{SECRET}@",
    ],
)
def test_a_password_is_never_said(url):
    with pytest.raises(InputError) as caught:
        open_storage(url)
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None or SECRET not in str(caught.value.__cause__)


def test_a_password_is_never_kept(monkeypatch):
    from harness.provenance import collect

    monkeypatch.setattr(
        "sys.argv",
        ["harness", "tune", "--storage", f"postgresql://u:{SECRET}@host/db?token={SECRET}"],
    )
    assert SECRET not in json.dumps(collect(1).command)
    assert without_password("sqlite:///study.db") == "sqlite:///study.db"


@pytest.mark.parametrize("text", ["", "  ", "/proc/x/y", "/dev/null/x"])
def test_a_storage_that_is_no_file_is_one_line(text):
    with pytest.raises(InputError, match="--storage") as caught:
        open_storage(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"hello\n",
        b"SQLite format 3\x00" + b"\x00" * 50 + b"\n",
        b"[1]\n",
        b'{"a": 1}\nx\n{"b": 2}\n',
        b"[" * 100_000 + b"\n",
    ],
)
def test_a_file_that_is_no_journal_is_one_line_with_its_number(tmp_path, content):
    file = tmp_path / "s.journal"
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"s\.journal:[12]: must be an entry") as caught:
        open_storage(str(file))
    assert "\n" not in str(caught.value)
    assert file.read_bytes() == content


def test_a_torn_last_line_is_healed_wherever_it_was_torn(tmp_path):
    """A process that is killed while it writes: the journal is cut at every byte of its last lines."""
    file = tmp_path / "s.journal"
    study = study_in(open_storage(str(file)))
    search(study, [0.5, 0.6], 2)
    content = file.read_bytes()
    lines = content.splitlines(keepends=True)
    start = len(content) - len(lines[-1]) - len(lines[-2])
    for cut in range(start, len(content)):
        file.write_bytes(content[:cut])
        again = study_in(open_storage(str(file)))
        known = again.get_trials()
        assert len(known) == 2
        again.set_user_attr("after", cut)  # it can be written
        assert file.read_bytes().endswith(b"\n")
    assert (tmp_path / "s.journal.torn").is_file()  # nothing is thrown away


def test_a_line_torn_by_another_process_is_healed_before_the_next_is_written(tmp_path):
    file = tmp_path / "s.journal"
    study = study_in(open_storage(str(file)))
    with file.open("ab") as stream:
        stream.write(b'{"op_code": 4, "half')
    study.set_user_attr("after", 1)
    assert study_in(open_storage(str(file))).user_attrs["after"] == 1
