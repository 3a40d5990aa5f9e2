"""The matrix of runs: shared work done once, finished runs skipped, failed ones recorded while the others go on."""

from __future__ import annotations

import errno
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from harness.acquisition import Counters, scan
from harness.errors import FailedBeforeError, InputError
from harness.loop import draw_seed_set, run_full_data, run_strategy
from harness.maps import requests_of
from harness.pool import LabelledPool
from harness.protocols import RunWriter, Strategy
from harness.schedule import Schedule
from harness.types import FULL_DATA, ImageThumbnails, LossPoint, RoundRecord

if TYPE_CHECKING:
    from harness.experiment import ExperimentContext

_THE_MACHINES = {
    errno.ENOSPC,
    errno.EROFS,
    errno.EDQUOT,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EACCES,
    errno.EIO,
    errno.ESTALE,
}
"""A full, read-only, damaged or vanished disk.

The run itself has not failed, and goes on when that is fixed.
"""


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of work for a worker.

    What all runs of a seed share, the full-data reference, or a run.
    """

    kind: Literal["shared", "full-data", "run"]
    strategy: str
    seed: int

    @property
    def title(self) -> str:
        """What a person reads."""
        return f"{self.strategy} seed {self.seed}"


@dataclass(frozen=True, slots=True)
class Event:
    """What a worker is at: the start of a stage, or a finished round."""

    job: Job
    round: int
    stage: str


@dataclass(slots=True)
class JobResult:
    """How a job ended.

    error: one line. is_input: it is the user's to fix. is_machine: it is the disk's, so that no
    other job would fare better. is_claimed_elsewhere: another process is at it.
    """

    job: Job
    counters: Counters = field(default_factory=Counters)
    seconds: float = 0.0
    error: str | None = None
    is_input: bool = False
    is_machine: bool = False
    is_claimed_elsewhere: bool = False


class Timer:
    """Seconds by stage of the current round, and a word to whoever watches."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._losses: dict[int, Sequence[LossPoint]] = {}
        self.place = "before the first round"
        self.report: Callable[[int, str], None] = lambda _round, _stage: None

    @contextmanager
    def stage(self, round_number: int, name: str) -> Iterator[None]:
        """Time a stage."""
        self.report(round_number, name)
        self.place = f"round {round_number}, {name}"
        start = time.monotonic()
        try:
            yield
        finally:
            self._seconds[name] = self._seconds.get(name, 0.0) + time.monotonic() - start

    def pop_seconds(self) -> dict[str, float]:
        """Return what has been timed since the last call."""
        seconds, self._seconds = self._seconds, {}
        return seconds

    def note_losses(self, round_number: int, losses: Sequence[LossPoint]) -> None:
        """Take note of the losses of a training."""
        self._losses[round_number] = losses

    def pop_losses(self) -> dict[int, Sequence[LossPoint]]:
        """Return the losses by round that were noted since the last call."""
        losses, self._losses = self._losses, {}
        return losses


Report = Callable[[Event], None]


def plan(
    strategies: Sequence[Strategy],
    seeds: Sequence[int],
    finished: Callable[[str, int], int],
    schedule: Schedule,
) -> list[Job]:
    """List what is left to do, seed by seed: what the seed's runs share, its reference, its runs.

    Args:
        finished: (strategy, seed) -> number of finished rounds.
    """
    jobs: list[Job] = []
    for seed in seeds:
        runs = [
            Job("run", strategy.name, seed)
            for strategy in strategies
            if finished(strategy.name, seed) <= schedule.rounds
        ]
        if sum(finished(job.strategy, seed) <= 1 for job in runs) > 1:
            jobs.append(Job("shared", "seed-set", seed))
        if finished(FULL_DATA, seed) == 0:
            jobs.append(Job("full-data", FULL_DATA, seed))
        jobs += runs
    return jobs


def execute(experiment: ExperimentContext, job: Job, report: Report) -> JobResult:
    """Do one job in this process, unless another has it.

    Whatever goes wrong becomes part of the result.
    """
    result, start = JobResult(job), time.monotonic()
    with experiment.claim(job) as mine:
        if mine:
            _execute_claimed(experiment, job, report, result)
    result.is_claimed_elsewhere = not mine
    result.seconds = time.monotonic() - start
    return result


