"""Run folders: ``<out>/runs/<strategy>/seed-<k>/{run.json, rounds.jsonl, timings.jsonl, maps-<round>.json}``; append, read, validate."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import TypeAdapter, ValidationError

from harness.data.labels import CLASS_NAMES
from harness.errors import InputError
from harness.files import seal, write_text
from harness.provenance import Provenance
from harness.types import ClickTotals, ImageSketch, RoundRecord

SCHEMA_VERSION = 1

TRAINER_VERSION = 1
"""Raise it when the same recipe would train other weights: runs of older code are then neither resumed nor compared."""

_RECORD = TypeAdapter(RoundRecord)
_MAPS = TypeAdapter(list[ImageSketch])


@dataclass(frozen=True, slots=True)
class RunInfo:
    """``run.json``: all that determines a run, and where it was made.

    config: the whole resolved config; config_sha256: of what determines results in it. train_px, train_images: of the pool.
    cost: where the cost in the score comes from; see ``harness.protocols.Strategy``. code: of a plug-in.
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
    """One run as read back, and the folder that it was read from."""

    info: RunInfo
    rounds: list[RoundRecord]
    path: Path | None = None


class RunFolder:
    """The files of one run. Rounds are appended and synced one line at a time; a torn last line is dropped on resume."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rounds = path / "rounds.jsonl"
        self._timings = path / "timings.jsonl"

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
                    f"{self.path}: holds a run with another {', '.join(different)}; allowed: another --out, or --overwrite"
                )
            return self._recover()
        for leftover in (self._rounds, self._timings):
            leftover.unlink(missing_ok=True)
        document = json.loads(_INFO.dump_json(info))
        write_text(
            self.path / "run.json",
            json.dumps({**document, "crc32": _checksum(document)}, indent=1) + "\n",
        )
        return []

    def _recover(self) -> list[RoundRecord]:
        """Read the finished rounds; cut off a last line that was not written in full."""
        if not self._rounds.exists():
            return []
        content = self._rounds.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            with self._rounds.open("ab+") as stream:
                _cut_torn_line(stream)
                os.fsync(stream.fileno())
        return parse_rounds(self._rounds, whole)

    def append(self, record: RoundRecord) -> None:
        """Add one finished round: a line with a checksum, on disk before this returns."""
        _append_line(self._rounds, _sealed(_RECORD.dump_json(record).decode()))

    def append_timings(self, round_number: int, seconds: dict[str, float]) -> None:
        """Add one round's seconds by stage. They live in a file of their own, so that records are the same on any machine."""
        _append_line(
            self._timings,
            json.dumps(
                {
                    "round": round_number,
                    **{stage: round(value, 3) for stage, value in seconds.items()},
                }
            ),
        )

    def keep_maps(self, round_number: int, maps: Sequence[ImageSketch]) -> None:
        """Keep small pictures of a round's maps, for the published page; no result depends on them."""
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
        """Delete the run: its description first, so that a half-deleted run is none."""
        (self.path / "run.json").unlink(missing_ok=True)
        shutil.rmtree(self.path, ignore_errors=True)


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


def _checksum(document: dict[str, Any]) -> str:
    return seal(json.dumps(document, sort_keys=True))


def _sealed(record: str) -> str:
    return f'{{"crc32":"{seal(record)}","record":{record}}}'


def parse_rounds(path: Path, content: bytes) -> list[RoundRecord]:
    """Read the lines of ``rounds.jsonl``.

    Raises:
        InputError: a line that is damaged or out of order: ``<path>:<line>: ...``.
    """
    records = []
    for number, line in enumerate(content.decode("utf-8", errors="replace").splitlines()):
        try:
            record = _RECORD.validate_json(line.partition(',"record":')[2][:-1])
        except ValidationError as error:
            raise InputError(
                f"{path}:{number + 1}: not a round record ({error.errors()[0]['msg']}); restore the file or delete the run"
            ) from error
        if line != _sealed(line.partition(',"record":')[2][:-1]) or record.round != number:
            raise InputError(
                f"{path}:{number + 1}: damaged line (checksum or round number); restore the file or delete the run"
            )
        records.append(record)
    return records


def read_info(path: Path) -> RunInfo:
    """Read ``run.json`` of a run folder.

    Raises:
        InputError: missing, malformed, or of a newer schema.
    """
    file = path / "run.json"
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        version = document["schema_version"]
        if version != SCHEMA_VERSION:
            raise InputError(f"{file}: schema version {version}; allowed: {SCHEMA_VERSION}")
        sealed = document.pop("crc32", None)  # files of older code have none
        if sealed is not None and sealed != _checksum(document):
            raise InputError(f"{file}: damaged (checksum); restore the file or delete the run")
        return _INFO.validate_python(document)
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file}: not a run description ({type(error).__name__})") from error


def read_run(path: Path) -> Run:
    """Read a run folder without changing it; a torn last line is passed over."""
    info = read_info(path)
    file = path / "rounds.jsonl"
    content = file.read_bytes() if file.exists() else b""
    return Run(info, parse_rounds(file, content[: content.rfind(b"\n") + 1]), path)


def read_maps(path: Path, round_number: int) -> list[ImageSketch] | None:
    """Read the small pictures of a round's maps; None where they were not kept, or cannot be read."""
    try:
        return _MAPS.validate_json((path / f"maps-{round_number}.json").read_bytes())
    except (OSError, ValidationError):
        return None


def read_timings(path: Path) -> list[dict[str, float]]:
    """Read a run folder's seconds by stage; unreadable lines are passed over, since no result depends on them."""
    file = path / "timings.jsonl"
    rows = []
    for line in (
        file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else ()
    ):
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and all(isinstance(value, int | float) for value in row.values()):
            rows.append(row)
    return rows


def run_path(out: Path, strategy: str, seed: int) -> Path:
    """Return the folder of one run."""
    return out / "runs" / strategy / f"seed-{seed}"


def find_runs(out: Path) -> list[Path]:
    """List the run folders below ``<out>/runs``."""
    return sorted(file.parent for file in (out / "runs").glob("*/seed-*/run.json"))
