"""``harness publish``: run folders to a leaderboard."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def publish(
    runs: Annotated[Path, typer.Option(help="A folder that harness bench wrote.")] = Path("out"),
    out: Annotated[Path | None, typer.Option(help="Where leaderboard.md, .csv and the figure go; beside the runs without it.")] = None,
) -> None:
    """Compute the leaderboard again from the run files alone."""
    write_board(runs, out or runs)


def write_board(runs: Path, out: Path) -> None:
    """Read the runs, write the leaderboard files, print the table."""
    from rich.console import Console

    from harness.publish.board import build_board
    from harness.publish.figures import draw_curves
    from harness.publish.notes import notes
    from harness.publish.significance import judge
    from harness.publish.tables import to_csv, to_markdown, to_rich

    board = build_board(runs)
    verdicts = judge(board)
    draw_curves(board, out / "leaderboard.png")
    to_csv(board, verdicts, out / "leaderboard.csv")
    beside = notes(board, verdicts, runs)
    to_markdown(board, verdicts, beside, out / "leaderboard.md")
    console = Console(highlight=False, width=None if Console().is_terminal else 160)
    console.print(to_rich(board, verdicts))
    for note in beside:
        console.print(note, markup=False, soft_wrap=True)
    typer.echo(f"wrote {out / 'leaderboard.md'}, leaderboard.csv and leaderboard.png")
