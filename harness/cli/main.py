"""The console script: parses, and turns every bad input into one line and exit code 2."""

from __future__ import annotations

import errno
import sys

import typer

from harness import __version__
from harness.cli import bench, data, doctor, explain, noise, pretext, publish, strategies, tune
from harness.cli.streams import forgive, let_go
from harness.errors import InputError, RunError, one_line

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Find out which active-learning strategy really saves clicks in semantic segmentation.",
)
app.command("bench")(bench.bench)
app.command("publish")(publish.publish)
app.command("explain")(explain.explain)
app.command("doctor")(doctor.doctor)
app.command("noise")(noise.noise)
app.command("pretext")(pretext.pretext)
app.command("tune")(tune.tune)
app.command("strategies")(strategies.list_strategies)
app.add_typer(data.app, name="data")


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"harness {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False,
        "--version",
        callback=_print_version,
        is_eager=True,
        help="Show the version and exit.",
    ),
) -> None:
    """Find out which active-learning strategy really saves clicks in semantic segmentation."""


def main() -> None:
    """Run the command line.

    Exit codes: 0 done, 1 a run failed while the others went on, 2 bad input, 130 interrupted.
    """
    forgive()
    code, said = _run()
    if said:
        print(f"harness: {said}", file=sys.stderr)
    let_go()
    sys.exit(code)


def _run() -> tuple[int, str]:
    """Do what the command line asks; return the exit code and a line for standard error."""
    try:
        code = app(standalone_mode=False)
    except InputError as error:
        return 2, str(error)
    except RunError as error:
        return 1, str(error)
    except (KeyboardInterrupt, typer.Abort):
        return 130, "interrupted; the same command goes on where it stopped"
    except OSError as error:
        if error.filename is None and error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EROFS}:
            raise
        place = error.filename or "a file"
        return 2, f"{place}: {error.strerror}; allowed: a disk with room that can be written"
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        return 2, f"{one_line(error.format_message(), 600)} See harness --help."
    return (code if isinstance(code, int) else 0), ""
