"""The one exception that means: the user's input is at fault, and this line says how."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from urllib.parse import unquote


class InputError(ValueError):
    """Bad input: the message is one line: what must hold, what was got, where.

    Exit code 2.
    """


class RunError(RuntimeError):
    """A run cannot go on (a NaN map, a committee without dropout).

    The message names the image and the round.
    """


class FailedBeforeError(RuntimeError):
    """A run failed in an earlier invocation, and nobody has asked to try it again."""


def one_line(text: str, most: int = 200) -> str:
    """Return a text as a message may show it: on one line, printable, not endless."""
    plain = " ".join(text.split())
    if not plain.isprintable():
        plain = ascii(plain)[1:-1]
    return plain if len(plain) <= most else f"{plain[: most - 20]}... ({len(text)} characters)"


def shorten(value: object, most: int = 100) -> str:
    """Return what was given as a message may show it."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001  a value that cannot even be shown
        text = f"a {type(value).__name__}"
    return one_line(text, most)


_CREDENTIALS = re.compile(r"(://[^/@\s:]*:)([^@\s]*)(@)")
_QUERIED = re.compile(r"([?&](?:password|passwd|pwd|token|secret)=)([^&\s]*)", re.IGNORECASE)


def secret_of(text: str) -> str:
    """Return the password in a URL; empty without one."""
    found = _CREDENTIALS.search(text) or _QUERIED.search(text)
    return found[2] if found else ""


def without_password(text: str, secret: str = "") -> str:
    """Return a text as it may be shown or kept: passwords in URLs, and ``secret``, become stars."""
    for hidden in {secret, unquote(secret)} - {""}:
        text = text.replace(hidden, "***")
    return _QUERIED.sub(r"\1***", _CREDENTIALS.sub(r"\1***\3", text))


def unknown_name(what: str, name: str, available: Iterable[str]) -> InputError:
    """Return the error for an unknown name, with the nearest known one."""
    names = sorted(available)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ";"
    return InputError(f"unknown {what} {shorten(name)}{hint} available: {', '.join(names)}")
