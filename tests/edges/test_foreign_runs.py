"""Run folders of other people: a board of what they say, or one line; never nan, never a traceback."""

import copy
import json
import math
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from harness.cli import main as command
from harness.doctor import examine
from harness.errors import InputError
from harness.files import checksum
from harness.publish.board import build_board
from harness.publish.document import build_document
from harness.results import find_runs, read_run
from tests.examples import examples
from tests.unit.test_publish import out as make_out  # noqa: F401  (a board of twelve runs)

FIRST = "runs/good/seed-0"


@pytest.fixture
def board(make_out):  # noqa: F811
    return make_out


def say(folder: Path, change) -> None:
    """Change ``run.json`` and give it a checksum again, as a foreign program would."""
    file = folder / "run.json"
    document = json.loads(file.read_text())
    document.pop("crc32", None)
    document["chained"] = False
    change(document)
    document["crc32"] = checksum(json.dumps(document, sort_keys=True))
    file.write_text(json.dumps(document))


def rewrite(folder: Path, number: int, change) -> None:
    """Change a round and give its line a checksum again."""
    say(folder, lambda _document: None)
    file = folder / "rounds.jsonl"
    lines = file.read_text().splitlines()
    record = json.loads(lines[number])["record"]
    change(record)
    text = json.dumps(record, separators=(",", ":"))
    lines[number] = f'{{"crc32":"{checksum(text)}","record":{text}}}'
    file.write_text("\n".join(lines) + "\n")


def put(place, value):
    """Return a change that sets a nested value."""

    def change(document):
        *parents, last = place
        for key in parents:
            document = document[key]
        document[last] = value

    return change


DESCRIPTIONS = {
    "a bound that says it is none": (put(["strategy"], "good"), None),
    "a flag": (put(["is_bound"], True), "is_bound must be False"),
    "a cost that makes it a bound": (put(["cost"], "oracle"), "is_bound must be True"),
    "another seed": (put(["seed"], 7), "its folder must be called"),
    "another strategy": (put(["strategy"], "random-region"), "its folder must be called"),
    "a path": (put(["strategy"], "../good"), "names must be printable"),
    "a negative seed": (put(["seed"], -1), "seed must be from 0"),
    "no pixels": (put(["train_px"], 0), "must be 1 or more"),
    "no images": (put(["val_images"], 0), "must be 1 or more"),
    "negative totals": (put(["totals", "polygon"], -5), "must be 1 or more"),
    "half the val images": (put(["val_images"], 6), "areas must hold 6 images"),
    "three classes": (put(["class_names"], ["a", "b", "c"]), "for each of the 3 classes"),
    "one class twice": (put(["class_names"], ["a", "a"]), "class_names must be different"),
    "a line in a name": (put(["class_names"], ["a", "b\\input{x}\n"]), "names must be printable"),
    "an escape in an equation": (put(["equation"], "\x1b[31mred"), "names must be printable"),
    "a new line in an equation": (put(["equation"], "a\nb"), "names must be printable"),
    "no rounds": (put(["config", "harness"], {"rounds": "many"}), "rounds must be from 0"),
    "rounds without end": (put(["config", "harness"], {"rounds": 10**30}), "rounds must be"),
    "a harness that is a number": (put(["config", "harness"], 5), "its config must be readable"),
    "an infinite model of time": (
        put(["config", "seconds_per_click"], {"polygon": math.inf}),
        "its config must be readable",
    ),
    "another model of time": (
        put(["config", "seconds_per_click"], {"polygons": 1.0}),
        "its config must be readable",
    ),
    "a name that is a list": (put(["config", "name"], ["a"]), "its config must be readable"),
    "a name of two lines": (put(["config", "name"], "a\nb"), "config.name must be"),
    "a tuned block": (put(["config", "tuned"], {"strategy": "x"}), "its config must be readable"),
    "a model that is a list": (put(["config", "model"], {"backbone": [1]}), "must be a block"),
    "another schema": (put(["schema_version"], 99), "schema version must be 1, got 99"),
    "a schema of words": (put(["schema_version"], "x" * 5000), "schema version"),
    "a list": (lambda document: document.pop("totals"), "not a run description"),
}


@pytest.mark.parametrize("what", [name for name in DESCRIPTIONS if DESCRIPTIONS[name][1]])
def test_a_description_that_cannot_be_is_one_line(board, what):
    change, said = DESCRIPTIONS[what]
    say(board / FIRST, change)
    with pytest.raises(InputError) as caught:
        build_board(board)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    assert any(said.split(",")[0] in finding.problem for finding in examine(board))


