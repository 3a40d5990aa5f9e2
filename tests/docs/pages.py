"""The documents of the repository as their tests see them: blocks, links, headings, tables."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOP = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [*TOP, *DOCS]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)


def name(page: Path) -> str:
    """Return a page's path below the repository, for the names of tests."""
    return page.relative_to(ROOT).as_posix()


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: the page it is on, its language (empty: commands), its text."""

    page: Path
    language: str
    text: str


def blocks(*languages: str) -> Iterator[Block]:
    """Yield the fenced blocks of all pages in some languages."""
    for page in PAGES:
        for language, text in _FENCE.findall(page.read_text()):
            if language in languages:
                yield Block(page, language, text)


def commands() -> list[tuple[str, list[str]]]:
    """Return every command of every page, split as a shell would: (page, words).

    A block without a language holds commands, one a line; a backslash joins lines, ``#`` starts a
    comment, and ``...`` stands for what a reader fills in.
    """
    found = []
    for block in blocks(""):
        for line in block.text.replace("\\\n", " ").splitlines():
            words = [word for word in shlex.split(line, comments=True) if word != "..."]
            if words:
                found.append((name(block.page), words))
    return found


def prose(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return _FENCE.sub("", page.read_text())


def links(page: Path) -> list[str]:
    """Return the relative links of a page."""
    return [link for link in _LINK.findall(prose(page)) if "://" not in link]


def headings(page: Path) -> list[str]:
    """Return the text of all headings of a page, without marks."""
    return [title.replace("`", "").replace("*", "") for title in _HEADING.findall(prose(page))]


@dataclass(frozen=True, slots=True)
class Table:
    """A table: the page, what stands before it, its header, its rows."""

    page: Path
    before: str
    header: list[str]
    rows: list[list[str]]


def tables(page: Path) -> Iterator[Table]:
    """Yield the tables of a page."""
    text = prose(page)
    for found in re.finditer(r"(?:^\|.*\|\n)+", text + "\n", re.MULTILINE):
        header, _, *rows = [cells(line) for line in found[0].splitlines()]
        yield Table(page, text[: found.start()], header, rows)


def cells(line: str) -> list[str]:
    """Return the cells of a line of a table."""
    return [cell.strip() for cell in line.strip()[1:-1].split("|")]
