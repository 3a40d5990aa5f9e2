"""Standard output and error that never cost a finished board.

They may be closed, full, or of few characters.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any, TextIO

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
"""The option of every command whose output other programs read."""


class Forgiving:
    """A text stream that goes on where its reader is gone or its disk is full.

    It is asked for all else.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.is_gone = self.failed = False

    def write(self, text: str) -> int:
        """Write, or remember that it could not be."""
        try:
            return self._stream.write(text)
        except (OSError, ValueError) as error:
            self._note(error)
            return len(text)

    def flush(self) -> None:
        """Flush, or remember that it could not be."""
        try:
            self._stream.flush()
        except (OSError, ValueError) as error:
            self._note(error)

    def _note(self, error: Exception) -> None:
        """A reader that left, as ``head`` does, is no failure."""
        self.is_gone = True
        self.failed = self.failed or not isinstance(error, BrokenPipeError)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def forgive() -> None:
    """Make both streams of this process forgiving; characters that they cannot show are escaped."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed before we began
            stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        if isinstance(stream, Forgiving):
            continue
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
        setattr(sys, name, Forgiving(stream))


def let_go() -> None:
    """Flush at the end; where that fails nothing is left that Python would complain about."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        stream.flush()
        if getattr(stream, "is_gone", False):
            if name == "stdout" and stream.failed:
                print("harness: the output could not be written in full", file=sys.stderr)
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
