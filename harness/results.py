"""Run folders: ``<out>/runs/<strategy>/seed-<k>/{run.json, rounds.jsonl, chain.jsonl, ...}``.

Append, read, validate.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from operator import gt
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from harness.blocks import Tuned
from harness.data.labels import CLASS_NAMES
from harness.errors import InputError, one_line, shorten
from harness.files import checksum, remove_own, write_text
from harness.provenance import Provenance
from harness.types import (
    Clicks,
    ClickTotals,
    CostQuality,
    ImageAreas,
    ImageThumbnails,
    LossPoint,
    Receipt,
    RoundRecord,
)

SCHEMA_VERSION = 1

CHAIN = "chain.jsonl"
ORIGIN = "origin.txt"
"""Who made a run that was joined to a board: a file of its own, so that the run stays as it was."""
UNNAMED_GROUP = "theirs"
"""The origin of runs of another group that does not say who it is."""
_OWN = re.compile(
    r"(run\.json|rounds\.jsonl|chain\.jsonl|timings\.jsonl|losses\.jsonl|maps-\d+\.json|origin\.txt|"
    r"failure\.txt)(\.damaged(-\d+)?)?"
)
"""Names of the files of a run folder."""
_MOST = 2**53
_LONGEST_NAME = 500
_LONGEST_GROUP = 30
_LARGEST_INFO = 16 << 20
_LARGEST_ORIGIN = 4096
_MARKS_OF_A_BOARD = {"bound", "tuned"}

TRAINER_VERSION = 1
"""Raise it when the same recipe would train other weights.

