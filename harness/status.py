"""How far a board is, from the files of its folder alone: what is finished, where the rest runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from harness.bench import Job
from harness.claims import Holder, holder
from harness.errors import InputError
from harness.experiment import CLAIM_FOLDER, WORK_FOLDER
from harness.files import write_text
from harness.results import RunFolder, find_runs, read_info, read_timings, run_path
from harness.types import FULL_DATA

_PLAN = "plan.json"


@dataclass(frozen=True, slots=True)
class RunState:
    """Where one run stands.

    rounds: finished ones. holder: who is at it. failure: the first line of its record.
    """

    strategy: str
    seed: int
    state: Literal["finished", "running", "failed", "waiting"]
    rounds: int
    last_round: int
    holder: Holder | None = None
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """All runs of a board, and what is known of their speed.

    seconds_left: of one process. None before any round is finished.
    """

    runs: list[RunState]
    seconds_left: float | None
    at_shared_work: list[Holder] = field(default_factory=list)

    def of(self, state: str) -> list[RunState]:
        """Return the runs in a state."""
        return [run for run in self.runs if run.state == state]

    @property
    def at_work(self) -> int:
        """How many processes are at work."""
        return len(self.of("running")) + len(self.at_shared_work)


def write_plan(
    out: Path, strategies: Iterable[str], seeds: Iterable[int], rounds: int, *, references: bool
) -> None:
    """Write down what is asked for, beside what earlier commands asked for in the same folder."""
    runs = {(name, seed, rounds) for name in strategies for seed in seeds}
    if references:
        runs |= {(FULL_DATA, seed, 0) for seed in seeds}
    runs |= set(_planned(out))
    (out / WORK_FOLDER).mkdir(parents=True, exist_ok=True)
    write_text(out / WORK_FOLDER / _PLAN, json.dumps(sorted(runs)))


def remove_plan(out: Path) -> None:
    """Forget what was asked for and is finished: those runs say so themselves."""
    left = [
        (name, seed, last)
        for name, seed, last in _planned(out)
        if _lines(run_path(out, name, seed) / "rounds.jsonl") <= last
    ]
    for draft in (out / WORK_FOLDER).glob(f".{_PLAN}-*"):  # of a command that was killed
        draft.unlink(missing_ok=True)
    if left:
        write_text(out / WORK_FOLDER / _PLAN, json.dumps(left))
    else:
        (out / WORK_FOLDER / _PLAN).unlink(missing_ok=True)


def _planned(out: Path) -> list[tuple[str, int, int]]:
    """Return (strategy, seed, last round) of each run that was asked for; none where nobody did."""
    try:
        rows = json.loads((out / WORK_FOLDER / _PLAN).read_text(encoding="utf-8"))
        return [(str(name), int(seed), int(last)) for name, seed, last in rows]
    except (OSError, ValueError, TypeError):
        return []


def read_status(out: Path) -> Status:
    """Read how far a board is.

    Raises:
        InputError: no board of ``harness bench`` in the folder.
    """
    planned = {(name, seed): last for name, seed, last in _planned(out)}
    for path in find_runs(out):
        info = read_info(path)
        planned.setdefault((info.strategy, info.seed), _last_round(info.config, info.strategy))
    if not planned:
        raise InputError(f"{out}: must be a folder of harness bench, found no run")
    runs = [_state(out, name, seed, last) for (name, seed), last in sorted(planned.items())]
    seeds = sorted({seed for _, seed in planned})
    shared = (_holder(out, Job("shared", "seed-set", seed)) for seed in seeds)
    failures = ((seed, RunFolder(run_path(out, "seed-set", seed)).failure()) for seed in seeds)
    failed = [
        RunState("seed-set", seed, "failed", 0, 0, failure=failure)
        for seed, failure in failures
        if failure is not None
    ]
    at_work = [one for one in shared if one is not None]
    return Status(runs + failed, _seconds_left(out, runs), at_work)


def _last_round(config: dict[str, object], strategy: str) -> int:
    protocol = config.get("harness")
    if strategy == FULL_DATA or not isinstance(protocol, dict):
        return 0
    return int(protocol.get("rounds") or len(protocol.get("budgets") or ()))


def _state(out: Path, name: str, seed: int, last: int) -> RunState:
    folder = run_path(out, name, seed)
    rounds = _lines(folder / "rounds.jsonl")
    kind: Literal["full-data", "run"] = "full-data" if name == FULL_DATA else "run"
    if rounds > last:
        return RunState(name, seed, "finished", rounds, last)
    if (who := _holder(out, Job(kind, name, seed))) is not None:
        return RunState(name, seed, "running", rounds, last, holder=who)
    if (failure := RunFolder(folder).failure()) is not None:
        return RunState(name, seed, "failed", rounds, last, failure=failure)
    return RunState(name, seed, "waiting", rounds, last)


def _holder(out: Path, job: Job) -> Holder | None:
    return holder(out / WORK_FOLDER / CLAIM_FOLDER, job.title)


def _lines(path: Path) -> int:
    """Count whole lines; a torn last one is none."""
    try:
        return path.read_bytes().count(b"\n")
    except OSError:
        return 0


def _seconds_left(out: Path, runs: Sequence[RunState]) -> float | None:
    """Return what is left for one process, if each round takes as long as that of finished runs.

    Of the same strategy where there is one, else of all.
    """
    of_round: dict[tuple[str | None, int], list[float]] = {}
    for run in runs:
        for row in read_timings(run_path(out, run.strategy, run.seed)):
            seconds = sum(value for stage, value in row.items() if stage != "round")
            for name in (run.strategy, None if run.last_round else FULL_DATA):
                of_round.setdefault((name, int(row.get("round", 0))), []).append(seconds)
    if not of_round:
        return None

    def expected(name: str, number: int) -> float:
        known = of_round.get((name, number)) or of_round.get((None, number))
        rest = known or [value for values in of_round.values() for value in values]
        return sum(rest) / len(rest)

    return sum(
        expected(run.strategy, number)
        for run in runs
        if run.state in {"running", "waiting"}
        for number in range(run.rounds, run.last_round + 1)
    )
