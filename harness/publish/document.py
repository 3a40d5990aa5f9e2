"""A board as data: the JSON document that other programs read, with its schema."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from harness.files import write_text
from harness.publish.board import LEVELS, Board, Crossing, Row, Spread
from harness.publish.columns import Value, columns_of
from harness.publish.significance import Pair, Place, Significance
from harness.publish.text import marks
from harness.results import Run
from harness.scoring import iou, mean_iou
from harness.statistics import mean_std
from harness.types import ImageAreas

DOCUMENT_VERSION = 2


@dataclass(frozen=True, slots=True)
class Round:
    """After one round, means over seeds.

    Shares of the training set's pixels and clicks, hours of annotation, mIoU.
    """

    pixel_share: float
    cost_a: float
    cost_b: Spread
    hours: float
    miou: Spread


@dataclass(frozen=True, slots=True)
class Entry:
    """One strategy. Shares in [0, 1]; None where a figure does not exist.

    clicks, pixels: its place by AUBC over each axis. clicks_to: share of the clicks at which a
    share of the full-data mIoU is reached, by that share in percent. miou_by_seed: for each seed,
    mIoU after each round. iou_by_class, miou_by_city: after the last round, means over seeds.
    cost_calibration: predicted and recorded clicks of bought windows, means of tenths by
    prediction; polygon clicks, or the whole cost_B of strategies with cost=whole. columns: what the
    tables show of it, by the names of the CSV.
    """

    strategy: str
    equation: str
    bound: bool
    tuned: bool
    theirs: bool
    clicks: Place | None
    pixels: Place | None
    lead: float | None
    sooner_p: float | None
    rounds: list[Round]
    miou_by_seed: dict[str, list[float]]
    share_of_full: Spread | None
    p95: Crossing | None
    clicks_to: dict[str, Crossing]
    aubc_pixels: Spread
    aubc_clicks: Spread
    cost_spearman: Spread | None
    cost_calibration: list[tuple[float, float]]
    iou_by_class: dict[str, float | None]
    miou_by_city: dict[str, float]
    columns: dict[str, Value]


@dataclass(frozen=True, slots=True)
class Made:
    """What determined the runs and where they were made.

    runs_sha256: of all run files but timings.
    """

    config_sha256: str
    data_fingerprint: str
    commits: list[str]
    dirty: bool
    versions: dict[str, str]
    machines: list[str]
    devices: list[str]
    seeds: list[int]
    runs_sha256: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """A whole leaderboard."""

    document_version: int
    name: str
    made: Made
    full_data_miou: list[float]
    threshold: float | None
    click_stop: float
    entries: list[Entry]
    pairs: list[Pair]
    pixel_pairs: list[Pair]
    penalty: dict[str, dict[str, float]]
    notes: list[str]
    marks: list[str] = field(default_factory=list)
    budget_unit: str = "pixels"


DOCUMENT = TypeAdapter(Document)


def schema() -> str:
    """Return the JSON schema of ``leaderboard.json``."""
    return json.dumps(DOCUMENT.json_schema(mode="serialization"), indent=1, sort_keys=True) + "\n"


def build_document(board: Board, significance: Significance | None, notes: list[str]) -> Document:
    """Put a board, its comparisons and its notes together."""
    columns = columns_of(board, significance)
    return Document(
        DOCUMENT_VERSION,
        board.name,
        _made(board),
        board.full_data,
        board.threshold,
        board.click_stop,
        [
            _entry(
                row,
                board.groups[row.strategy],
                significance,
                {column.key: column.values[number] for column in columns},
            )
            for number, row in enumerate(board.rows)
        ],
        significance.clicks.pairs if significance else [],
        significance.pixels.pairs if significance else [],
        significance.penalty if significance else {},
        notes,
        marks(board),
        board.budget_unit,
    )


def to_json(document: Document, path: Path) -> None:
    """Write the document; figures to six digits, so that two machines write the same bytes."""
    write_text(path, json.dumps(rounded(asdict(document)), indent=1) + "\n")


def rounded(value: Any) -> Any:
    """Round every float in a document to six digits."""
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list | tuple) else value


def _made(board: Board) -> Made:
    runs = board.runs
    marks = [run.info.provenance for run in runs]
    return Made(
        config_sha256=runs[0].info.config_sha256,
        data_fingerprint=runs[0].info.data_fingerprint,
        commits=sorted({mark.commit or "unknown" for mark in marks}),
        dirty=any(mark.dirty for mark in marks),
        versions=dict(marks[0].versions),
        machines=sorted({mark.machine for mark in marks}),
        devices=sorted({run.info.device for run in runs}),
        seeds=sorted({run.info.seed for run in runs}),
        runs_sha256=board.digest,
    )


def _entry(
    row: Row, group: list[Run], significance: Significance | None, columns: dict[str, Value]
) -> Entry:
    comparison = significance.comparisons[row.strategy] if significance else None
    rounds = [
        Round(
            float(np.mean([curve.pixel_share[number] for curve in row.curves])),
            float(np.mean([curve.cost_a[number] for curve in row.curves])),
            row.cost_b[number],
            float(np.mean([curve.seconds[number] for curve in row.curves])) / 3600,
            row.miou[number],
        )
        for number in range(len(row.miou))
    ]
    return Entry(
        strategy=row.strategy,
        equation=row.equation,
        bound=row.is_bound,
        tuned=row.is_tuned,
        theirs=bool(row.origin),
        clicks=comparison.clicks if comparison else None,
        pixels=comparison.pixels if comparison else None,
        lead=comparison.lead if comparison else None,
        sooner_p=comparison.sooner if comparison else None,
        rounds=rounds,
        miou_by_seed={str(curve.seed): curve.miou for curve in row.curves},
        share_of_full=row.share_of_full,
        p95=row.p95,
        clicks_to={
            f"{100 * level:.0f}": found for level, found in zip(LEVELS, row.clicks_to, strict=False)
        },
        aubc_pixels=row.aubc_pixels,
        aubc_clicks=row.aubc_clicks,
        cost_spearman=row.cost_spearman,
        cost_calibration=calibration(group),
        iou_by_class=_by_class(group),
        miou_by_city=_by_city(group),
        columns=columns,
    )


def _by_class(group: list[Run]) -> dict[str, float | None]:
    scores = np.array([iou(run.rounds[-1].areas) for run in group])
    means = [
        float(np.nanmean(column)) if not np.isnan(column).all() else None for column in scores.T
    ]
    return dict(zip(group[0].info.class_names, means, strict=False))


def _by_city(group: list[Run]) -> dict[str, float]:
    """Return mIoU over the images of each city, by the first part of their ids."""
    found: dict[str, list[float]] = defaultdict(list)
    for run in group:
        cities: dict[str, list[ImageAreas]] = defaultdict(list)
        for areas in run.rounds[-1].areas:
            cities[areas.image_id.split("_")[0]].append(areas)
        for city, images in cities.items():
            if any(sum(areas.label) for areas in images):
                found[city].append(mean_iou(images))
    return {city: mean_std(values)[0] for city, values in sorted(found.items())}


_CALIBRATION_BINS = 10


def calibration(group: list[Run]) -> list[tuple[float, float]]:
    """Return (predicted, recorded) mean clicks per bought window, in tenths of the windows by prediction; empty without a cost model."""
    pairs = [
        (
            receipt.cost,
            float(
                receipt.polygon + (receipt.intersection + receipt.box) * (run.info.cost == "whole")
            ),
        )
        for run in group
        for record in run.rounds[1:]
        for receipt in record.query
        if receipt.cost is not None
    ]
    if len(pairs) < _CALIBRATION_BINS:
        return []
    ordered = np.array(sorted(pairs))
    return [
        (float(part[:, 0].mean()), float(part[:, 1].mean()))
        for part in np.array_split(ordered, _CALIBRATION_BINS)
    ]
