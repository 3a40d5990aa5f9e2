"""A board as one self-contained HTML page: no network, no other file."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.files import write_text
from harness.publish.board import Board
from harness.publish.columns import Column
from harness.publish.document import Document, rounded
from harness.results import Run, read_maps

_TEMPLATE = Path(__file__).with_name("page.html")
_LARGEST_PHOTO_PX = 512
_MOST_RECEIPTS = 20_000
"""Choice: the page stays below a few megabytes.

A larger board shows what was asked for first, and maps of its first and last query.
"""


def to_page(
    board: Board,
    document: Document,
    columns: Sequence[Column],
    path: Path,
    *,
    photos: dict[str, Path] | None = None,
) -> None:
    """Write the page. Everything that it shows is data in it, and is shown as text.

    Args:
        photos: image id -> file, for data sets whose terms allow that they are passed on; none
            without it.
    """
    queries, maps = {}, {}
    for row in board.rows:
        run = min(board.groups[row.strategy], key=lambda run: run.info.seed)
        queries[row.strategy] = _queries(run, _MOST_RECEIPTS // len(board.rows))
        shown = {1, len(run.rounds) - 1}
        maps[row.strategy] = [
            _maps(run, number) if number in shown else {} for number in range(len(run.rounds))
        ]
    asked = {
        receipt["image"] for rounds in queries.values() for query in rounds for receipt in query
    }
    whole = board.any_run.rounds[0].query[0]
    data = {
        "document": rounded(asdict(document)),
        "columns": [
            rounded(
                {
                    "key": column.key,
                    "title": column.title,
                    "cells": column.cells,
                    "values": column.values,
                    "answers": column.answers,
                }
            )
            for column in columns
        ],
        "queries": queries,
        "maps": maps,
        "size": [whole.height, whole.width],
        "photos": {
            image_id: _small(photos[image_id])
            for image_id in sorted(asked)
            if photos and image_id in photos
        },
    }
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    write_text(path, _TEMPLATE.read_text(encoding="utf-8").replace("{{DATA}}", text))


def _queries(run: Run, most: int) -> list[list[dict[str, Any]]]:
    found, left = [], most
    for record in run.rounds:
        found.append(
            [
                rounded(
                    {
                        "image": receipt.image_id,
                        "top": receipt.top,
                        "left": receipt.left,
                        "height": receipt.height,
                        "width": receipt.width,
                        "score": receipt.score,
                        "information": receipt.information,
                        "cost": receipt.cost,
                        "polygon": receipt.polygon,
                        "intersection": receipt.intersection,
                        "box": receipt.box,
                    }
                )
                for receipt in record.query[: max(left, 0)]
            ]
        )
        left -= len(record.query)
    return found


def _maps(run: Run, number: int) -> dict[str, Any]:
    """Return the small maps of a round by image."""
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
        image.convert("RGB").save(stream, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
