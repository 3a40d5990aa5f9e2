"""The console script: parses, and turns every bad input into one line and exit code 2."""

from __future__ import annotations

import errno
import signal
import sys

import typer

from harness import __version__
from harness.cli import (
    bench,
    config,
    data,
    doctor,
    explain,
    noise,
    pretext,
    publish,
    status,
    strategies,
    tune,
)
from harness.cli.streams import forgive, let_go
from harness.errors import InputError, RunError, one_line

app = typer.Typer(
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Find out which active-learning strategy really saves clicks in semantic segmentation.",
)
app.command("bench")(bench.bench)
app.command("publish")(publish.publish)
app.command("explain")(explain.explain)
app.command("status")(status.status)
app.command("doctor")(doctor.doctor)
app.command("noise")(noise.noise)
app.command("pretext")(pretext.pretext)
app.command("tune")(tune.tune)
app.command("strategies")(strategies.list_strategies)
app.add_typer(data.app, name="data")
app.add_typer(config.app, name="config")


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


_LONGEST_LINE = 2000
"""Choice: whatever was given, a message stays a line that a person can read."""


class _StoppedError(BaseException):
    """A signal that ends the command; the libraries between would hide a KeyboardInterrupt."""


def _stop_on_signals() -> None:
    """Let Ctrl-C, a scheduler's end of time and a closed terminal end the command in an orderly way.

    What is ignored at the start (``nohup``, a shell's background job) stays ignored.
    """

    def stop(number: int, _frame: object) -> None:
        raise _StoppedError(number)

    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, stop)


def main() -> None:
    """Run the command line.

    Exit codes: 0 done, 1 a run failed while the others went on, 2 bad input, 128 + a signal's
    number (130 for Ctrl-C).
    """
    forgive()
    _stop_on_signals()
    code, said = _run()
    if said:
        print(f"harness: {one_line(said, _LONGEST_LINE)}", file=sys.stderr)
    let_go()
    sys.exit(code)


def _run() -> tuple[int, str]:
    """Do what the command line asks; return the exit code and a line for standard error."""
    try:
        code = app(standalone_mode=False)
    except _StoppedError as stopped:
        number = int(stopped.args[0])
        how = (
            "interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}"
        )
        return 128 + number, f"{how}; the same command goes on where it stopped"
    except (KeyboardInterrupt, typer.Abort):
        return 130, "interrupted; the same command goes on where it stopped"
    except Exception as error:
        known = _known(error)
        if known is None:
            raise
        return known
    return (code if isinstance(code, int) else 0), ""


def _known(error: Exception) -> tuple[int, str] | None:
    """Return the exit code and the line of an error that is the user's or the machine's.

    Else None.
    """
    if isinstance(error, InputError):
        return 2, str(error)
    if isinstance(error, RunError):
        return 1, str(error)
    if isinstance(error, OSError):
        full = error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
        if error.filename is None and not full:
            return None
        place = error.filename or "a file"
        return 2, f"{place}: {error.strerror}; choose a disk that has room and can be written"
    if hasattr(error, "format_message"):
        return 2, f"{one_line(error.format_message(), 600)} See harness --help."
    return None