Runs of older code are then neither resumed nor compared.
"""

_RECORD = TypeAdapter(RoundRecord)
_MAPS = TypeAdapter(list[ImageThumbnails])


@dataclass(frozen=True, slots=True)
class RunInfo:
    """``run.json``: all that determines a run, and where it was made.

    config: the whole resolved config; config_sha256: of what determines results in it. train_px,
    train_images: of the pool. cost: where the cost in the score comes from; see
    ``harness.protocols.Strategy``. code: of a plug-in. chained: whether ``chain.jsonl`` binds each
    round to this run; runs of older code have none.
    """

    schema_version: int
    strategy: str
    equation: str
    is_bound: bool
    seed: int
    data_fingerprint: str
    totals: ClickTotals
    train_images: int
    train_px: int
    val_images: int
    config_sha256: str
    config: dict[str, Any]
    provenance: Provenance
    device: str = "cpu"
    trainer_version: int = 1
    simulated_clicks: bool = False
    cost: str = ""
    code: str = ""
    chained: bool = False
    class_names: list[str] = field(default_factory=lambda: list(CLASS_NAMES))

    @property
    def identity(self) -> dict[str, str | int]:
        """What must agree for a run to be resumed."""
        return {
            "strategy": self.strategy,
            "equation": self.equation,
            "code": self.code,
            "seed": self.seed,
            **self.board,
        }

    @property
    def board(self) -> dict[str, str | int]:
        """What must agree for two runs to stand on one board."""
        return {
            "config_sha256": self.config_sha256,
            "data_fingerprint": self.data_fingerprint,
            "device": self.device,
            "trainer_version": self.trainer_version,
        }


_INFO = TypeAdapter(RunInfo)


@dataclass(frozen=True, slots=True)
class Run:
    """One run as read back, the folder that it was read from, and a digest of both its files.

    origin: who made it, where it was joined to a board of others; empty for the board's own.
    """

    info: RunInfo
    rounds: list[RoundRecord]
    path: Path | None = None
    digest: str = ""
    origin: str = ""


class RunFolder:
    """The files of one run. Rounds are appended and synced one line at a time.

    A torn last line is dropped on resume.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rounds = path / "rounds.jsonl"
        self._timings = path / "timings.jsonl"
        self._losses = path / "losses.jsonl"
        self._chain = path / CHAIN
        self._info: RunInfo | None = None

    def open(self, info: RunInfo) -> list[RoundRecord]:
        """Create the folder, or resume it: return the finished rounds.

        Raises:
            InputError: the folder holds a run of another configuration, or a damaged line.
        """
        if (self.path / "run.json").exists():
            found = read_info(self.path)
            different = [
                name for name, value in info.identity.items() if found.identity[name] != value
            ]
            if different:
                raise InputError(
                    f"{self.path}: holds a run with another {', '.join(different)}; give "
                    "another --out, or --overwrite"
                )
            self._info = found
            return self._recover(found)
        for leftover in (self._rounds, self._timings, self._losses, self._chain):
            leftover.unlink(missing_ok=True)
        self._info = replace(info, chained=True)
        document = json.loads(_INFO.dump_json(self._info))
        write_text(
            self.path / "run.json",
            json.dumps({**document, "crc32": _document_checksum(document)}, indent=1) + "\n",
        )
        return []

    def _recover(self, info: RunInfo) -> list[RoundRecord]:
        """Read the finished rounds; cut off a last line that was not written in full."""
        for file in (self._rounds, self._chain):
            if file.exists():
                with file.open("rb+") as stream:
                    _cut_torn_line(stream)
                    os.fsync(stream.fileno())
        content = self._rounds.read_bytes() if self._rounds.exists() else b""
        records = parse_rounds(self._rounds, content, info)
        if info.chained:
            check_chain(self.path, info, content)
            links = self._chain.read_bytes().splitlines(keepends=True) if records else []
            if len(links) > len(records):  # killed between a link and its round
                write_text(self._chain, b"".join(links[: len(records)]).decode())
            if not records:
                self._chain.unlink(missing_ok=True)
        return records

    def append(self, record: RoundRecord) -> None:
        """Add one finished round: a line with a checksum, on disk before this returns.

        What binds the line to this run is written first, so that no round is there without it.
        """
        line = _with_checksum(dump_record(record))
        if self._info is not None and self._info.chained:
            before = self._chain.read_text().splitlines() if self._chain.exists() else []
            link = _link(before[-1] if before else "", _identity(self._info), line)
            _append_line(self._chain, link)
        _append_line(self._rounds, line)

    def append_timings(self, round_number: int, seconds: dict[str, float]) -> None:
        """Add one round's seconds by stage.

        They live in a file of their own, so that records are the same on any machine.
        """
        _append_line(
            self._timings,
            json.dumps(
                {
                    "round": round_number,
                    **{stage: round(value, 3) for stage, value in seconds.items()},
                }
            ),
        )

    def append_losses(self, round_number: int, losses: Sequence[LossPoint]) -> None:
        """Add the losses of one training.

        Lists of steps, mean losses since the step before, and rates.
        """
        steps, values, rates = zip(*losses, strict=True)
        row = {
            "round": round_number,
            "step": steps,
            "loss": [float(f"{value:.5g}") for value in values],
            "lr": [float(f"{rate:.5g}") for rate in rates],
        }
        _append_line(self._losses, json.dumps(row))

    def keep_maps(self, round_number: int, maps: Sequence[ImageThumbnails]) -> None:
        """Keep small pictures of a round's maps, for the published page.

        No result depends on them.
        """
        write_text(
            self.path / f"maps-{round_number}.json", _MAPS.dump_json(list(maps)).decode() + "\n"
        )

    def record_failure(self, text: str) -> None:
        """Keep the traceback of a failed run beside its rounds."""
        write_text(self.path / "failure.txt", text)

    def failure(self) -> str | None:
        """Return the first line of an earlier failure's record."""
        file = self.path / "failure.txt"
        return (file.read_text(encoding="utf-8").splitlines() or [""])[0] if file.exists() else None

    def clear_failure(self) -> None:
        """Forget an earlier failure."""
        (self.path / "failure.txt").unlink(missing_ok=True)

    def discard(self) -> None:
        """Delete the run's own files: its description first, so that a half-deleted run is none."""
        (self.path / "run.json").unlink(missing_ok=True)
        remove_own(self.path, _OWN)

    def put_aside(self) -> None:
        """Give the folder a name that nobody reads, until what replaces it has begun."""
        aside = self.path.with_name(f"replaced-{self.path.name}")
        if not self.path.is_dir():
            return
        if aside.exists():
            self.discard()  # what had begun to replace the one that lies there
        else:
            self.path.rename(aside)

    def forget_replaced(self) -> None:
        """Delete what this run has replaced, once it has a round of its own."""
        if self._rounds.exists() and self._rounds.stat().st_size:
            remove_own(self.path.with_name(f"replaced-{self.path.name}"), _OWN)


def dump_record(record: RoundRecord) -> str:
    """Return a round as JSON; without a key that came later where it says nothing."""
    unused = {name for name in ("budget_clicks", "segments") if getattr(record, name) is None}
    return _RECORD.dump_json(record, exclude=unused).decode()


