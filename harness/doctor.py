"""Run folders examined file by file: what is damaged, and what can be repaired with a copy kept."""

from __future__ import annotations

import bisect
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
from harness.files import atomic_write
from harness.publish.board import check_runs
from harness.results import (
    CHAIN,
    ORIGIN,
    Run,
    RunInfo,
    accounting,
    chain_of,
    check_chain,
    parse_rounds,
    read_info,
    read_maps,
    read_origin,
)
from harness.types import RoundRecord

_DRAFT = re.compile(
    r"^\.(run\.json|chain\.jsonl|rounds\.jsonl|timings\.jsonl|losses\.jsonl|maps-\d+\.json|failure\.txt|"
    r"index\.html|weights\.pt|training\.ckpt|validation\.json|[\w-]+\.(map|features|segments)|"
    r"(leaderboard|ranks|cost-model)\.[a-z]+)-[a-z0-9_]{8}$"
)
_DRAFT_AGE_S = 3600.0
COPY_SUFFIX = ".damaged"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. fix: what repairing would do; None where only running again helps."""

    path: Path
    problem: str
    fix: str | None


def examine(out: Path) -> Iterator[Finding]:
    """Examine every run folder below ``<out>/runs``, and old drafts anywhere below ``out``.

    Drafts older than an hour are what a killed process left.

    Raises:
        InputError: no such folder.
    """
    if not out.is_dir():
        raise InputError(f"{out}: no such folder; give one that harness bench wrote")
    whole: list[Run] = []
    for folder in sorted(path for path in (out / "runs").glob("*/seed-*") if path.is_dir()):
        if not (folder / "run.json").exists() and not (folder / "rounds.jsonl").exists():
            continue  # timings of work that all runs share
        problems, run = _examine_run(folder)
        yield from problems
        if run is not None and run.rounds and not problems:
            whole.append(run)
    try:
        check_runs(whole)
    except InputError as error:
        yield Finding(out / "runs", str(error), None)
    for path in sorted(out.rglob(".*")):
        if (
            path.is_file()
            and _DRAFT.match(path.name)
            and time.time() - path.stat().st_mtime > _DRAFT_AGE_S
        ):
            yield Finding(path, "a draft that a killed process left", "delete it")


def _examine_run(folder: Path) -> tuple[list[Finding], Run | None]:
    """Return what is wrong with one run, and the run as far as it can be read."""
    try:
        info = read_info(folder)
    except InputError as error:
        newer = "schema version" in str(error)
        fix = None if newer else f"move the folder to damaged-{folder.name}; the run starts again"
        return [Finding(folder / "run.json", str(error).partition(": ")[2], fix)], None
    file = folder / "rounds.jsonl"
    rounds, problem = _good_rounds(file, info)
    found = [Finding(file, complaint, None) for complaint in accounting(rounds)]
    if problem is not None:
        fix = f"keep the {len(rounds)} rounds before it; the others run again"
        found.insert(0, Finding(file, problem, fix))
    try:
        read_origin(folder)
    except InputError as error:
        found.append(Finding(folder / ORIGIN, str(error).partition(": ")[2], None))
    found += _examine_maps_and_timings(folder)
    return found, Run(info, rounds, folder)


def _examine_maps_and_timings(folder: Path) -> Iterator[Finding]:
    for maps in sorted(folder.glob("maps-*.json")):
        number = maps.stem.removeprefix("maps-")
        if read_maps(folder, int(number) if number.isdecimal() else -1) is None:
            yield Finding(
                maps, "cannot be read", "delete it; the page then goes without these maps"
            )
    timings = folder / "timings.jsonl"
    if timings.exists():
        lines = timings.read_text(encoding="utf-8", errors="replace").splitlines()
        if _timing_lines(timings) != lines:
            fix = "keep the others; no result depends on them"
            yield Finding(timings, "holds lines that cannot be read", fix)


def _good_rounds(file: Path, info: RunInfo) -> tuple[list[RoundRecord], str | None]:
    """Return the rounds up to the first damage, and what that is."""
    if not file.exists():
        return [], None
    content = file.read_bytes()
    lines = content[: content.rfind(b"\n") + 1].splitlines(keepends=True)
    whole = b"".join(lines)
    if _problem_of(file, info, whole) is None:
        return parse_rounds(file, whole, info), (
            None if whole == content else "its last line was not written in full"
        )
    good = bisect.bisect_left(
        range(1, len(lines)),
        x=True,
        key=lambda count: _problem_of(file, info, b"".join(lines[:count])) is not None,
    )
    # asked again up to that line: a later one may be worse, and would be named instead
    problem = _problem_of(file, info, b"".join(lines[: good + 1])) or ""
    said = problem.partition(": ")[2].partition(";")[0]
    return parse_rounds(file, b"".join(lines[:good]), info), f"line {good + 1}: {said}"


def _problem_of(file: Path, info: RunInfo, rounds: bytes) -> str | None:
    """Return what is wrong with the first lines of a file of rounds."""
    try:
        parse_rounds(file, rounds, info)
        if info.chained:
            check_chain(file.parent, info, rounds)
    except InputError as error:
        return str(error)
    return None


def _timing_lines(file: Path) -> list[str]:
    kept = []
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            if isinstance(json.loads(line), dict):
                kept.append(line)
        except ValueError:
            continue
    return kept


def repair(finding: Finding) -> bool:
    """Repair one finding; what is changed is copied first, beside it.

    Returns:
        False where nothing can be done.
    """
    path = finding.path
    if finding.fix is None:
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
    with atomic_write(path) as draft:
        draft.write_bytes(b"".join(lines))