AREAS = ["areas", 0]
RECORDS = {
    "an intersection larger than its areas": (
        put([*AREAS, 1, 0], 10**10),
        "an intersection must be",
    ),
    "a negative area": (put([*AREAS, 1, 0], -1), "areas must be 0 or more"),
    "other pixels": (put([*AREAS, 2, 0], 10**9 + 5), "of the same pixels"),
    "a ragged area": (put([*AREAS, 3], [1]), "one entry for each of the 2 classes"),
    "no areas": (put(["areas"], []), "an image or more"),
    "an image twice": (
        lambda record: record["areas"].append(record["areas"][0]),
        "each image once",
    ),
    "an image less": (lambda record: record["areas"].pop(), "must hold 12 images"),
    "an image that is a line": (put([*AREAS, 0], "a\nb"), "each image once, under a printable id"),
    "negative clicks": (put(["clicks", "polygon"], -3), "from 0 to"),
    "clicks beyond everything": (put(["clicks", "polygon"], 2**60), "from 0 to"),
    "negative pixels": (put(["labelled_px"], -3), "from 0 to"),
    "a region outside": (put(["query", 0, 1], -1), "must have places and clicks from 0"),
    "a region of nothing": (put(["query", 0, 3], 0), "a height and a width of 1"),
    "more new pixels than it has": (put(["query", 0, 5], 999), "from 0 to height x width"),
    "an infinite score": (put(["query", 0, 10], math.inf), "score, information and cost"),
    "a NaN of quality": (put(["cost_quality", "spearman"], math.nan), "must be finite"),
    "words for a number": (put(["labelled_px"], "many"), "not a round record"),
    "another round": (put(["round"], 5), "damaged line"),
    "a bill that does not add up": (put(["clicks", "polygon"], 777), "are not the bill's"),
    "pixels that do not add up": (put(["labelled_px"], 1900), "the record says 1900"),
    "a budget that falls": (put(["budget_px"], 0), "more than the budget"),
}


@pytest.mark.parametrize("what", RECORDS)
def test_a_round_that_cannot_be_is_one_line(board, what):
    change, said = RECORDS[what]
    rewrite(board / FIRST, 1, change)
    with pytest.raises(InputError) as caught:
        build_board(board)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    assert list(examine(board))


def test_labels_that_are_not_the_rivals_are_refused(board):
    """A run that was scored on other labels: everything right by its own areas."""
    for number in range(3):
        rewrite(
            board / FIRST,
            number,
            lambda record: record.update(
                areas=[[key, [9, 9], [9, 9], [9, 9]] for key, *_ in record["areas"]]
            ),
        )
    (finding,) = examine(board)
    assert "label areas" in finding.problem
    for mixed in (False, True):
        with pytest.raises(InputError, match="must have the same label areas"):
            build_board(board, mixed=mixed)


def test_equal_rounds_under_two_seeds_are_refused(board):
    shutil.copy(board / "runs/good/seed-0/rounds.jsonl", board / "runs/good/seed-1/rounds.jsonl")
    with pytest.raises(InputError, match="must be a round of this run"):
        build_board(board)
    for seed in (0, 1):
        say(board / f"runs/good/seed-{seed}", lambda _document: None)  # as older code wrote them
    with pytest.raises(InputError, match="must be two runs, but their rounds are equal"):
        build_board(board)
    (finding,) = examine(board)
    assert "must be two runs" in finding.problem


EXCHANGES = {
    "rounds of another strategy": ("good/seed-0/rounds.jsonl", "random-region/seed-0/rounds.jsonl"),
    "rounds of another seed": ("good/seed-0/rounds.jsonl", "good/seed-2/rounds.jsonl"),
    "rounds with their chains": (
        "good/seed-0/rounds.jsonl good/seed-0/chain.jsonl",
        "good/seed-2/rounds.jsonl good/seed-2/chain.jsonl",
    ),
    "descriptions": ("good/seed-0/run.json", "random-region/seed-0/run.json"),
    "whole folders": ("good/seed-0", "good/seed-1"),
    "folders of two strategies": ("good/seed-0", "random-region/seed-0"),
}


@pytest.mark.parametrize("what", EXCHANGES)
def test_what_was_exchanged_is_noticed(board, what):
    for one, other in zip(*(side.split() for side in EXCHANGES[what]), strict=True):
        first, second, spare = board / "runs" / one, board / "runs" / other, board / "spare"
        first.rename(spare)
        second.rename(first)
        spare.rename(second)
    with pytest.raises(InputError) as caught:
        build_board(board)
    assert "\n" not in str(caught.value)
    assert list(examine(board))