def _append_line(path: Path, line: str) -> None:
    """Add a line, on disk before this returns; what a killed process left of a line goes first."""
    with path.open("ab+") as stream:
        _cut_torn_line(stream)
        stream.write(line.encode() + b"\n")
        stream.flush()
        os.fsync(stream.fileno())


def _cut_torn_line(stream: BinaryIO) -> None:
    size = stream.seek(0, os.SEEK_END)
    if size == 0 or (stream.seek(-1, os.SEEK_END), stream.read(1))[1] == b"\n":
        return
    stream.seek(0)
    stream.truncate(stream.read().rfind(b"\n") + 1)


def _document_checksum(document: dict[str, Any]) -> str:
    return checksum(json.dumps(document, sort_keys=True))


def _with_checksum(record: str) -> str:
    return f'{{"crc32":"{checksum(record)}","record":{record}}}'


def _identity(info: RunInfo) -> str:
    return json.dumps(info.identity, sort_keys=True)


def _link(before: str, identity: str, line: str) -> str:
    """Return the next line of a chain: of the line before, the run's identity and a round."""
    return hashlib.sha256(f"{before}\n{identity}\n{line}".encode()).hexdigest()


def chain_of(info: RunInfo, content: bytes) -> list[str]:
    """Return the lines of ``chain.jsonl`` that belong to the lines of ``rounds.jsonl``."""
    identity, links = _identity(info), list[str]()
    for line in content.decode("utf-8", errors="replace").splitlines():
        links.append(_link(links[-1] if links else "", identity, line))
    return links


def check_chain(path: Path, info: RunInfo, content: bytes) -> None:
    """Refuse rounds that were written for another run, or in another order.

    Raises:
        InputError: with the first such round.
    """
    wanted = chain_of(info, content)
    try:
        found = (path / CHAIN).read_text(encoding="utf-8").splitlines() if wanted else []
    except (OSError, ValueError):
        found = []
    for number, link in enumerate(wanted):
        if number >= len(found) or found[number] != link:
            raise InputError(
                f"{path / 'rounds.jsonl'}:{number + 1}: must be a round of this run, but {CHAIN} "
                "does not bind it; restore both files or delete the run"
            )


def parse_rounds(path: Path, content: bytes, info: RunInfo | None = None) -> list[RoundRecord]:
    """Read the lines of ``rounds.jsonl``.

    Args:
        info: of their run, to hold them against its classes and images.

    Raises:
        InputError: a line that is damaged, out of order, or impossible: ``<path>:<line>: ...``.
    """
    records: list[RoundRecord] = []
    for number, line in enumerate(content.decode("utf-8", errors="replace").splitlines()):
        try:
            record = _RECORD.validate_json(line.partition(',"record":')[2][:-1])
        except (ValidationError, RecursionError) as error:
            said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else "too deep"
            raise InputError(
                f"{path}:{number + 1}: not a round record ({said}); restore the file or delete the "
                "run"
            ) from error
        if line != _with_checksum(line.partition(',"record":')[2][:-1]) or record.round != number:
            raise InputError(
                f"{path}:{number + 1}: damaged line (checksum or round number); restore the file "
                "or delete the run"
            )
        fault = impossible(record, info)
        if fault is not None:
            raise InputError(f"{path}:{number + 1}: {fault}; restore the file or delete the run")
        records.append(record)
    return records


def impossible(record: RoundRecord, info: RunInfo | None) -> str | None:
    """Return what no run can have written, or None."""
    return next(_faults_of_round(record, info), None)


def _faults_of_round(record: RoundRecord, info: RunInfo | None) -> Iterator[str]:
    budgets = [record.budget_px, record.budget_clicks or 0]
    spent = [record.labelled_px, *budgets, *_values(record.clicks)]
    if not all(0 <= value < _MOST for value in spent):
        yield f"pixels and clicks must be from 0 to {_MOST}, got {shorten(spent)}"
    if record.segments is not None and len(record.segments) != len(record.query):
        yield f"segments must be as many as regions, got {len(record.segments)}"
    for receipt in record.query:
        if fault := _impossible_receipt(receipt):
            yield f"{fault}, got {shorten(receipt)}"
    yield from _faults_of_areas(record, info)
    for quality in (record.cost_quality, record.bought_quality):
        if quality is not None and not _is_finite(_values(quality)):
            yield f"the quality of the cost model must be finite, got {shorten(quality)}"


