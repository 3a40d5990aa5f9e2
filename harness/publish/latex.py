"""A board as a LaTeX table for a paper: the five columns that answer its question."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from harness.files import write_text
from harness.publish.board import Board
from harness.publish.columns import Column, answers
from harness.publish.text import breakable_latex, latex, marks

_TITLES = {
    "rank": "rank",
    "strategy": "strategy",
    "clicks_to_95": r"clicks, \%",
    "aubc_clicks": r"AUBC, \%",
    "p95": r"pixels, \%",
}


def to_tex(board: Board, columns: Sequence[Column], path: Path) -> None:
    """Write a booktabs table as wide as the text, with a caption that says what it shows.

    It needs the packages booktabs and tabularx. A name that is too long goes on in the next line.
    """
    shown = answers(columns)
    rows = list(zip(*(column.cells for column in shown), strict=True))
    ranked = [cells for row, cells in zip(board.rows, rows, strict=True) if not row.is_bound]
    bounds = [cells for row, cells in zip(board.rows, rows, strict=True) if row.is_bound]
    lines = [
        r"% made by harness publish; needs \usepackage{booktabs,tabularx}",
        r"\begin{table*}[tb]",
        r"\centering\footnotesize\setlength{\tabcolsep}{4pt}",
        rf"\caption{{{_caption(board, [text for cells in rows for text in cells])}}}",
        rf"\label{{tab:{_label(board.name)}}}",
        r"\smallskip",
        r"\begin{tabularx}{\textwidth}{@{}r>{\raggedright\arraybackslash}Xrrr@{}}",
        r"\toprule",
        " & ".join(_TITLES[column.key] for column in shown) + r" \\",
        r"\midrule",
        *map(_row, ranked),
        *([r"\midrule"] if ranked and bounds else []),
        *map(_row, bounds),
        r"\bottomrule",
        r"\end{tabularx}",
        *(rf"\par\smallskip\raggedright {said}" for said in _footnotes(board)),
        r"\end{table*}",
        "",
    ]
    write_text(path, "\n".join(lines))


def _row(cells: Sequence[str]) -> str:
    rank, strategy, *figures = cells
    return " & ".join([_cell(rank), breakable_latex(strategy), *map(_cell, figures)]) + r" \\"


def _cell(text: str) -> str:
    """Return a figure: a range with its dash, how many seeds reach a level raised behind it."""
    if text == "-":
        return "--"
    text, reached = re.fullmatch(r"(.*?)(?: \((\d+/\d+)\))?", text).groups()  # type: ignore[union-attr]
    shown = re.sub(r"^(\d+)-(\d+)$", r"\1--\2", latex(text))
    return shown + (rf"\textsuperscript{{{reached}}}" if reached else "")


def _caption(board: Board, cells: Sequence[str]) -> str:
    """Say what the columns hold, of how many seeds, and what must not be overlooked."""
    text = " ".join(cells)
    reach = [
        "Clicks (cost B), pixels: the share of the training set's at which a strategy reaches "
    ]
    reach += ["95 % of the full-data mIoU"]
    if "[" in text:
        reach += [", the median over seeds with its 95 % interval in brackets"]
    if "?]" in text:
        reach += ["; ?: it has no end"]
    if ">" in text:
        reach += ["; >: half of the seeds or more did not reach it up to there"]
    if re.search(r"\(\d+/\d+\)", text):
        reach += ["; raised: how many seeds reach it, where not all do"]
    area = "AUBC: area under the curve of mIoU over clicks"
    area += ", mean ± standard deviation over seeds" * ("±" in text)
    rank = "Rank: from the best to the worst place that the tests between strategies leave"
    said = [f"{'; '.join(marks(board))}" if marks(board) else "", _seeds(board)]
    first = "; ".join(part for part in said if part)
    sentences = [first[0].upper() + first[1:], "".join(reach), area, *([rank] * (text[0] != "-"))]
    name = breakable_latex(board.name)
    return f"Leaderboard {name}. " + " ".join(f"{latex(line)}." for line in sentences)


def _seeds(board: Board) -> str:
    counts = sorted({len(row.curves) for row in board.rows})
    if counts == [1]:
        return "one seed"
    return f"{counts[0]} seeds" if len(counts) == 1 else f"{counts[0]} to {counts[-1]} seeds"


def _footnotes(board: Board) -> list[str]:
    lines = [
        f"Joined: {breakable_latex(origin)}."
        for origin in sorted({row.origin for row in board.rows} - {""})
    ]
    if any(row.is_bound for row in board.rows):
        lines.insert(0, "Bounds use what no annotator could know and have no rank.")
    return lines


def _label(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "board"
