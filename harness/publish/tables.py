"""A board as text: Markdown, CSV, terminal. Percent exists only here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from harness.files import write_text
from harness.publish.board import Board, Crossing, Row, Spread
from harness.publish.notes import WARNING
from harness.publish.significance import Significance
from harness.publish.text import cell, markdown, marks, plain


def _percent(spread: Spread | None, digits: int = 1) -> str:
    if spread is None:
        return "-"
    text = f"{100 * spread.mean:.{digits}f}"
    return text if spread.std is None else f"{text} ± {100 * spread.std:.{digits}f}"


def _crossing(crossing: Crossing | None) -> str:
    if crossing is None:
        return "-"
    if crossing.value is not None:
        return f"{100 * crossing.value:.1f}"
    partly = f" ({crossing.reached}/{crossing.seeds})" if crossing.reached else ""
    return f"> {100 * (crossing.beyond or 0.0):.1f}{partly}"


def _cells(row: Row, verdicts: Significance | None) -> list[str]:
    return [
        _rank(row, verdicts),
        markdown(row.label),
        *[_percent(value) for value in row.miou],
        _percent(row.share_of_full),
        _percent(row.cost_b[-1]),
        f"{row.hours.mean:.1f}",
        _crossing(row.p95),
        _crossing(row.c95),
        _percent(row.aubc_pixels),
        _percent(row.aubc_clicks),
        _gain(row, verdicts),
        _saved(row, verdicts),
    ]


def _rank(row: Row, verdicts: Significance | None) -> str:
    """Return the interval of places that a strategy may have, such as 1-4; - for a bound."""
    verdict = verdicts.verdicts[row.strategy] if verdicts else None
    if verdict is None or verdict.rank is None:
        return "-"
    alone = verdict.worst_rank == verdict.rank
    return str(verdict.rank) if alone else f"{verdict.rank}-{verdict.worst_rank}"


def _gain(row: Row, verdicts: Significance | None) -> str:
    gain = verdicts.verdicts[row.strategy].gain if verdicts else None
    return (
        "-"
        if gain is None
        else f"{100 * gain.value:+.1f} [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]"
    )


def _saved(row: Row, verdicts: Significance | None) -> str:
    saved = verdicts.verdicts[row.strategy].saved if verdicts else None
    return (
        "-"
        if saved is None
        else f"{100 * saved.value:+.0f} [{100 * saved.low:+.0f}, {100 * saved.high:+.0f}]"
    )


def _header(board: Board) -> list[str]:
    budgets = [f"mIoU at {100 * share:.1f} % px" for share in board.budget_shares]
    return [
        "rank",
        "strategy",
        *budgets,
        "% of full",
        "clicks % (B)",
        "hours",
        "p95 %",
        "c95 % (B)",
        "AUBC px",
        "AUBC clicks",
        "against random-region",
        "clicks saved %",
    ]


def to_markdown(
    board: Board,
    verdicts: Significance | None,
    beside: list[str],
    path: Path,
    figures: Sequence[str] = (),
) -> None:
    """Write the table, its warnings above, its notes and its figures, which lie beside it."""
    header = _header(board)
    lines = [f"# Leaderboard: {markdown(board.name)}", ""]
    if found := marks(board):
        lines += [f"**{markdown('; '.join(found)).capitalize()}.**", ""]
    lines += [f"> **{markdown(note)}**\n" for note in beside if note.startswith(WARNING)]
    lines += [
        "Figures in percent (hours: annotation time by the configured seconds per click); mean ± standard deviation over seeds. Bounds use what no annotator could know and have no place in the order.",
        "",
    ]
    lines += ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(_cells(row, verdicts)) + " |" for row in board.rows]
    notes = [markdown(note) for note in beside if not note.startswith(WARNING)]
    lines += ["", *[f"- {note}" for note in notes], ""]
    lines += [f"![{name}]({name}.png)\n" for name in figures]
    write_text(path, "\n".join(lines))


def to_csv(board: Board, verdicts: Significance | None, path: Path) -> None:
    """Write one line per strategy and round; shares in [0, 1], missing values empty."""
    found = marks(board)
    records = [
        {
            "rank": verdicts.verdicts[row.strategy].rank if verdicts else None,
            "strategy": cell(row.strategy),
            "bound": row.is_bound,
            "tuned": row.is_tuned,
            "theirs": row.is_theirs,
            "round": number,
            "pixel_share": sum(curve.pixel_share[number] for curve in row.curves) / len(row.curves),
            "cost_b": row.cost_b[number].mean,
            "cost_b_std": row.cost_b[number].std,
            "miou": row.miou[number].mean,
            "miou_std": row.miou[number].std,
            "seeds": len(row.curves),
            "p95": row.p95.value if row.p95 else None,
            "p95_beyond": row.p95.beyond if row.p95 else None,
            "p95_reached": row.p95.reached if row.p95 else None,
            "c95": row.c95.value if row.c95 else None,
            "c95_beyond": row.c95.beyond if row.c95 else None,
            "c95_reached": row.c95.reached if row.c95 else None,
            "aubc_pixels": row.aubc_pixels.mean,
            "aubc_clicks": row.aubc_clicks.mean,
            "cost_a_last": row.cost_a.mean,
            "hours_last": row.hours.mean,
            "polygon_clicks_last": row.polygon_clicks.mean,
            "cost_spearman": row.cost_spearman.mean if row.cost_spearman else None,
            "worst_rank": verdicts.verdicts[row.strategy].worst_rank if verdicts else None,
            "marks": cell("; ".join(found)),
        }
        for row in board.rows
        for number in range(len(row.miou))
    ]
    write_text(
        path,
        pd.DataFrame.from_records(records).to_csv(
            index=False, float_format="%.6f", lineterminator="\n"
        ),
    )


def to_rich(board: Board, verdicts: Significance | None, width: int) -> tuple[Table, str]:
    """Return the table for a terminal of so many columns, and a line about what it leaves out.

    Strategy names are never cut: the least important columns go until the rest fits.
    """
    columns = _terminal_columns(board, verdicts)
    left_out: list[str] = []
    while _width_of(columns) > width and any(column.drop for column in columns):
        least = max(columns, key=lambda column: column.drop)
        columns.remove(least)
        left_out.insert(0, least.title)
    said = "; ".join(marks(board))
    title = f"{plain(board.name)}: percent, means over seeds; ± standard deviation"
    table = Table(
        title=Text(f"{title} ({said})" if said else title),
        box=None,
        pad_edge=False,
        title_justify="left",
    )
    for column in columns:
        table.add_column(
            Text(column.title),
            justify="left" if column.title == "strategy" else "right",
            overflow="fold",
            no_wrap=column.title != "strategy",
        )
    for number in range(len(board.rows)):
        table.add_row(*(Text(column.cells[number]) for column in columns))
    line = f"not shown at this width: {', '.join(left_out)}; see leaderboard.md" if left_out else ""
    return table, line


class _Column(NamedTuple):
    """A column of the terminal's table; those with the highest ``drop`` go first, 0 never."""

    title: str
    cells: list[str]
    drop: int