def _faults_of_areas(record: RoundRecord, info: RunInfo | None) -> Iterator[str]:
    if not record.areas:
        yield "areas must hold an image or more"
        return
    ids = [areas.image_id for areas in record.areas]
    if len(set(ids)) < len(ids) or not all(is_name(key) for key in ids):
        yield "areas must hold each image once, under a printable id"
    classes = len(info.class_names) if info else len(record.areas[0].label)
    if not _are_possible(record.areas, classes):
        for areas in record.areas:
            if fault := _impossible_areas(areas, classes):
                yield f"{fault}, got {shorten(areas)}"
    if info is not None and len(ids) != info.val_images:
        yield f"areas must hold {info.val_images} images as run.json says, got {len(ids)}"


def _impossible_receipt(receipt: Receipt) -> str | None:
    numbers = (receipt.top, receipt.left, receipt.polygon, receipt.intersection, receipt.box)
    if not all(0 <= value < _MOST for value in (*numbers, receipt.classes)):
        return "a receipt must have places and clicks from 0 on"
    if not (1 <= receipt.height < _MOST and 1 <= receipt.width < _MOST):
        return "a region must have a height and a width of 1 or more"
    if not 0 <= receipt.new_px <= receipt.height * receipt.width:
        return "a region must have from 0 to height x width new pixels"
    if not is_name(receipt.image_id):
        return "a region must be of an image with a printable id"
    if not _is_finite((receipt.score, receipt.information, receipt.cost)):
        return "score, information and cost must be finite"
    return None


def _are_possible(areas: Sequence[ImageAreas], classes: int) -> bool:
    """Return whether ``_impossible_areas`` has nothing against any of them, all at once.

    False also where they are no table of whole numbers.
    """
    try:
        table = np.array([(one.intersection, one.prediction, one.label) for one in areas], np.int64)
    except (OverflowError, ValueError):
        return False
    if table.shape != (len(areas), 3, classes) or not 0 < classes * _MOST < 2**63:
        return False
    both, *each = table.transpose(1, 0, 2)
    return bool(
        table.min() >= 0
        and table.max() < _MOST
        and (both <= np.minimum(*each)).all()
        and (each[0].sum(axis=1) == each[1].sum(axis=1)).all()
    )


def _impossible_areas(areas: ImageAreas, classes: int) -> str | None:
    rows = areas.intersection, areas.prediction, areas.label
    if any(len(row) != classes for row in rows):
        return f"areas must have one entry for each of the {classes} classes"
    if not all(0 <= min(row) <= max(row) < _MOST for row in rows if row):
        return "areas must be 0 or more"
    if any(map(gt, areas.intersection, map(min, areas.prediction, areas.label))):
        return "an intersection must be at most the predicted and the labelled area"
    if sum(areas.prediction) != sum(areas.label):
        return "predicted and labelled areas must be of the same pixels"
    return None


def _values(of: Clicks | CostQuality) -> list[Any]:
    """Return what the fields hold.

    ``dataclasses.astuple`` would copy it, which takes longer than all checks.
    """
    return [getattr(of, one.name) for one in fields(of)]


def _is_finite(values: object) -> bool:
    if isinstance(values, float):
        return math.isfinite(values)
    return not isinstance(values, list | tuple) or all(map(_is_finite, values))


def is_name(text: str) -> bool:
    """Return whether a text may stand as a name in files, tables and on a page."""
    return 0 < len(text) <= _LONGEST_NAME and text.isprintable() and text == text.strip()


def impossible_info(info: RunInfo, path: Path) -> str | None:
    """Return what no run can have written into ``run.json``, or None."""
    return next(_faults_of_info(info, path), None)


def _faults_of_info(info: RunInfo, path: Path) -> Iterator[str]:
    names = (info.strategy, info.equation, info.device, *info.class_names)
    if not all(is_name(name) for name in names) or {"/", "\\"} & set(info.strategy):
        yield f"names must be printable, without separators, got {shorten(names)}"
    counts = (info.train_images, info.train_px, info.val_images, info.totals.polygon)
    if not all(1 <= count < _MOST for count in counts) or not 0 <= info.totals.classes < _MOST:
        yield f"images, pixels and clicks must be 1 or more, got {shorten(counts)}"
    if not 0 <= info.seed < 2**31:
        yield f"seed must be from 0 to 2^31, got {shorten(info.seed)}"
    if len(set(info.class_names)) < len(info.class_names) or not info.class_names:
        yield "class_names must be different"
    if _is_bound(info) != info.is_bound:
        yield (f"is_bound must be {_is_bound(info)}, as strategy and cost say, got {info.is_bound}")
    if (path.parent.name, path.name) != (info.strategy, f"seed-{info.seed}"):
        yield f"its folder must be called {shorten(info.strategy)}/seed-{info.seed}: it is that run"
    if fault := _impossible_config(info.config):
        yield fault


