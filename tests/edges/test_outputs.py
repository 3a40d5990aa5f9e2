"""What is written for people and programs: names in every format, marks, warnings, widths, streams."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from harness.cli.publish import console_width
from harness.publish import text
from harness.publish.board import build_board
from harness.publish.columns import columns_of
from harness.publish.latex import to_tex
from harness.publish.notes import WARNING, notes
from harness.publish.significance import compare_strategies
from harness.publish.tables import to_rich
from harness.publish.write import write_files
from tests.unit.test_publish import LABEL_PX, write
from tests.unit.test_publish import out as make_out  # noqa: F401  (a board of twelve runs)

ROOT = str(Path(__file__).resolve().parent.parent.parent)


@pytest.fixture
def board(make_out):  # noqa: F811
    return make_out


EVIL = [
    "[/red]",
    "[bold]x[/]",
    "a$b$c",
    r"\input{evil}",
    "50%_&#{}~^",
    "=cmd|' C'!A0",
    "+1",
    "-1+2",
    "@SUM(A1)",
    "<script>alert(1)</script>",
    "a|b",
    "![x](http://e.x)",
    "`code`",
    "_hidden",
    "ünïcode 漢字",
    "a" * 200,
]


@pytest.mark.parametrize("name", EVIL)
def test_a_name_is_shown_as_it_is_in_every_format(tmp_path, name):
    strategy = name.replace("/", "").replace("\\", "").strip()
    config = {"name": name, "harness": {"rounds": 2}, "remark": name}
    for seed in (0, 1, 2):
        shift = seed / 100
        write(
            tmp_path, "random-region", seed, [0.4, 0.5, 0.6 + shift], [100, 200, 300], config=config
        )
        write(tmp_path, strategy, seed, [0.4, 0.6, 0.7 + shift], [100, 200, 300], config=config)
    board = build_board(tmp_path)
    out = tmp_path / "out"
    _, _, faults = write_files(board, out)
    assert faults == []
    check_csv(out / "leaderboard.csv", strategy)
    check_tex((out / "leaderboard.tex").read_text(), strategy)
    check_markdown((out / "leaderboard.md").read_text())
    document = json.loads((out / "leaderboard.json").read_text())
    assert {entry["strategy"] for entry in document["entries"]} == {"random-region", strategy}
    assert "<script>alert" not in (out / "index.html").read_text()
    shown = render(board, 400)
    assert strategy in shown


def check_csv(file, strategy):
    rows = list(csv.DictReader(io.StringIO(file.read_text())))
    assert {row["strategy"].removeprefix("'") for row in rows} == {"random-region", strategy}
    for row in rows:
        assert not row["strategy"].startswith(("=", "+", "-", "@"))
        assert float(row["miou"]) > 0


def check_tex(content, strategy):
    """Nothing of a name is a command, a comment or a line of its own."""
    assert text.latex(strategy) in content.replace(r"\allowbreak{}", "")
    lines = content.splitlines()
    assert lines[0].startswith("% ")
    assert lines[1].startswith(r"\begin{table*}")
    for line in lines[1:]:
        bare = re.sub(r"\\[&%$#_{}]", "", line)
        assert "%" not in bare
        assert bare.count("$") % 2 == 0
        assert r"\input" not in bare
        assert bare.count("{") == bare.count("}")


def check_markdown(content):
    assert "<script>" not in content
    tables = [block.splitlines() for block in content.split("\n\n") if block.startswith("|")]
    assert len(tables) == 2
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1


LETTERS = "ÀÉÎÕÜÅÇßæøœł-čńřşůžŸ--漢±"
PAPERS = {
    "one column": r"\documentclass{article}",
    "two columns": r"\documentclass[twocolumn]{article}",
    "another encoding": r"\documentclass[11pt,a4paper]{article}\usepackage[T1]{fontenc}",
}


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Tables of boards with names that are hard to set, and of published ones."""
    folder = tmp_path_factory.mktemp("tables")
    for number, name in enumerate([*EVIL, LETTERS]):
        config = {"name": name, "harness": {"rounds": 2}}
        bare = name.replace("/", "").replace("\\", "").strip()
        for seed in (0, 1, 2):
            for strategy in ("random-region", bare, f"{bare[:60]}-oracle-cost"):
                write(
                    folder / str(number),
                    strategy,
                    seed,
                    [0.4, 0.5, 0.6 + len(strategy) / 1000 + seed / 100],
                    [100, 200, 300],
                    config=config,
                )
        write(folder / str(number), "full-data", 0, [0.65], [1000], config=config)
        write_table(folder / str(number), folder / f"{number}.tex")
    for name in ("camvid", "camvid-finetuned", "streets-standard"):
        write_table(Path(ROOT) / "results" / name, folder / f"{name}.tex")
    return folder


