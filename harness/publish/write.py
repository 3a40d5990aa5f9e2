"""All files of a leaderboard."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.errors import RunError, one_line
from harness.publish.board import NOISE_STRATEGY, Board, build_board
from harness.publish.columns import columns_of
from harness.publish.curves import (
    draw_clicks,
    draw_cost_model,
    draw_differences,
    draw_pixels,
    draw_places,
)
from harness.publish.document import build_document, to_json
from harness.publish.figures import draw_curves, draw_ranks
from harness.publish.latex import to_tex
from harness.publish.notes import notes, work_done
from harness.publish.page import links_from, to_page
from harness.publish.photographs import generated_photos
from harness.publish.significance import Significance, compare_strategies
from harness.publish.tables import to_csv, to_markdown


def write_board(folder: Path) -> None:
    """Write all files of the board in a folder, beside its runs.

    Raises:
        RunError: a figure could not be drawn; all else is written.
    """
    _, _, faults = write_files(build_board(folder), folder)
    if faults:
        raise RunError(f"{'; '.join(faults)}; the tables are written")


def write_files(
    board: Board,
    out: Path,
    *,
    kinds: Sequence[str] = ("png",),
    photos: dict[str, Path] | None = None,
    home: Path | None = None,
) -> tuple[Significance | None, list[str], list[str]]:
    """Write tables, document, page and figures of a board.

    Tables come first, each file as a whole; a figure that cannot be drawn takes nothing with it.

    Args:
        kinds: of figures, from png, svg and pdf; the last two are those for a paper.
        photos: image id -> file, for the page; those of the embedded pack without it.
        home: where the files will lie, if not in ``out``: the page links to what is there.

    Returns:
        What was compared, the notes, and which figures could not be drawn.
    """
    significance = compare_strategies(board)
    beside = notes(board, significance)
    columns = columns_of(board, significance)
    document = build_document(board, significance, beside)
    calibrated = [
        (entry.strategy, entry.cost_calibration)
        for entry in document.entries
        if entry.cost_calibration and not entry.bound
    ]
    drawings: dict[str, Callable[[Path], None]] = {
        "answer": lambda path: draw_clicks(board, path),
        "leaderboard": lambda path: draw_pixels(board, path),
    }
    in_full = {"leaderboard": lambda path: draw_curves(board, path)}
    if significance:
        if NOISE_STRATEGY in significance.comparisons:
            drawings["differences"] = lambda path: draw_differences(board, path)
        drawings["ranks"] = lambda path: draw_places(significance, board, path)
        in_full["ranks"] = lambda path: draw_ranks(significance, board, path)
    if calibrated:
        drawings["cost-model"] = lambda path: draw_cost_model(board, calibrated, path)
    to_csv(board, columns, out / "leaderboard.csv")
    to_json(document, out / "leaderboard.json")
    to_tex(board, columns, out / "leaderboard.tex")
    to_page(
        board,
        document,
        columns,
        out / "index.html",
        photos=photos or generated_photos(board),
        links=links_from(home or out),
    )
    beside = [*beside, work_done(board)]
    to_markdown(board, columns, beside, out / "leaderboard.md", list(drawings))
    faults = []
    for name, kind in ((name, kind) for name in drawings for kind in kinds):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a glyph that no font has is drawn as a box
                draw = in_full.get(name, drawings[name]) if kind == "png" else drawings[name]
                draw(out / f"{name}.{kind}")
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001  a drawing library may raise anything
            said = one_line(f"{type(error).__name__}: {error}")
            faults.append(f"{out / name}.{kind} cannot be drawn ({said})")
    return significance, beside, faults
