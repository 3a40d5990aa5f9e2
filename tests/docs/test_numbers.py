"""Figures in documents are those of the published boards."""

import csv
import html
import json
import re

import pytest

from tests.bench.findings import CLAIMS
from tests.docs.pages import DOCS, ROOT, TOP, cells, headings, tables

SHORT = ["rank", "strategy", "clicks % to 95 %", "AUBC clicks", "pixels % to 95 %"]
ALL = [table for page in (*TOP, *DOCS) for table in tables(page)]
FINDINGS = ROOT / "docs/notebook/findings.md"


def board_before(table):
    """The board that was linked to last before a table."""
    return re.findall(r"results/([\w-]+)", table.before)[-1]


def wide(board):
    """The table of all figures of a board: strategy -> title -> text."""
    lines = (ROOT / "results" / board / "leaderboard.md").read_text().splitlines()
    rows = [cells(html.unescape(line)) for line in lines if line.startswith("| ")]
    start = next(n for n, row in enumerate(rows) if row[0] == "rank" and len(row) > len(SHORT))
    return {row[1]: dict(zip(rows[start], row, strict=True)) for row in rows[start + 1 :]}


def test_rows_of_leaderboards_are_the_boards_own():
    repeated = [table for table in ALL if table.header == SHORT]
    assert {board_before(table) for table in repeated} == {"camvid", "streets"}
    for table in repeated:
        figures = wide(board_before(table))
        for row in table.rows:
            assert row == [figures[row[1]][title] for title in SHORT]


def test_the_first_page_leaves_out_no_leader():
    """Rows stand in the board's order, and the board's first ten are all among them."""
    shown = [table for table in tables(ROOT / "README.md") if table.header == SHORT]
    assert len(shown) == 2
    for table in shown:
        ranked = list(wide(board_before(table)))
        names = [row[1] for row in table.rows]
        assert names[:10] == ranked[:10]
        assert names == sorted(names, key=ranked.index)


def test_what_a_perfect_cost_model_would_bring_is_the_board_s():
    (table,) = [item for item in ALL if item.header[:2] == ["strategy", "clicks, cost_B"]]
    figures = wide("streets")
    for strategy, clicks, miou, c95, area in table.rows:
        row = figures[strategy]
        last = [text for title, text in row.items() if title.startswith("mIoU at")][-1]
        assert (clicks, miou, area) == (row["clicks % (B)"], last, row["AUBC clicks"])
        assert c95 == row["clicks % to 95 %"].partition(" [")[0]


def table_of(board, title):
    """The table of the findings with that first column, below a board's heading."""
    (table,) = [
        table
        for table in tables(FINDINGS)
        if table.header[0] == title
        and table.before.rpartition("\n### ")[2].lower().startswith(board)
    ]
    return table


def difference(pairs, first, second):
    """As the command of the page prints it."""
    for pair in pairs:
        if {pair["first"], pair["second"]} == {first, second}:
            sign = 1 if pair["first"] == first else -1
            points = {key: 100 * sign * value for key, value in pair["difference"].items()}
            low, high = sorted((points["low"], points["high"]))
            mark = " ✓" if pair["differs"] else ""
            return f"{points['value']:+.1f} [{low:+.1f}, {high:+.1f}]{mark}"
    raise AssertionError(f"no pair {first}, {second}")


@pytest.mark.parametrize("board", ["camvid", "streets"])
def test_differences_to_a_strong_random_are_the_board_s(board):
    table = table_of(board, "against balanced random")
    document = json.loads((ROOT / "results" / board / "leaderboard.json").read_text())
    for strategy, over_clicks, over_pixels in table.rows:
        for axis, said in (("pairs", over_clicks), ("pixel_pairs", over_pixels)):
            assert said == difference(document[axis], strategy, "balanced-random"), strategy
    ranked = {row["strategy"] for row in document["entries"] if not row["bound"]}
    assert {row[0] for row in table.rows} == ranked - {"balanced-random"}


@pytest.mark.parametrize("board", ["camvid", "streets"])
def test_claims_are_the_board_s(board):
    table = table_of(board, "claim")
    claims = {claim: (first, second) for claim, first, second in CLAIMS}
    document = json.loads((ROOT / "results" / board / "leaderboard.json").read_text())
    figures = wide(board)
    for claim, over_clicks, over_pixels, *ends in table.rows:
        first, second = claims[claim]
        assert over_clicks == difference(document["pairs"], first, second), claim
        assert over_pixels == difference(document["pixel_pairs"], first, second), claim
        assert ends == [figures[name]["clicks % to 95 %"] for name in (first, second)], claim
    assert len(table.rows) == sum(
        {first, second} <= figures.keys() for first, second in claims.values()
    )


def test_the_table_of_the_first_minute_is_the_file_that_it_wrote():
    (table,) = [item for item in ALL if item.header[-1] == "clicks B"]
    with (ROOT / "docs/examples/minute.csv").open(newline="") as file:
        last = {row["strategy"]: row for row in csv.DictReader(file)}
    for strategy, *figures in table.rows:
        row = last[strategy]
        keys = ("clicks_to_80", "aubc_clicks", "miou", "clicks")
        assert figures == [f"{100 * float(row[key]):.1f}" for key in keys]
    assert len(last) == len(table.rows)


def test_the_findings_begin_with_conclusions():
    assert headings(FINDINGS).index("The tables") > 5
