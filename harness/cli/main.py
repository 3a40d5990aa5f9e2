"""The console script: parses, and turns every bad input into one line and exit code 2."""

from __future__ import annotations

import errno
import os
import sys

import typer

from harness import __version__
from harness.cli import bench, data, doctor, explain, noise, pretext, publish, strategies, tune
from harness.errors import InputError, RunError

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
    """Run the command line. Exit codes: 0 done, 1 a run failed while the others went on, 2 bad input, 130 interrupted."""
    try:
        code = app(standalone_mode=False)
    except InputError as error:
        _stop(str(error), 2)
    except RunError as error:
        _stop(str(error), 1)
    except (KeyboardInterrupt, typer.Abort):
        _stop("interrupted; the same command goes on where it stopped", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        if error.filename is None and error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EROFS}:
            raise
        _stop(
            f"{error.filename or 'a file'}: {error.strerror}; allowed: a disk with room that can be written",
            2,
        )
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        _stop(f"{error.format_message()} See harness --help.", 2)
    sys.exit(code if isinstance(code, int) else 0)


def _stop(message: str, code: int) -> None:
    print(f"harness: {message}", file=sys.stderr)
    sys.exit(code)