def write_table(runs, path):
    board = build_board(runs)
    to_tex(board, columns_of(board, compare_strategies(board)), path)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is missing")
@pytest.mark.parametrize("paper", PAPERS)
def test_latex_tables_compile_and_are_no_wider_than_the_text(tables, tmp_path, paper):
    files = sorted(tables.glob("*.tex"))
    assert len(files) == len(EVIL) + 4
    inputs = "".join(rf"\input{{{file}}}\clearpage" for file in files)
    (tmp_path / "paper.tex").write_text(
        rf"{PAPERS[paper]}\usepackage{{booktabs,tabularx}}\begin{{document}}{inputs}\end{{document}}"
    )
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "paper.tex"]
    subprocess.run(command, cwd=tmp_path, check=False, capture_output=True)
    log = (tmp_path / "paper.log").read_text(errors="replace")
    assert f"({len(files)} pages" in log, log[-2000:]
    assert [line for line in log.splitlines() if line.startswith(("Overfull", "!"))] == []


def render(board, width):
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(to_rich(board, columns_of(board, None), width)[0])
    return console.export_text()


# --------------------------------------------------------------------------------------------- width


@pytest.mark.parametrize("width", [60, 80, 100, 120, 160, 200])
def test_the_terminal_table_never_cuts_a_figure_or_a_name(board, width):
    for seed in (0, 1, 2):
        name = "cereals-g3-vote-entropy[alpha=0.30000000000000004,cost=whole,passes=12]"
        write(board, name, seed, [0.4, 0.5, 0.61 + seed / 100], [100, 200, 300])
    made = build_board(board)
    shown = render(made, width)
    table, left_out = to_rich(made, columns_of(made, None), width)
    lines = shown.splitlines()
    assert max(map(len, lines)) <= width
    assert "…" not in shown
    folded = "".join(line.strip() for line in lines)
    assert "random-region" in shown
    assert "cost=whole" in folded or "cost=who" in folded
    if width >= 120:
        assert "AUBC clicks" in shown
    whole = len(table.columns) == sum(c.drop is not None for c in columns_of(made, None))
    assert whole == (left_out == "")
    assert whole or "see leaderboard.md" in left_out


def test_what_matters_most_goes_last(board):
    made = build_board(board)
    narrow = render(made, 60)
    assert "strategy" in narrow
    assert "rank" in narrow
    wide = render(made, 200)
    for title in ("clicks to 95 %", "pixels to 95 %", "vs random-region", "20.0 % px"):
        assert title in wide


@pytest.mark.parametrize(
    ("columns", "width"),
    [("80", 80), ("1", 40), ("0", 160), ("abc", 160), ("-5", 160), ("9" * 50, 160)],
)
def test_the_width_is_asked_of_the_environment(monkeypatch, columns, width):
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr("os.get_terminal_size", lambda _fd: os.terminal_size((0, 0)))
    assert console_width() == width


# --------------------------------------------------------------------------------- marks and warnings


@pytest.mark.parametrize(
    ("changes", "mark"),
    [
        ({"simulated_clicks": True}, "simulated clicks"),
        (
            {"config": {"training": {"frozen_trunk": True}, "pretrained_sha256": "ab"}},
            "proxy: frozen trunk",
        ),
        ({"config": {"pretrained_sha256": "ab"}}, "given weights"),
        ({"config": {"annotator": {"missed": 0.1}}}, "noisy annotators"),
    ],
)
def test_what_must_not_be_overlooked_stands_in_every_output(tmp_path, changes, mark):
    config = {
        "name": "toy",
        "harness": {"rounds": 2},
        "model": {"backbone": {"pretrained": "x.pth"}},
        **changes.get("config", {}),
    }
    for seed in (0, 1, 2):
        curve = [0.4, 0.5, 0.6 + seed / 100]
        write(
            tmp_path, "random-region", seed, curve, [100, 200, 300], **{**changes, "config": config}
        )
    board = build_board(tmp_path)
    assert mark in text.marks(board)
    out = tmp_path / "out"
    write_files(board, out, kinds=("svg",))
    for name in (
        "leaderboard.md",
        "leaderboard.csv",
        "leaderboard.tex",
        "leaderboard.svg",
        "index.html",
    ):
        content = (out / name).read_text()
        assert mark in content.lower(), name
    assert json.loads((out / "leaderboard.json").read_text())["marks"] == [mark]
    assert mark in render(board, 200)


def warned(board):
    return [line for line in notes(board, None) if line.startswith(WARNING)]


