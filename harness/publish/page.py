"""A board as one self-contained HTML page: no network, no other file."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.archive import ARCHIVE
from harness.files import write_text
from harness.publish.board import Board
from harness.publish.columns import Column
from harness.publish.document import Document, Entry, rounded
from harness.results import Run, read_maps
from harness.types import Receipt

_PARTS = Path(__file__).with_name("page")
"""With its suffixes .html, .css and .js: what is joined into one file."""
_LARGEST_PHOTO_PX = 512
_JPEG_QUALITY = 60
_MOST_RECEIPTS = 20_000
"""Choice: the page stays below a few megabytes.

A larger board shows what was asked for first, and maps of its first and last query.
"""
PAPER = "https://arxiv.org/abs/1810.09726"


def to_page(
    board: Board,
    document: Document,
    columns: Sequence[Column],
    path: Path,
    *,
    photos: Mapping[str, Path] | None = None,
    links: Sequence[tuple[str, str]] = (),
) -> None:
    """Write the page. Everything that it shows is data in it, and is shown as text.

    Args:
        photos: image id -> file, for data sets whose terms allow that they are passed on; none
            without it.
        links: (address, text) of what lies beside the page.
    """
    first_runs = {
        row.strategy: min(board.groups[row.strategy], key=lambda run: run.info.seed)
        for row in board.rows
    }
    queries = {
        strategy: _first_windows(run, _MOST_RECEIPTS // len(board.rows))
        for strategy, run in first_runs.items()
    }
    asked = {
        receipt.image_id for rounds in queries.values() for query in rounds for receipt in query
    }
    images = {image_id: number for number, image_id in enumerate(sorted(asked))}
    whole = board.any_run.rounds[0].query[0]
    data = {
        "document": _shown(document),
        "columns": [_column(column) for column in columns],
        "images": list(images),
        "seeds": {strategy: run.info.seed for strategy, run in first_runs.items()},
        "asked": {
            strategy: [len(record.query) for record in run.rounds]
            for strategy, run in first_runs.items()
        },
        "queries": {
            strategy: [[_window(receipt, images) for receipt in query] for query in rounds]
            for strategy, rounds in queries.items()
        },
        "maps": {strategy: _all_maps(run) for strategy, run in first_runs.items()},
        "size": [whole.height, whole.width],
        "photos": {
            image_id: _small(photos[image_id])
            for image_id in images
            if photos and image_id in photos
        },
        "links": [*links, (PAPER, "the paper, arXiv 1810.09726")],
    }
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    page = _part(".html").replace("{{STYLE}}", _part(".css")).replace("{{SCRIPT}}", _part(".js"))
    write_text(path, page.replace("{{DATA}}", text))


def _part(suffix: str) -> str:
    return _PARTS.with_suffix(suffix).read_text(encoding="utf-8")


def links_from(folder: Path) -> list[tuple[str, str]]:
    """Return (address, text) of what a page in this folder can point to.

    The tables are written with every page. Run files and the project's documents are named only
    where they lie: a board may be written anywhere.
    """
    links = [
        ("leaderboard.json", "all figures as JSON"),
        ("leaderboard.csv", "CSV"),
        ("leaderboard.md", "Markdown"),
        ("leaderboard.tex", "LaTeX"),
    ]
    if (folder / ARCHIVE).is_file():
        links.append((ARCHIVE, "run files"))
    root = folder.resolve().parent.parent
    documents = [
        ("README.md", "README"),
        ("docs/guide/leaderboard.md", "how to read a leaderboard"),
    ]
    if all((root / name).is_file() for name, _ in documents):
        links += [(f"../../{name}", text) for name, text in documents]
    return links


def _shown(document: Document) -> dict[str, Any]:
    """Return what the page shows of the document: the rest stands in ``leaderboard.json``."""
    found = asdict(document)
    kept = ("name", "threshold", "marks", "notes", "budget_unit")
    return {
        **{key: rounded(found[key]) for key in kept},
        "entries": [_entry(entry) for entry in document.entries],
        "pairs": [
            {"first": pair.first, "second": pair.second, "differs": pair.differs}
            for pair in document.pairs
        ],
        "pixel_pairs_differing": sum(pair.differs for pair in document.pixel_pairs),
    }


def _entry(entry: Entry) -> dict[str, Any]:
    found = asdict(entry)
    kept = ("strategy", "equation", "bound", "tuned", "theirs", "rounds", "p95", "clicks_to")
    return {key: rounded(found[key]) for key in kept}


def _column(column: Column) -> dict[str, Any]:
    kept = ("key", "title", "cells", "values", "answers")
    return {key: rounded(getattr(column, key)) for key in kept}


def _first_windows(run: Run, most: int) -> list[list[Receipt]]:
    """Return what each round asked for, as long as there is room for it."""
    found, left = [], most
    for record in run.rounds:
        found.append(record.query[: max(left, 0)])
        left -= len(record.query)
    return found


def _window(receipt: Receipt, images: Mapping[str, int]) -> list[float | int | None]:
    """Return one window as the page reads it; figures to the four digits that it shows."""
    return [
        images[receipt.image_id],
        receipt.top,
        receipt.left,
        receipt.height,
        receipt.width,
        _brief(receipt.score),
        _brief(receipt.information),
        _brief(receipt.cost),
        receipt.polygon,
        receipt.intersection,
        receipt.box,
    ]


def _brief(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def _all_maps(run: Run) -> list[dict[str, Any]]:
    """Return the small maps by image, for each round: those of the first and the last query."""
    shown = {1, len(run.rounds) - 1}
    return [_maps(run, number) if number in shown else {} for number in range(len(run.rounds))]


def _maps(run: Run, number: int) -> dict[str, Any]:
    kept = (read_maps(run.path, number) if run.path else None) or []
    return {
        entry.image: rounded({key: value for key, value in asdict(entry).items() if key != "image"})
        for entry in kept
    }


def _small(file: Path) -> str:
    """Return a photograph as a small JPEG in a data URL."""
    from PIL import Image

    with Image.open(file) as image:
        image.thumbnail((_LARGEST_PHOTO_PX, _LARGEST_PHOTO_PX))
        stream = io.BytesIO()
        image.convert("RGB").save(stream, "JPEG", quality=_JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