def test_rounds_in_another_order_and_a_chain_that_is_gone_are_noticed(board):
    chain = board / FIRST / "chain.jsonl"
    kept = chain.read_bytes()
    for damaged in (b"", kept[:70], kept.replace(b"a", b"b", 1), b"\xff" * 40):
        chain.write_bytes(damaged)
        with pytest.raises(InputError, match="must be a round of this run"):
            read_run(board / FIRST)
    chain.unlink()
    with pytest.raises(InputError, match=r"chain\.jsonl does not bind it"):
        read_run(board / FIRST)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"7",
        b"{}",
        b"null",
        b"\xff\xfe",
        b'{"schema_version": 1}',
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"schema_version": 1, "crc32": 5}',
        b'{"schema_version": null}',
    ],
)
def test_any_file_for_a_description_is_one_line(board, content):
    (board / FIRST / "run.json").write_bytes(content)
    with pytest.raises(InputError) as caught:
        build_board(board)
    assert "\n" not in str(caught.value)
    assert str(board / FIRST / "run.json") in str(caught.value)


def test_folders_for_files_are_one_line(board):
    (board / FIRST / "rounds.jsonl").unlink()
    (board / FIRST / "rounds.jsonl").mkdir()
    with pytest.raises(InputError, match="must be a readable file"):
        build_board(board)


def run_command(monkeypatch, capsys, *arguments):
    monkeypatch.setattr("sys.argv", ["harness", *arguments])
    with pytest.raises(SystemExit) as end:
        command.main()
    return end.value.code, capsys.readouterr()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--runs", "BOARD", "--runs", "missing"],
        ["--runs", "BOARD", "--theirs", "missing"],
        ["--runs", "missing"],
        ["--runs", "BOARD", "--theirs", "empty"],
    ],
)
def test_a_folder_without_runs_is_never_passed_over(
    board, monkeypatch, capsys, tmp_path, arguments
):
    (tmp_path / "empty").mkdir()
    before = sorted(path.name for path in board.iterdir())
    places = {
        "BOARD": str(board),
        "missing": str(tmp_path / "gone"),
        "empty": str(tmp_path / "empty"),
    }
    asked = [places.get(part, part) for part in arguments]
    code, said = run_command(monkeypatch, capsys, "publish", *asked)
    assert code == 2
    assert "must be a folder with runs" in said.err
    assert said.err.count("\n") == 1
    assert sorted(path.name for path in board.iterdir()) == before


def test_an_edited_description_is_noticed_by_the_check(board, monkeypatch, capsys):
    for folder in find_runs(board):
        say(folder, lambda document: document.update(chained=False))
    code, _ = run_command(monkeypatch, capsys, "publish", "--runs", str(board))
    assert code == 0
    code, _ = run_command(monkeypatch, capsys, "publish", "--runs", str(board), "--check")
    assert code == 0
    say(board / FIRST, put(["equation"], "another"))
    say(board / "runs/good/seed-1", put(["equation"], "another"))
    say(board / "runs/good/seed-2", put(["equation"], "another"))
    code, said = run_command(monkeypatch, capsys, "publish", "--runs", str(board), "--check")
    assert code == 1
    assert "leaderboard.json" in said.err


# --------------------------------------------------------------------------------------------- fuzz

VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-10, 10**20)
    | st.floats()
    | st.text(max_size=6)
    | st.lists(st.integers(-2, 5), max_size=3)
    | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2)
)


def places(document, path=()):
    """List every place in a document."""
    yield path
    children = (
        document.items()
        if isinstance(document, dict)
        else enumerate(document)
        if isinstance(document, list)
        else ()
    )
    for key, value in children:
        yield from places(value, (*path, key))


@examples(120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data(), st.sampled_from(["run.json", 0, 1, 2]), VALUES)
def test_any_value_anywhere_is_the_same_board_or_one_line(tmp_path_factory, data, where, value):
    base = tmp_path_factory.getbasetemp() / "foreign"
    if not base.exists():
        from tests.unit import test_publish

        for seed in (0, 1, 2):
            shift = 0.01 * seed
            test_publish.write(base, "full-data", seed, [0.8], [1000])
            test_publish.write(base, "good", seed, [0.4 + shift, 0.7, 0.78], [100, 150, 200])
    folder = base / FIRST
    kept = {path.name: path.read_bytes() for path in folder.iterdir()}
    wanted = build_board(base).rows[0].aubc_clicks

    def change(document):
        source = copy.deepcopy(document)
        path = data.draw(st.sampled_from([p for p in places(source) if p]))
        put(list(path), value)(document)

    try:
        say(folder, change) if where == "run.json" else rewrite(folder, where, change)
        board = build_board(base)
        document = build_document(board, None, [])
    except InputError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 2000
    else:
        assert math.isfinite(board.rows[0].aubc_clicks.mean)
        assert 0 <= board.rows[0].aubc_clicks.mean <= 1
        assert json.dumps(document.name, allow_nan=False)
        assert wanted.mean > 0
    finally:
        for name, content in kept.items():
            (folder / name).write_bytes(content)
