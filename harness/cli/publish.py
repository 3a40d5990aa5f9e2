"""``harness publish``: run folders to a leaderboard."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.errors import InputError, RunError

if TYPE_CHECKING:
    from harness.publish.board import Board
    from harness.publish.join import Joining
    from harness.publish.significance import Significance
    from harness.results import Run

TEXTS = ("leaderboard.md", "leaderboard.csv", "leaderboard.json", "leaderboard.tex", "index.html")
"""What ``--check`` compares, byte for byte.

Figures depend on the version of the drawing library.
"""


def publish(
    joined: Annotated[
        list[Path] | None,
        typer.Argument(metavar="RUNS", help="With --join: folders with runs of another group."),
    ] = None,
    join: Annotated[
        Path | None,
        typer.Option(
            metavar="BOARD",
            help="A published board to which the strategies in RUNS are added, if they fit; "
            "--out says where the new board goes, and with --check nothing is written.",
        ),
    ] = None,
    origin: Annotated[
        str | None,
        typer.Option(
            help="Who made RUNS, such as 'Group, version, URL'; the first part stands behind names."
        ),
    ] = None,
    runs: Annotated[
        list[Path] | None,
        typer.Option(help="A folder that harness bench wrote; give it again for more machines."),
    ] = None,
    theirs: Annotated[
        list[Path] | None,
        typer.Option(help="Runs of another group on the same board; they are marked."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where the files go; beside the first runs without it.")
    ] = None,
    photos: Annotated[
        Path | None,
        typer.Option(help="A data root whose photographs may be passed on: they go into the page."),
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Write nothing; fail where a published file is not what its runs say."
        ),
    ] = False,
    archive: Annotated[
        bool,
        typer.Option(
            "--archive", help="Pack the run files into one file of --out, which publish reads too."
        ),
    ] = False,
    vector: Annotated[
        bool,
        typer.Option("--vector", help="Figures for a paper too, one column wide, as PDF and SVG."),
    ] = False,
    allow_dirty: Annotated[
        bool, typer.Option("--allow-dirty", help="Take runs of code that was not committed.")
    ] = False,
    allow_mixed: Annotated[
        bool,
        typer.Option(
            "--allow-mixed",
            help="Take runs of different configs, data or trainers; with --join, of another "
            "device, trainer or version of torch.",
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print leaderboard.json in place of the table.")
    ] = False,
) -> int:
    """Compute the leaderboard again from the run files alone, or join runs to a published one."""
    kinds = ("png", "svg", "pdf") if vector else ("png",)
    if join or joined or origin is not None:
        from harness.publish.join import write_joined

        if not (join and joined) or runs or theirs or archive:
            raise InputError(
                "RUNS and --origin belong to --join BOARD, which goes without --runs, --theirs and "
                "--archive: a joined board always has one"
            )
        if out is None and not check:
            raise InputError("--join needs --out: a new folder, or BOARD itself")
        joining = _fitting(join, joined, origin, allow_dirty=allow_dirty, allow_mixed=allow_mixed)
        for line in joining.lines:
            typer.echo(line, err=as_json)
        if out is not None and not check:
            found = _photos(photos) if photos else None
            written = write_joined(joining, out, mixed=allow_mixed, kinds=kinds, photos=found)
            _print_board(out, *written, as_json=as_json)
        return 0
    folders = runs or [Path("out")]
    board = _read(folders, theirs or [], allow_dirty=allow_dirty, allow_mixed=allow_mixed)
    target = out or folders[0]
    if target.exists() and not target.is_dir():
        raise InputError(f"--out must be a folder, got the file {target}")
    found = _photos(photos) if photos else None
    if archive:
        _check_archive(folders, theirs or [], target, check=check)
    if check:
        return _check(board, target, found)
    if archive:
        from harness.archive import ARCHIVE, unpacked, write_archive

        count = write_archive(unpacked(folders[0]), target / ARCHIVE)
        typer.echo(f"packed {count} run files into {target / ARCHIVE}", err=as_json)
    _write_and_print(board, target, found, kinds, as_json=as_json)
    return 0


def _check_archive(
    folders: Sequence[Path], external: Sequence[Path], target: Path, *, check: bool
) -> None:
    """Refuse an archive of what it cannot hold."""
    if len(folders) > 1 or external or check:
        raise InputError("--archive packs one folder of runs, without --theirs and --check")
    if folders[0].resolve() == target.resolve():
        raise InputError(
            "--archive needs --runs with a folder of runs, and another folder as --out"
        )


def _read(
    folders: Sequence[Path], external: Sequence[Path], *, allow_dirty: bool, allow_mixed: bool
) -> Board:
    from harness.publish.board import build_board

    board = build_board(*folders, external=external, mixed=allow_mixed)
    if not allow_dirty:
        _check_committed(folders[0], board.runs)
    return board


def _check_committed(folder: Path, runs: Sequence[Run]) -> None:
    """Refuse runs of code that was not committed."""
    dirty = [run.info for run in runs if run.info.provenance.dirty]
    if dirty:
        raise InputError(
            f"{folder}: {len(dirty)} runs, such as {dirty[0].strategy} seed {dirty[0].seed}, "
            "are of code that was not committed; give runs of a clean commit, or --allow-dirty"
        )


def _fitting(
    place: Path,
    folders: Sequence[Path],
    origin: str | None,
    *,
    allow_dirty: bool,
    allow_mixed: bool,
) -> Joining:
    """Return what of another group's runs is joined to a board."""
    from harness.publish.join import check_joining

    joining = check_joining(place, folders, origin, mixed=allow_mixed)
    if not allow_dirty:
        _check_committed(folders[0], joining.added)
    return joining