def _is_bound(info: RunInfo) -> bool:
    """Derive whether a strategy only brackets what a cost model can bring."""
    if info.cost:
        return info.cost in {"oracle", "constant"}
    marks = ("-oracle-cost", "cost=oracle", "cost=constant")
    return any(mark in info.strategy for mark in marks)


class _PublishedConfig(BaseModel):
    """What publishing reads of a run's config; all else in it is free."""

    model_config = ConfigDict(strict=True)
    name: str = "board"
    remark: str = ""
    harness: dict[str, Any] = {}
    training: dict[str, Any] = {}
    model: dict[str, Any] = {}
    annotator: dict[str, Annotated[int | float, Field(ge=0, allow_inf_nan=False)]] = {}
    seconds_per_click: dict[
        Literal["polygon", "intersection", "box", "classes"],
        Annotated[int | float, Field(ge=0, le=1e9, allow_inf_nan=False)],
    ] = {}
    tuned: Tuned | None = None
    pretrained_sha256: str = ""


def _impossible_config(config: dict[str, Any]) -> str | None:
    try:
        read = _PublishedConfig.model_validate(config)
    except (ValidationError, RecursionError) as error:
        problem = error.errors()[0] if isinstance(error, ValidationError) else None
        where = ".".join(map(str, problem["loc"])) if problem else "config"
        return f"its config must be readable, but {one_line(where)}: {problem and problem['msg']}"
    rounds = read.harness.get("rounds")
    if type(rounds) is not int or not 0 <= rounds <= 1000:
        return f"config.harness.rounds must be from 0 to 1000, got {shorten(rounds)}"
    if not is_name(read.name) or not one_line(read.remark, 10_000).isprintable():
        return f"config.name must be a printable name, got {shorten(read.name)}"
    backbone = read.model.get("backbone", {})
    if not isinstance(backbone, dict) or not isinstance(backbone.get("pretrained", ""), str | None):
        return "config.model.backbone must be a block"
    return None


def read_info(path: Path) -> RunInfo:
    """Read ``run.json`` of a run folder.

    Raises:
        InputError: missing, malformed, impossible, of a newer schema, or in another run's folder.
    """
    return _read_info(path)[0]


def _read_info(path: Path) -> tuple[RunInfo, str]:
    """Return a run's description, and a digest of what it says."""
    file = path / "run.json"
    try:
        if file.stat().st_size > _LARGEST_INFO:
            raise InputError(f"{file}: must be at most {_LARGEST_INFO} bytes")
        document = json.loads(file.read_text(encoding="utf-8"))
        version = document["schema_version"]
        if version != SCHEMA_VERSION:
            raise InputError(
                f"{file}: schema version must be {SCHEMA_VERSION}, got {shorten(version)}"
            )
        stored = document.pop("crc32", None)  # files of older code have none
        if stored is not None and stored != _document_checksum(document):
            raise InputError(f"{file}: damaged (checksum); restore the file or delete the run")
        info = _INFO.validate_python(document)
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{file}: not a run description ({type(error).__name__})") from error
    fault = impossible_info(info, path.absolute())
    if fault is not None:
        raise InputError(f"{file}: {fault}; restore the file or delete the run")
    # not when and by which command: a run that was interrupted and begun again is the same run
    provenance = {**document["provenance"], "started_utc": "", "command": []}
    kept = json.dumps({**document, "provenance": provenance}, sort_keys=True)
    return info, hashlib.sha256(kept.encode()).hexdigest()


def read_run(path: Path) -> Run:
    """Read a run folder without changing it; a torn last line is passed over.

    Raises:
        InputError: a file that is damaged, impossible, or of another run.
    """
    info, described = _read_info(path)
    file = path / "rounds.jsonl"
    try:
        content = file.read_bytes() if file.exists() else b""
    except OSError as error:
        raise InputError(f"{file}: must be a readable file ({error.strerror})") from error
    content = content[: content.rfind(b"\n") + 1]
    records = parse_rounds(file, content, info)
    if info.chained:
        check_chain(path, info, content)
    digest = hashlib.sha256(f"{described} {hashlib.sha256(content).hexdigest()}".encode())
    return Run(info, records, path, digest.hexdigest(), read_origin(path))


