"""Runs of another group, joined to a published board: what must fit, and what is written."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from harness.archive import ARCHIVE, unpacked, write_archive
from harness.cli import main as command
from harness.cli.publish import TEXTS
from harness.doctor import examine
from harness.errors import InputError
from harness.publish import join as joining
from harness.publish.board import build_board
from harness.publish.document import DOCUMENT
from harness.publish.write import write_files
from harness.results import ORIGIN, find_runs, group_of, impossible_origin
from tests.edges.test_foreign_runs import say
from tests.unit.test_publish import PROVENANCE, out, write  # noqa: F401  (out: a board of toy runs)

ORIGINS = {
    "usual": "Some Group, new-idea 0.1, https://example.org/new_idea",
    "hostile": r"=</td><b>&\input{x}_$|`[a], =1+1, [a](b) 50 % ~ ^ # {",
}
GOOD = [0.72, 0.79]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def board(out, tmp_path_factory) -> Path:  # noqa: F811
    """A published board: its files and its archive."""
    folder = tmp_path_factory.mktemp("published") / "board"
    write_archive(out, folder / ARCHIVE)
    write_files(build_board(folder), folder, kinds=())
    return folder


@pytest.fixture
def guest(tmp_path) -> Path:
    return tmp_path / "guest"


def make(folder: Path, strategy: str = "new-idea", seeds=(0, 1, 2), **changes) -> Path:
    """Write runs that fit the board: its round 0, then two of their own."""
    for seed in seeds:
        shift = 0.01 * seed
        mious = [0.40 + shift, *(miou + shift for miou in GOOD)]
        write(folder, strategy, seed, mious, [100, 130, 160], **changes)
    return folder


@pytest.fixture
def run(monkeypatch, capsys):
    def call(*arguments) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["harness", "publish", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            command.main()
        said = capsys.readouterr()
        return end.value.code, said.out, said.err

    return call


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_strategy_is_added_with_its_origin_and_the_board_is_left_alone(board, guest, run):
    make(guest)
    write(guest, "full-data", 0, [0.80], [1000])  # as the board's own, to the last byte
    write(guest, "good", 7, [0.41, 0.7, 0.8], [100, 150, 200])  # a seed more than the board has
    before, new = contents(board), board.parent / "new"
    code, said, _ = run("--join", board, guest, "--origin", ORIGINS["usual"], "--out", new)
    assert code == 0
    assert f"joins new-idea of {ORIGINS['usual']}" in said
    assert "seeds 0, 1, 2; round 0 is the board's" in said
    assert "equal on both sides: full-data seeds 0" in said
    assert "left out, since the board has its own: good seeds 7" in said
    assert contents(board) == before
    assert {ARCHIVE, *TEXTS, "answer.png"} <= set(contents(new))
    joined = {row.strategy: row for row in build_board(new).rows}
    assert joined["new-idea"].label == "new-idea (Some Group)"
    assert joined["new-idea"].origin == ORIGINS["usual"]
    assert {row.origin for name, row in joined.items() if name != "new-idea"} == {""}
    own = {row.strategy: row for row in build_board(board).rows}
    assert joined["good"].curves == own["good"].curves
    for name in ("run.json", "rounds.jsonl", "chain.jsonl"):
        place = Path("runs/new-idea/seed-1") / name
        assert (unpacked(new) / place).read_bytes() == (guest / place).read_bytes()


@pytest.mark.parametrize("origin", ORIGINS.values(), ids=ORIGINS)
def test_every_file_says_whose_a_strategy_is(board, guest, run, origin):
    new = board.parent / "new"
    code, _, said = run("--join", board, make(guest), "--origin", origin, "--out", new)
    assert code == 0, said
    texts = {name: (new / name).read_text() for name in TEXTS}
    entries = DOCUMENT.validate_json(texts["leaderboard.json"]).entries
    assert {e.strategy: e.columns["origin"] for e in entries if e.theirs} == {"new-idea": origin}
    assert "external runs" in texts["leaderboard.md"].lower()
    if origin == ORIGINS["usual"]:
        assert f"| {origin} |" in texts["leaderboard.md"]
        assert "new-idea (Some Group)" in texts["leaderboard.md"]
        assert f'"{origin}"' in texts["leaderboard.csv"]
        table = texts["leaderboard.tex"].replace(r"\allowbreak{}", "")
        assert "new-idea (Some Group)" in table
        assert r"Joined: Some Group, new-idea 0.1, https://example.org/new\_idea." in table
    else:
        assert "</td>" not in texts["index.html"].split('id="data">')[1].split("</script>")[0]
        assert "<b>" not in texts["leaderboard.md"]
        table = texts["leaderboard.tex"].replace(r"\allowbreak{}", "")
        assert r"\input" not in table
        assert r"\textbackslash{}input\{x\}\_\$" in table


def test_a_joined_board_is_published_joined_checked_and_packed_again(board, guest, run, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    assert run("--join", board, make(guest), "--origin", "A, 1", "--out", first)[0] == 0
    assert run("--runs", first, "--check")[0] == 0
    assert run("--runs", first, "--archive", "--out", tmp_path / "again")[0] == 0
    for name in TEXTS:
        assert (tmp_path / "again" / name).read_bytes() == (first / name).read_bytes()
    other = make(tmp_path / "other", "another-idea")
    assert run("--join", first, other, "--origin", "B, 2", "--out", second)[0] == 0
    assert run("--runs", second, "--check")[0] == 0
    origins = {row.strategy: row.origin for row in build_board(second).rows if row.origin}
    assert origins == {"new-idea": "A, 1", "another-idea": "B, 2"}
    assert run("--runs", second, "--archive", "--out", tmp_path / "packed")[0] == 0
    assert (tmp_path / "packed" / ARCHIVE).read_bytes() == (second / ARCHIVE).read_bytes()
    # runs of a joined board keep their origin wherever they go
    assert run("--join", board, second, "--origin", "C", "--out", tmp_path / "third")[0] == 0
    assert {row.origin for row in build_board(tmp_path / "third").rows} == {"", "A, 1", "B, 2"}


def test_a_board_is_replaced_only_where_it_is_asked_for_and_as_a_whole(
    board, guest, run, monkeypatch
):
    (board / "notes.txt").write_text("of the host")
    before = contents(board)

    def fail(*_args, **_options):
        raise InputError("no room for figures")

    with monkeypatch.context() as patch:
        patch.setattr(joining, "write_files", fail)
        assert run("--join", board, make(guest), "--out", board)[0] == 2
    assert contents(board) == before
    assert [path.name for path in board.parent.iterdir()] == [board.name]
    assert run("--join", board, guest, "--out", board)[0] == 0
    assert (board / "notes.txt").read_text() == "of the host"
    assert run("--runs", board, "--check")[0] == 0
    assert "new-idea (theirs)" in (board / "leaderboard.md").read_text()
    assert [path.name for path in board.parent.iterdir()] == [board.name]


def test_a_check_says_what_would_be_joined_and_writes_nothing(board, guest, run):
    before = contents(board)
    code, said, _ = run("--join", board, make(guest), "--check")
    assert code == 0
    assert "joins new-idea of theirs" in said
    assert contents(board) == before
    assert [path.name for path in board.parent.iterdir()] == [board.name]


OTHER_TORCH = replace(PROVENANCE, versions={**PROVENANCE.versions, "torch": "1.0.0+cpu"})
STEPS = {"name": "toy", "harness": {"rounds": 2}, "training": {"steps": 9}, "remark": "Ours."}
REFUSED = {
    "another config": (
        {"config_sha256": "other", "config": STEPS},
        "same config (training.steps), got config and other",
    ),
    "other data": ({"data_fingerprint": "other"}, "same data (fingerprint), got data and other"),
    "another unit": (
        {"config": {"name": "toy", "harness": {"rounds": 2, "budget_unit": "clicks"}}},
        "same unit of their budgets, got pixels and clicks",
    ),
    "other classes": ({"class_names": ["road", "sky"]}, "same classes"),
    "another pool": ({"train_px": 20_000}, "same images, pixels and clicks of the pool"),
    "another device": ({"device": "cuda"}, "same device, got cpu and cuda; --allow-mixed"),
    "another trainer": ({"trainer_version": 2}, "same version of the trainer, got 1 and 2"),
    "another torch": ({"provenance": OTHER_TORCH}, "and 1.0.0; --allow-mixed takes it"),
}
ARITHMETIC = {"another device", "another trainer", "another torch"}


@pytest.mark.parametrize("what", REFUSED)
def test_runs_that_do_not_fit_are_one_line_that_names_both_sides(board, guest, run, what):
    changes, wanted = REFUSED[what]
    make(guest, **changes)
    new = board.parent / "new"
    code, _, said = run("--join", board, guest, "--out", new)
    assert code == 2
    assert said.startswith(f"harness: {board} and {guest} (new-idea seed 0) must have the same ")
    assert wanted in said
    assert said.count("\n") == 1
    assert not new.exists()
    code, _, said = run("--join", board, guest, "--out", new, "--allow-mixed")
    assert code == (0 if what in ARITHMETIC else 2)
    assert new.exists() == (what in ARITHMETIC)


def test_another_torch_is_marked(board, guest, run):
    make(guest, provenance=OTHER_TORCH)
    new = board.parent / "new"
    assert run("--join", board, guest, "--out", new, "--allow-mixed")[0] == 0
    text = (new / "leaderboard.md").read_text()
    assert "mixed versions of torch" in text
    assert "torch 1.0.0+cpu" in text
    assert run("--runs", new, "--check")[0] == 0


def test_a_guest_is_held_against_the_host_and_not_against_another_guest(
    board, guest, run, tmp_path
):
    make(guest, "a-guest", provenance=OTHER_TORCH)
    new = board.parent / "new"
    assert run("--join", board, guest, "--out", new, "--allow-mixed")[0] == 0
    fits, strange = make(tmp_path / "fits"), make(tmp_path / "strange", provenance=OTHER_TORCH)
    assert run("--join", new, fits, "--check")[0] == 0
    assert run("--join", new, strange, "--check")[0] == 2


def test_a_round_0_of_other_arithmetic_needs_a_word_and_is_marked(board, guest, run):
    for seed in (0, 1, 2):
        shift = 0.01 * seed
        write(guest, "new-idea", seed, [0.42 + shift, 0.7, 0.8 + shift], [100, 130, 160])
    new = board.parent / "new"
    code, _, said = run("--join", board, guest, "--out", new)
    assert code == 2
    assert "same round 0 (its mIoU differs by 2.00 points)" in said
    assert run("--join", board, guest, "--out", new, "--allow-mixed")[0] == 0
    text = (new / "leaderboard.md").read_text()
    assert "external runs with another round 0" in text
    assert "new-idea by 2.00 points of mIoU" in text


def test_another_seed_set_is_refused_always(board, guest, run):
    for seed in (0, 1, 2):
        write(guest, "new-idea", seed, [0.40 + 0.01 * seed, 0.7, 0.8], [90, 130, 160])
    for words in ([], ["--allow-mixed"]):
        code, _, said = run("--join", board, guest, "--out", board.parent / "new", *words)
        assert code == 2
        assert "must have the same seed set" in said


@pytest.mark.parametrize(
    ("seeds", "got"), [((0, 1), "0, 1"), ((0, 1, 2, 3), "0, 1, 2, 3"), ((7, 8, 9), "7, 8, 9")]
)
def test_seeds_must_be_the_board_s(board, guest, run, seeds, got):
    make(guest, seeds=seeds)
    code, _, said = run("--join", board, guest, "--out", board.parent / "new")
    assert code == 2
    assert f"new-idea of {guest} must have the seeds of {board}, 0, 1, 2, got {got}: " in said


def test_a_strategy_of_the_same_name_must_be_the_same(board, guest, run):
    make(guest)
    write(guest, "good", 1, [0.41, 0.71, 0.60], [100, 150, 200])
    new = board.parent / "new"
    code, _, said = run("--join", board, guest, "--out", new)
    assert code == 2
    assert "(good seed 1) must have the same rounds" in said
    assert "by up to 19.00 points of mIoU" in said
    code, said, _ = run("--join", board, guest, "--out", new, "--allow-mixed")
    assert code == 0
    assert "left out, since the board has its own: good seeds 1" in said
    own = {row.strategy: row for row in build_board(board).rows}
    joined = {row.strategy: row for row in build_board(new).rows}
    assert joined["good"].curves == own["good"].curves


def test_another_strategy_under_a_known_name_is_refused_always(board, guest, run):
    make(guest)
    write(guest, "good", 1, [0.41, 0.71, 0.79], [100, 150, 200], equation="another")
    code, _, said = run("--join", board, guest, "--out", board.parent / "new", "--allow-mixed")
    assert code == 2
    assert "(good seed 1) must have the same strategy under that name" in said


def test_a_reference_that_differs_needs_a_word(board, guest, run):
    make(guest)
    write(guest, "full-data", 0, [0.79], [1000])
    code, _, said = run("--join", board, guest, "--out", board.parent / "new")
    assert code == 2
    assert "(full-data seed 0) must have the same rounds" in said


def test_two_seeds_with_equal_rounds_are_refused(board, guest, run):
    make(guest)
    for seed in (0, 1):  # as older code wrote them: no chain binds rounds to their run
        say(guest / f"runs/new-idea/seed-{seed}", lambda _document: None)
    rounds = [guest / f"runs/new-idea/seed-{seed}/rounds.jsonl" for seed in (0, 1)]
    rounds[1].write_bytes(rounds[0].read_bytes())
    code, _, said = run("--join", board, guest, "--out", board.parent / "new", "--allow-mixed")
    assert (code, "must be two runs, but their rounds are equal" in said) == (2, True)
    assert said.count("\n") == 1


def test_unfinished_runs_nothing_new_and_no_runs_are_refused(board, guest, run, tmp_path):
    new = board.parent / "new"
    make(guest, seeds=(0, 1))
    write(guest, "new-idea", 2, [0.42, 0.7], [100, 130])
    code, _, said = run("--join", board, guest, "--out", new)
    assert (code, "new-idea seed 2 must be finished, got 2 of 3 rounds" in said) == (2, True)
    shutil.copytree(unpacked(board) / "runs" / "good", tmp_path / "same" / "runs" / "good")
    code, _, said = run("--join", board, tmp_path / "same", "--out", new)
    assert (code, f"must have a strategy that {board} does not have, got good" in said) == (2, True)
    (tmp_path / "empty").mkdir()
    code, _, said = run("--join", board, tmp_path / "empty", "--out", new)
    assert (code, "must be a folder with runs of harness bench" in said) == (2, True)
    assert not new.exists()


def test_uncommitted_code_needs_a_word(board, guest, run):
    make(guest, provenance=replace(PROVENANCE, dirty=True))
    code, _, said = run("--join", board, guest, "--out", board.parent / "new")
    assert (code, "of code that was not committed" in said) == (2, True)
    assert run("--join", board, guest, "--out", board.parent / "new", "--allow-dirty")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["--join", "BOARD"], "belong to --join BOARD"),
        (["GUEST"], "belong to --join BOARD"),
        (["--join", "BOARD", "GUEST", "--runs", "GUEST"], "belong to --join BOARD"),
        (["--join", "BOARD", "GUEST"], "--join needs --out"),
        (["--join", "BOARD", "GUEST", "--out", "GUEST"], "holds runs"),
        (["--join", "OWN", "GUEST", "--out", "OWN"], "holds runs"),
        (["--join", "BOARD", "GUEST", "--origin", "", "--out", "new"], "an origin must be"),
    ],
)
def test_a_command_that_cannot_be_is_one_line(board, guest, out, run, arguments, wanted):  # noqa: F811
    make(guest)
    before = sorted(guest.rglob("*"))
    places = {"BOARD": board, "GUEST": guest, "OWN": out}
    code, _, said = run(*(places.get(part, part) for part in arguments))
    assert code == 2
    assert wanted in said
    assert said.count("\n") == 1
    assert sorted(guest.rglob("*")) == before


@pytest.mark.parametrize(
    "origin", ["", " ", ",x", "a\nb", "x" * 31, "bound", "Tuned, 1", "x) (bound", "a" * 501]
)
def test_what_says_nothing_or_lies_is_no_origin(origin):
    assert impossible_origin(origin)


def test_the_short_name_is_what_stands_before_the_first_comma():
    assert impossible_origin("Some Group, 1.2") is None
    assert group_of("Some Group, 1.2") == "Some Group"
    assert group_of("theirs") == "theirs"


def test_a_damaged_origin_is_one_line(board, guest, run):
    new = board.parent / "new"
    assert run("--join", board, make(guest), "--out", new)[0] == 0
    shutil.copytree(unpacked(new), board.parent / "loose")
    file = board.parent / "loose/runs/new-idea/seed-0" / ORIGIN
    for content in (b"", b"\xff", b"a\nb\n", b"x" * 9999):
        file.write_bytes(content)
        code, _, said = run("--runs", board.parent / "loose")
        assert (code, said.count("\n")) == (2, 1)
        assert str(file) in said
        assert [finding.path for finding in examine(board.parent / "loose")] == [file]
    file.write_text("Another Group\n")
    code, _, said = run("--runs", board.parent / "loose")
    assert code == 2
    assert "the seeds of new-idea must be of one origin" in said


def test_boards_without_guests_have_no_such_column(board):
    document = json.loads((board / "leaderboard.json").read_text())
    assert all("origin" not in entry["columns"] for entry in document["entries"])
    assert "origin" not in (board / "leaderboard.csv").read_text().splitlines()[0]
    assert len(find_runs(unpacked(board))) == 4 * 3
