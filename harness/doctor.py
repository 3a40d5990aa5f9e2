"""Run folders examined file by file: what is damaged, what does not add up, and what can be mended with a copy kept."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.errors import InputError
from harness.files import replacing
from harness.publish.board import check_runs
from harness.results import (
    CHAIN,
    RunInfo,
    accounting,
    chain_of,
    check_chain,
    parse_rounds,
    read_info,
    read_maps,
    read_run,
)
from harness.types import RoundRecord

_DRAFT = re.compile(
    r"^\.(run\.json|chain\.jsonl|rounds\.jsonl|timings\.jsonl|maps-\d+\.json|failure\.txt|index\.html|weights\.pt|training\.ckpt|validation\.json|[\w-]+\.map|"
    r"(leaderboard|ranks|cost-model)\.[a-z]+)-[a-z0-9_]{8}$"
)
_DRAFT_AGE_S = 3600.0
COPY_SUFFIX = ".damaged"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. cure: what mending would do; None where only running again helps."""

    path: Path
    problem: str
    cure: str | None


def examine(out: Path) -> Iterator[Finding]:
    """Examine every run folder below ``<out>/runs``, and drafts older than an hour that a killed process left below ``out``.

    Raises:
        InputError: no such folder.
    """
    if not out.is_dir():
        raise InputError(f"{out}: no such folder; allowed: one that harness bench wrote")
    whole: list[Path] = []
    for folder in sorted(path for path in (out / "runs").glob("*/seed-*") if path.is_dir()):
        if not (folder / "run.json").exists() and not (folder / "rounds.jsonl").exists():
            continue  # timings of work that all runs share
        problems = list(_examine_run(folder))
        yield from problems
        if not problems:
            whole.append(folder)
    yield from _examine_together(whole)
    for path in sorted(out.rglob(".*")):
        if (
            path.is_file()
            and _DRAFT.match(path.name)
            and time.time() - path.stat().st_mtime > _DRAFT_AGE_S
        ):
            yield Finding(path, "a draft that a killed process left", "delete it")


def _examine_run(folder: Path) -> Iterator[Finding]:
    try:
        info = read_info(folder)
    except InputError as error:
        newer = "schema version" in str(error)
        cure = None if newer else f"move the folder to damaged-{folder.name}; the run starts again"
        yield Finding(folder / "run.json", str(error).partition(": ")[2], cure)
        return
    rounds, problem = _good_rounds(folder / "rounds.jsonl", info)
    if problem is not None:
        yield Finding(
            folder / "rounds.jsonl",
            problem,
            f"keep the {len(rounds)} rounds before it; the others run again",
        )
    for complaint in accounting(rounds):
        yield Finding(folder / "rounds.jsonl", complaint, None)
    for maps in sorted(folder.glob("maps-*.json")):
        if (
            read_maps(
                folder, int(maps.stem.removeprefix("maps-")) if maps.stem[5:].isdecimal() else -1
            )
            is None
        ):
            yield Finding(
                maps, "cannot be read", "delete it; the page then goes without these maps"
            )
    timings = folder / "timings.jsonl"
    if (
        timings.exists()
        and _timing_lines(timings)
        != timings.read_text(encoding="utf-8", errors="replace").splitlines()
    ):
        yield Finding(
            timings, "holds lines that cannot be read", "keep the others; no result depends on them"
        )


def _examine_together(folders: list[Path]) -> Iterator[Finding]:
    """Find runs that are whole one by one and cannot stand on one board.

    Equal rounds under two seeds, or other validation labels.
    """
    runs = [run for run in map(read_run, folders) if run.rounds]
    try:
        check_runs(runs)
    except InputError as error:
        place, _, said = str(error).partition(" ")
        yield Finding(Path(place), said, None)


def _good_rounds(file: Path, info: RunInfo) -> tuple[list[RoundRecord], str | None]:
    """Return the rounds up to the first damage, and what that is."""
    if not file.exists():
        return [], None
    content = file.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    try:
        rounds = parse_rounds(file, whole, info)
        if info.chained:
            check_chain(file.parent, info, whole)
    except InputError as error:
        line = int(str(error).removeprefix(f"{file}:").partition(":")[0])
        kept = b"".join(whole.splitlines(keepends=True)[: line - 1])
        return (
            parse_rounds(file, kept, info),
            f"line {line}: {str(error).partition(': ')[2].partition(';')[0]}",
        )
    return rounds, None if whole == content else "its last line was not written in full"


def _timing_lines(file: Path) -> list[str]:
    kept = []
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            if isinstance(json.loads(line), dict):
                kept.append(line)
        except ValueError:
            continue
    return kept


def mend(finding: Finding) -> bool:
    """Mend one finding; what is changed is copied first, beside it. Returns False where nothing can be done."""
    path = finding.path
    if finding.cure is None:
        return False
    if path.name == "run.json":
        path.parent.rename(
            _free(path.parent.with_name(f"damaged-{path.parent.name}"))
        )  # not seed-*: nothing reads it as a run
    elif path.name == "rounds.jsonl":
        shutil.copy2(path, _free(path.with_name(path.name + COPY_SUFFIX)))
        info = read_info(path.parent)
        rounds, _ = _good_rounds(path, info)
        kept = path.read_bytes().splitlines(keepends=True)[: len(rounds)]
        if info.chained:
            links = chain_of(info, b"".join(kept))
            _rewrite(path.with_name(CHAIN), [f"{link}\n".encode() for link in links])
        _rewrite(path, kept)
    elif path.name == "timings.jsonl":
        shutil.copy2(path, _free(path.with_name(path.name + COPY_SUFFIX)))
        _rewrite(path, [line.encode() + b"\n" for line in _timing_lines(path)])
    else:
        os.unlink(path)
    return True


def _free(path: Path) -> Path:
    """Return a name that is not taken: this one, or this one with a number."""
    numbered = (path.with_name(f"{path.name}-{number}") for number in itertools.count(2))
    return next(name for name in itertools.chain([path], numbered) if not name.exists())


def _rewrite(path: Path, lines: list[bytes]) -> None:
    with replacing(path) as draft:
        draft.write_bytes(b"".join(lines))