def _execute_claimed(
    experiment: ExperimentContext, job: Job, report: Report, result: JobResult
) -> None:
    experiment.timer.place = "before the first round"
    experiment.timer.report = lambda round_number, stage: report(Event(job, round_number, stage))
    before = replace(experiment.counters)
    try:
        _execute(experiment, job, report)
    except InputError as error:
        result.error, result.is_input = str(error), True
    except FailedBeforeError as error:
        result.error = str(error)
    except Exception as error:  # noqa: BLE001  one failed run must not take the others with it; its traceback is kept beside it
        result.error, result.is_machine = _in_one_line(error)
        if not result.is_machine and (fault := experiment.disk_fault()) is not None:
            result.error, result.is_machine = fault, True
        result.is_input = result.is_machine
        if not result.is_input:
            result.error = f"{experiment.timer.place}: {result.error}"
            experiment.record_failure(job, f"{result.error}\n\n{traceback.format_exc()}")
    if job.kind == "shared":
        experiment.keep_timings(job)
    experiment.timer.pop_seconds()
    experiment.timer.pop_losses()
    result.counters = experiment.counters - before


def _in_one_line(error: BaseException) -> tuple[str, bool]:
    """Say an error in one line, and whether it is the machine's or the user's to fix and so no failure of the run.

    Libraries wrap what the system said: the first cause with a number decides.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _THE_MACHINES:
            return f"{cause.filename or 'output folder'}: {cause.strerror}", True
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, OSError) and error.errno is not None:
        place = error.filename or "output folder"
        return f"{place}: {error.strerror}", error.errno in _THE_MACHINES
    return f"{type(error).__name__}: {' '.join(str(error).split())}", False


def _execute(experiment: ExperimentContext, job: Job, report: Report) -> None:
    experiment.turn_to(job.seed)
    if job.kind == "shared":
        experiment.check_failure(job)
        _share_round_zero(experiment, job.seed)
        return
    finished, writer = experiment.open_run(job)
    reporting = _Reporting(writer, lambda number: report(Event(job, number, "done")))
    common: dict[str, Any] = {
        "oracle": experiment.oracle,
        "sizes": experiment.sizes,
        "networks": experiment.networks.of(f"{job.strategy}-seed-{job.seed}"),
        "writer": reporting,
    }
    if job.kind == "full-data":
        if not finished:
            run_full_data(job.seed, **common)
    else:
        run_strategy(
            experiment.strategies[job.strategy],
            job.seed,
            schedule=experiment.schedule,
            rules=experiment.rules,
            finished=finished,
            stage=experiment.timer.stage,
            counters=experiment.counters,
            **common,
        )


def _share_round_zero(experiment: ExperimentContext, seed: int) -> None:
    """Train and infer once what all strategies of a seed start from.

    The seed set's networks and every map they ask for.
    """
    strategies = list(experiment.strategies.values())
    pool = LabelledPool(experiment.sizes)
    query = draw_seed_set(experiment.sizes, experiment.schedule.seed_images, seed)
    pool.add(experiment.oracle.annotate([candidate.region for candidate in query], pool))
    trained = experiment.networks.get_or_train(
        pool, seed, 0, with_cost=any(strategy.learns_cost for strategy in strategies)
    )
    experiment.counters.trainings_asked -= 1
    if experiment.schedule.rounds == 0:
        return
    requests = [
        request for strategy in strategies for request in requests_of(strategy, experiment.rules)
    ]
    with experiment.timer.stage(1, "acquisition"):
        experiment.counters.images_predicted += scan(
            pool.open_ids,
            requests,
            pool=pool,
            predictor=trained.network,
            oracle=experiment.oracle,
            rules=experiment.rules,
            cache=trained.maps,
        )


@dataclass(slots=True)
class _Reporting:
    """A writer that also tells that a round is done."""

    writer: RunWriter
    done: Callable[[int], None]

    @property
    def keeps_maps(self) -> bool:
        return self.writer.keeps_maps

    def keep_maps(self, round_number: int, maps: Sequence[ImageThumbnails]) -> None:
        self.writer.keep_maps(round_number, maps)

    def append(self, record: RoundRecord) -> None:
        self.writer.append(record)
        self.done(record.round)