def _terminal_columns(board: Board, verdicts: Significance | None) -> list[_Column]:
    rows, last = board.rows, len(board.budget_shares) - 1
    budgets = [
        _Column(
            f"{100 * share:.1f} % px",
            [
                _percent(row.miou[number])
                if number == last
                else f"{100 * row.miou[number].mean:.1f}"
                for row in rows
            ],
            2 if number == last else 20 + last - number,
        )
        for number, share in enumerate(board.budget_shares)
    ]
    return [
        _Column("rank", [_rank(row, verdicts) for row in rows], 1),
        _Column("strategy", [plain(row.label) for row in rows], 0),
        *budgets,
        _Column("clicks B", [f"{100 * row.cost_b[-1].mean:.1f}" for row in rows], 6),
        _Column("p95", [_crossing(row.p95) for row in rows], 7),
        _Column("c95 B", [_crossing(row.c95) for row in rows], 4),
        _Column("AUBC clicks", [f"{100 * row.aubc_clicks.mean:.1f}" for row in rows], 3),
        _Column("vs random-region", [_gain(row, verdicts) for row in rows], 5),
    ]


def _width_of(columns: Sequence[_Column]) -> int:
    """Return the width of a table with one space between its columns."""
    widest = [max(map(cell_len, [column.title, *column.cells])) for column in columns]
    return sum(widest) + 2 * (len(columns) - 1)