def _photos(root: Path) -> dict[str, Path]:
    from harness.data.cityscapes import Split
    from harness.files import cache_folder

    return {
        image_id: files.photo
        for image_id, files in Split(root, "train", cache_folder()).files.items()
    }


def write_board(runs: Path, out: Path) -> None:
    """Read the runs, write the leaderboard files, print the table.

    Raises:
        RunError: a figure could not be drawn; all else is written and printed.
    """
    from harness.publish.board import build_board

    _write_and_print(build_board(runs), out)


def _write_and_print(
    board: Board,
    out: Path,
    photos: dict[str, Path] | None = None,
    kinds: Sequence[str] = ("png",),
    *,
    as_json: bool = False,
) -> None:
    from harness.publish.write import write_files

    _print_board(out, board, *write_files(board, out, kinds=kinds, photos=photos), as_json=as_json)


def _print_board(
    out: Path,
    board: Board,
    significance: Significance | None,
    notes: list[str],
    faults: list[str],
    *,
    as_json: bool,
) -> None:
    """Print what was written: the table, or the document.

    Raises:
        RunError: a figure could not be drawn.
    """
    if as_json:
        typer.echo((out / "leaderboard.json").read_text(encoding="utf-8"), nl=False)
    else:
        _print(board, significance, notes, out)
    if faults:
        raise RunError(f"{'; '.join(faults)}; the tables are written")


_NO_TERMINAL = 160


def console_width() -> int:
    """Return how wide a table may be: COLUMNS, the terminal's width, or 160 where there is none."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isascii() and columns.isdigit() and len(columns) < 6 and int(columns) > 0:
        return max(int(columns), 40)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or _NO_TERMINAL
    except (OSError, ValueError, AttributeError):
        return _NO_TERMINAL


def _print(board: Board, significance: Significance | None, notes: list[str], out: Path) -> None:
    from rich.console import Console
    from rich.text import Text

    from harness.publish.columns import columns_of
    from harness.publish.notes import WARNING
    from harness.publish.tables import to_rich
    from harness.publish.text import plain

    console = Console(highlight=False, width=console_width())
    table, left_out = to_rich(board, columns_of(board, significance), console.width)
    for note in notes:
        if note.startswith(WARNING):
            console.print(Text(plain(note), style="bold reverse"), soft_wrap=True)
    console.print(table)
    for note in [left_out, *(note for note in notes if not note.startswith(WARNING))]:
        if note:
            console.print(Text(plain(note)), soft_wrap=True)
    typer.echo(f"wrote {', '.join(TEXTS)} and figures to {out}")


def _check(board: Board, target: Path, photos: dict[str, Path] | None) -> int:
    """Compute every text file again and compare it with what lies there."""
    from harness.files import draft_folder
    from harness.publish.write import write_files

    with draft_folder(Path(tempfile.gettempdir()), "harness-publish") as folder:
        write_files(board, folder, kinds=(), photos=photos, home=target)
        stale = [name for name in TEXTS if not _same(folder / name, target / name)]
    if stale:
        raise RunError(
            f"{target}: {', '.join(stale)} {'is' if len(stale) == 1 else 'are'} not what the runs "
            "say; harness publish writes them again"
        )
    typer.echo(f"{target}: {', '.join(TEXTS)} are what the runs say")
    return 0


def _same(ours: Path, published: Path) -> bool:
    try:
        return ours.read_bytes() == published.read_bytes()
    except OSError:
        return False
