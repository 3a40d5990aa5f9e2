"""A board as text: Markdown, CSV, terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from harness.files import write_text
from harness.publish.board import Board
from harness.publish.columns import Column, Value, answers, figures
from harness.publish.notes import WARNING
from harness.publish.text import cell, markdown, marks, plain


def to_markdown(
    board: Board,
    columns: Sequence[Column],
    beside: list[str],
    path: Path,
    figures: Sequence[str] = (),
) -> None:
    """Write the answer, the whole table behind it, warnings above, notes and figures below."""
    lines = [f"# Leaderboard: {markdown(board.name)}", ""]
    if found := marks(board):
        lines += [f"**{markdown('; '.join(found)).capitalize()}.**", ""]
    lines += [f"> **{markdown(note)}**\n" for note in beside if note.startswith(WARNING)]
    lines += [
        "Figures in percent; mean ± standard deviation over seeds, or the median over seeds with "
        "its 95 % interval. Bounds use what no annotator could know and have no place in the "
        "order.",
        "",
        *_markdown_table(answers(columns)),
        "",
    ]
    lines += [f"![{name}]({name}.png)\n" for name in figures[:1]]
    lines += ["## All figures", ""]
    lines += ["Hours: annotation time by the configured seconds per click.", ""]
    lines += [*_markdown_table(columns), ""]
    notes = [markdown(note) for note in beside if not note.startswith(WARNING)]
    lines += [*[f"- {note}" for note in notes], ""]
    lines += [f"![{name}]({name}.png)\n" for name in figures[1:]]
    write_text(path, "\n".join(lines))


def _markdown_table(columns: Sequence[Column]) -> list[str]:
    rows = zip(*(column.cells for column in columns), strict=True)
    return [
        "| " + " | ".join(column.title for column in columns) + " |",
        "|" + "---|" * len(columns),
        *("| " + " | ".join(map(markdown, cells)) + " |" for cells in rows),
    ]


def to_csv(board: Board, columns: Sequence[Column], path: Path) -> None:
    """Write one line per strategy and round; shares in [0, 1], missing values empty.

    A column that shows an interval has two more beside it, ``_low`` and ``_high``.
    """
    found = marks(board)
    kept = [column for column in columns if column.key != "strategy" and "miou_" not in column.key]
    records = [
        {
            "strategy": cell(row.strategy),
            "bound": row.is_bound,
            "tuned": row.is_tuned,
            "theirs": bool(row.origin),
            "round": number,
            "pixel_share": sum(curve.pixel_share[number] for curve in row.curves) / len(row.curves),
            "cost_b": row.cost_b[number].mean,
            "cost_b_std": row.cost_b[number].std,
            "miou": row.miou[number].mean,
            "miou_std": row.miou[number].std,
            "seeds": len(row.curves),
            **{key: _in_csv(value) for key, value in figures(kept, place).items()},
            "p95_beyond": row.p95.beyond if row.p95 else None,
            "p95_reached": row.p95.reached if row.p95 else None,
            "c95_beyond": row.c95.beyond if row.c95 else None,
            "c95_reached": row.c95.reached if row.c95 else None,
            "cost_a_last": row.cost_a.mean,
            "polygon_clicks_last": row.polygon_clicks.mean,
            "cost_spearman": row.cost_spearman.mean if row.cost_spearman else None,
            "marks": cell("; ".join(found)),
        }
        for place, row in enumerate(board.rows)
        for number in range(len(row.miou))
    ]
    write_text(
        path,
        pd.DataFrame.from_records(records).to_csv(
            index=False, float_format="%.6f", lineterminator="\n"
        ),
    )


def _in_csv(value: Value) -> Value:
    return cell(value) if isinstance(value, str) else value


def to_rich(board: Board, columns: Sequence[Column], width: int) -> tuple[Table, str]:
    """Return the table for a terminal of so many columns, and a line about what it leaves out.

    Strategy names are never cut: the least important columns go until the rest fits.
    """
    shown = [column for column in columns if column.drop is not None]
    left_out: list[str] = []
    while _width_of(shown) > width and any(column.drop for column in shown):
        least = max(shown, key=lambda column: column.drop or 0)
        shown.remove(least)
        left_out.insert(0, least.short)
    said = "; ".join(marks(board))
    title = f"{plain(board.name)}: percent over seeds: mean ± deviation, or median [95 % interval]"
    table = Table(
        title=Text(f"{title} ({said})" if said else title),
        box=None,
        pad_edge=False,
        title_justify="left",
    )
    for column in shown:
        table.add_column(
            Text(column.short),
            justify="left" if column.key == "strategy" else "right",
            overflow="fold",
            no_wrap=column.key != "strategy",
        )
    for number in range(len(board.rows)):
        table.add_row(*(Text(plain(column.cells[number])) for column in shown))
    line = f"not shown at this width: {', '.join(left_out)}; see leaderboard.md" if left_out else ""
    return table, line


def _width_of(columns: Sequence[Column]) -> int:
    """Return the width of a table with one space between its columns."""
    widest = [max(map(cell_len, [column.short, *map(plain, column.cells)])) for column in columns]
    return sum(widest) + 2 * (len(columns) - 1)
