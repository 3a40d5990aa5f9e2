"""One way to write a name into each format, and what must be said about a board wherever it appears."""

from __future__ import annotations

import re
import unicodedata

from harness.publish.board import Board

_MARKDOWN = re.compile(r"([\\`*|$]|~(?=~)|\](?=[(\[:])|(?<!\w)_|_(?!\w)|^#)")
_TEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "±": r"$\pm$",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}
_TEX_ACCENTS = set("\u0300\u0301\u0302\u0303\u0308\u030a\u030c\u0327")
_TEX_BREAK, _TEX_UNBROKEN = r"\allowbreak{}", 10
_FORMULA = ("=", "+", "-", "@")


def plain(text: str) -> str:
    """Return a text on one line, without control characters: terminal escapes cannot be in it."""
    kept = (" " if unicodedata.category(c) in {"Zl", "Zp"} or c.isspace() else c for c in text)
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in kept).strip()


def markdown(text: str) -> str:
    """Return a text for a Markdown line or table cell: shown as it is."""
    shown = _MARKDOWN.sub(r"\\\1", plain(text))
    return shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def latex(text: str) -> str:
    """Return a text for LaTeX: nothing of it is a command.

    It is shown as it is, but for characters that the fonts of an article do not have: they are
    shown as their number, such as [U+6F22].
    """
    shown = "".join(_TEX.get(character) or _in_tex_s_fonts(character) for character in plain(text))
    return re.sub("-(?=-)", "-{}", shown)


def _in_tex_s_fonts(character: str) -> str:
    """Return an ASCII character, or a letter with an accent that TeX can set; else its number."""
    apart = unicodedata.normalize("NFD", character)
    if apart[0].isascii() and character < "\u0180" and _TEX_ACCENTS.issuperset(apart[1:]):
        return character
    return character if character in "ßæÆøØœŒłŁ" else f"[U+{ord(character):04X}]"


def breakable_latex(text: str) -> str:
    """Return a text for LaTeX that may go on in the next line, also where it has no spaces."""
    parts: list[str] = []
    unbroken = 0
    for character in plain(text):
        parts.append(latex(character) if character != " " else " ")
        unbroken = 0 if character == " " else unbroken + 1
        may_end = not character.isalnum() and character not in "([{"
        if unbroken == _TEX_UNBROKEN or (unbroken and may_end):
            parts.append(_TEX_BREAK)
            unbroken = 0
    return "".join(parts).removesuffix(_TEX_BREAK)


def cell(text: str) -> str:
    """Return a text for a CSV cell. Choice: a spreadsheet must not take it for a formula."""
    shown = plain(text)
    return f"'{shown}" if shown.startswith(_FORMULA) else shown


def figure_text(text: str) -> str:
    """Return a text for a figure: matplotlib hides what begins with an underscore."""
    shown = plain(text)
    return f" {shown}" if shown.startswith("_") else shown


def marks(board: Board) -> list[str]:
    """Return what must not be overlooked about a board, wherever it is shown."""
    infos = [run.info for run in board.runs]
    config = board.any_run.info.config
    noise = config.get("annotator", {})
    noisy = any(noise.get(key) for key in ("missed", "wrong", "jitter_px", "click_noise"))
    frozen = config.get("training", {}).get("frozen_trunk", False)
    given = bool(config.get("pretrained_sha256"))
    found = {
        "demonstration": str(config.get("remark", "")).startswith("DEMONSTRATION"),
        "equal clicks": board.budget_unit == "clicks",
        "simulated clicks": any(info.simulated_clicks for info in infos),
        "proxy: frozen trunk": bool(frozen),
        "given weights": given and not frozen,
        "noisy annotators": noisy,
        "tuned strategy": any(row.is_tuned for row in board.rows),
        "external runs": any(row.origin for row in board.rows),
        "external runs with another round 0": any(
            row.origin and board.start_gap(row.strategy) for row in board.rows
        ),
        "mixed versions of torch": len({info.provenance.public_version("torch") for info in infos})
        > 1,
        "mixed configs, data or trainers": len({str(info.board) for info in infos}) > 1,
        "uncommitted code": any(info.provenance.dirty for info in infos),
    }
    return [name for name, holds in found.items() if holds]