def read_origin(path: Path) -> str:
    """Return who made a run that was joined to a board; empty for the board's own runs.

    Raises:
        InputError: the file cannot be read, or holds no origin.
    """
    file = path / ORIGIN
    try:
        text = file.read_bytes()[:_LARGEST_ORIGIN].decode().removesuffix("\n")
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: must be a line of text ({type(error).__name__})") from error
    if fault := impossible_origin(text):
        raise InputError(f"{file}: {fault}")
    return text


def group_of(origin: str) -> str:
    """Return the short name of who made a run: what stands before the first comma."""
    return origin.partition(",")[0].strip()


def impossible_origin(text: str) -> str | None:
    """Return why a text cannot say who made a run, or None."""
    group = group_of(text)
    if not is_name(text) or not 0 < len(group) <= _LONGEST_GROUP:
        return (
            f"an origin must be one printable line of at most {_LONGEST_NAME} characters, such as "
            f"'Group, version, URL', its first part of at most {_LONGEST_GROUP}, "
            f"got {shorten(text)}"
        )
    if group.lower() in _MARKS_OF_A_BOARD or {"(", ")"} & set(group):
        return (
            "the first part of an origin stands in brackets behind a name: it must not hold any, "
            f"nor be {' or '.join(sorted(_MARKS_OF_A_BOARD))}, got {shorten(group)}"
        )
    return None


def accounting(rounds: Sequence[RoundRecord]) -> Iterator[str]:
    """Yield what does not add up: bills, pixels, budgets."""
    clicks, labelled_px, budget_px, budget_clicks = Clicks(), 0, 0, 0
    for record in rounds:
        before = clicks
        clicks = sum((receipt.clicks for receipt in record.query), clicks)
        labelled_px += sum(receipt.new_px for receipt in record.query)
        if clicks != record.clicks:
            yield f"round {record.round}: the receipts' clicks are not the bill's"
        if labelled_px != record.labelled_px:
            yield f"round {record.round}: the receipts hold {labelled_px} new pixels, the record says {record.labelled_px}"
        if record.round > 0 and record.query and record.labelled_px > record.budget_px:
            yield f"round {record.round}: {record.labelled_px} pixels are more than the budget of {record.budget_px}"
        if record.budget_px < budget_px:
            yield f"round {record.round}: the budget falls from {budget_px} to {record.budget_px}"
        budget_px = record.budget_px
        if record.budget_clicks is not None:
            yield from _overspent(record, before, budget_clicks)
            budget_clicks = record.budget_clicks


def _overspent(record: RoundRecord, before: Clicks, last: int) -> Iterator[str]:
    """Yield what is wrong with a budget of clicks: the last region bought may pass it, no other."""
    budget = record.budget_clicks or 0
    if budget < last:
        yield f"round {record.round}: the budget falls from {last} to {budget} clicks"
    bills = (receipt.clicks.billed for receipt in record.query[:-1])
    if record.query and (spent := before.billed + sum(bills)) >= budget:
        yield (
            f"round {record.round}: {spent} clicks were spent before its last region, the budget "
            f"is {budget}"
        )


def read_maps(path: Path, round_number: int) -> list[ImageThumbnails] | None:
    """Read the small pictures of a round's maps.

    None where they were not kept, or cannot be read.
    """
    try:
        return _MAPS.validate_json((path / f"maps-{round_number}.json").read_bytes())
    except (OSError, ValidationError):
        return None


def read_timings(path: Path) -> list[dict[str, float]]:
    """Read a run folder's seconds by stage.

    Unreadable lines are passed over, since no result depends on them.
    """
    file = path / "timings.jsonl"
    rows = []
    for line in (
        file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else ()
    ):
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and all(
            isinstance(value, int | float) and 0 <= value < _MOST for value in row.values()
        ):
            rows.append(row)
    return rows


def run_path(out: Path, strategy: str, seed: int) -> Path:
    """Return the folder of one run."""
    return out / "runs" / strategy / f"seed-{seed}"


def find_runs(out: Path) -> list[Path]:
    """List the run folders below ``<out>/runs``."""
    return sorted(file.parent for file in (out / "runs").glob("*/seed-*/run.json"))
