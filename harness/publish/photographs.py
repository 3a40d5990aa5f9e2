"""Photographs that a page may show without being given any: those that the embedded pack's generator draws."""

from __future__ import annotations

from pathlib import Path

from harness.blocks import StreetsData
from harness.data.source import open_splits
from harness.publish.board import Board

_MOST_PX = 16_000_000
"""Choice: a pack of that many pixels is drawn in half a minute; publishing never waits for more."""


def generated_photos(board: Board) -> dict[str, Path]:
    """Return the training photographs of a board on the embedded pack, made anew where need be.

    They are generated, so no terms forbid that they are passed on. None for other data, for a large
    pack, and where the generator gives other data today than these runs were made on.
    """
    made_on = {run.info.data_fingerprint for run in board.runs}
    options = board.any_run.info.config.get("data") or {}
    if options.get("type") != "streets" or len(made_on) > 1:
        return {}
    pack = StreetsData.model_validate(options)
    if pack.height * pack.width * (pack.train + pack.val) > _MOST_PX:
        return {}
    train, val = open_splits(pack)
    if made_on != {f"{train.index.fingerprint[:32]}-{val.index.fingerprint[:32]}"}:
        return {}
    return {image_id: files.photo for image_id, files in train.files.items()}