def test_a_reference_that_is_none_is_said_loudly(tmp_path):
    for seed in (0, 1):
        write(tmp_path, "full-data", seed, [0.3 + seed / 100], [1000])
        write(tmp_path, "random-region", seed, [0.4 + seed / 100, 0.5, 0.6], [100, 200, 300])
    board = build_board(tmp_path)
    assert any("no better than the seed set" in line for line in warned(board))
    out = tmp_path / "out"
    write_files(board, out)
    page = (out / "leaderboard.md").read_text()
    assert page.index("WARNING") < page.index("| rank")
    assert "WARNING" in (out / "index.html").read_text()


def test_a_reference_worse_than_a_strategy_and_a_threshold_at_the_seed_set_are_said(tmp_path):
    for seed in (0, 1):
        write(tmp_path, "full-data", seed, [0.55 + seed / 100], [1000])
        write(tmp_path, "random-region", seed, [0.54 + seed / 100, 0.55, 0.6], [100, 200, 300])
    said = warned(build_board(tmp_path))
    assert any("is worse than random-region after the last round" in line for line in said)
    assert any("is reached at the seed set" in line for line in said)


def test_a_class_that_val_lacks_and_small_crops_are_said(tmp_path):
    import dataclasses

    from harness.results import RunFolder, run_path
    from tests.unit.test_publish import info, record

    config = {"name": "toy", "harness": {"rounds": 0}, "training": {"crop": [10, 10]}}
    folder = RunFolder(run_path(tmp_path, "random-region", 0))
    folder.open(info("random-region", 0, config=config))
    made = record(0, 0.5, 100)
    areas = [
        area._replace(
            intersection=[LABEL_PX // 2, 0], prediction=[LABEL_PX, 0], label=[LABEL_PX, 0]
        )
        for area in made.areas
    ]
    folder.append(dataclasses.replace(made, areas=areas))
    said = warned(build_board(tmp_path))
    assert any("val holds no pixel of sidewalk" in line for line in said)
    assert any("crops of 10x10 px are small" in line for line in said)


def test_a_good_board_has_no_warning(board):
    assert warned(build_board(board)) == []


def test_interruptions_change_nothing_but_the_hours(board, tmp_path):
    for file in [path / "timings.jsonl" for path in board.glob("runs/*/*")]:
        file.write_text('{"round": 0, "training": 3600.0}\n')
    write_files(build_board(board), tmp_path / "one", kinds=())
    for file in board.glob("runs/*/*/timings.jsonl"):
        file.write_text(file.read_text() * 3)
    write_files(build_board(board), tmp_path / "two", kinds=())
    for name in ("leaderboard.json", "leaderboard.csv", "leaderboard.tex", "index.html"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), (
            name
        )
    assert "12.00 hours" in (tmp_path / "one/leaderboard.md").read_text()


def test_a_figure_that_cannot_be_drawn_takes_no_table_with_it(board, tmp_path, monkeypatch):
    def broken(*_):
        raise ValueError("no such\nglyph")

    monkeypatch.setattr("harness.publish.write.draw_ranks", broken)
    _, _, faults = write_files(build_board(board), tmp_path / "out")
    assert len(faults) == 1
    assert "ranks.png cannot be drawn (ValueError: no such glyph)" in faults[0]
    assert (tmp_path / "out/leaderboard.md").is_file()
    assert (tmp_path / "out/leaderboard.png").is_file()


# ------------------------------------------------------------------------------------------- streams


def publish(board, **options):
    environment = {**os.environ, "PYTHONPATH": ROOT, **options.pop("environment", {})}
    environment.pop("PYTHONUTF8", None)
    return subprocess.run(
        [sys.executable, "-m", "harness", "publish", "--allow-dirty", "--runs", str(board)],
        env=environment,
        check=False,
        timeout=120,
        stderr=subprocess.PIPE,
        **options,
    )


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"},
        {"PYTHONIOENCODING": "latin-1"},
        {"TERM": "dumb", "NO_COLOR": "1", "COLUMNS": "1"},
    ],
    ids=["ascii", "latin-1", "dumb"],
)
def test_a_stream_of_few_characters_loses_nothing(board, environment):
    done = publish(board, stdout=subprocess.PIPE, environment=environment)
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    assert b"random-region" in done.stdout.replace(b"\n", b"")
    assert (board / "leaderboard.png").is_file()


def test_a_full_or_closed_output_loses_nothing(board):
    with Path("/dev/full").open("w") as full:
        done = publish(board, stdout=full)
    assert done.returncode == 0
    assert done.stderr.decode() == "harness: the output could not be written in full\n"
    assert (board / "leaderboard.md").is_file()
    (board / "leaderboard.md").unlink()
    read, write_end = os.pipe()
    os.close(read)
    done = publish(board, stdout=write_end)
    os.close(write_end)
    assert done.returncode == 0
    assert (board / "leaderboard.md").is_file()
    (board / "leaderboard.md").unlink()
    done = publish(board, preexec_fn=lambda: os.close(1))
    assert done.returncode == 0, done.stderr
    assert (board / "leaderboard.md").is_file()
