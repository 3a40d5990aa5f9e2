"""The matrix of runs: shared work done once, finished runs skipped, failed ones recorded while the others go on."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from harness.acquisition import Tally, scan
from harness.errors import InputError, RunError
from harness.loop import FULL_DATA, Networks, Schedule, draw_seed_set, run_full_data, run_strategy
from harness.maps import QueryRules, requests_of
from harness.pool import LabelledPool
from harness.protocols import ImageSizes, Oracle, RunWriter, Strategy
from harness.types import RoundRecord


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of work for a worker: what all runs of a seed share, the full-data reference, or a run."""

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
class Outcome:
    """How a job ended. ``error`` is one line; ``is_input`` says that it is the user's to mend."""

    job: Job
    tally: Tally = field(default_factory=Tally)
    seconds: float = 0.0
    error: str | None = None
    is_input: bool = False


class Clock:
    """Seconds by stage of the round at hand, and a word to whoever watches."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self.report: Callable[[int, str], None] = lambda _round, _stage: None

    @contextmanager
    def stage(self, round_number: int, name: str) -> Iterator[None]:
        """Time a stage."""
        self.report(round_number, name)
        start = time.monotonic()
        try:
            yield
        finally:
            self._seconds[name] = self._seconds.get(name, 0.0) + time.monotonic() - start

    def take(self) -> dict[str, float]:
        """Return what has been timed since the last call."""
        seconds, self._seconds = self._seconds, {}
        return seconds


class Workshop(Protocol):
    """All that a worker holds on to between jobs; made once per process, outside this layer."""

    @property
    def oracle(self) -> Oracle:
        """Labels and clicks."""
        ...

    @property
    def sizes(self) -> ImageSizes:
        """Training images and their sizes."""
        ...

    @property
    def schedule(self) -> Schedule:
        """How much is bought when."""
        ...

    @property
    def rules(self) -> QueryRules:
        """How queries are made."""
        ...

    @property
    def strategies(self) -> dict[str, Strategy]:
        """The strategies of the board by name."""
        ...

    @property
    def networks(self) -> Networks:
        """Trained networks."""
        ...

    @property
    def clock(self) -> Clock:
        """Seconds by stage."""
        ...

    @property
    def tally(self) -> Tally:
        """Work asked for and done."""
        ...

    def open_run(self, job: Job) -> tuple[list[RoundRecord], RunWriter]:
        """Open or resume the folder of a run: its finished rounds, and where the next ones go."""
        ...

    def keep_timings(self, job: Job, seconds: dict[str, float]) -> None:
        """Keep the seconds of work that no single run owns."""
        ...

    def record_failure(self, job: Job, text: str) -> None:
        """Keep a traceback beside the run."""
        ...


Report = Callable[[Event], None]


def plan(
    strategies: Sequence[Strategy], seeds: Sequence[int], finished: Callable[[str, int], int], schedule: Schedule
) -> tuple[list[Job], list[Job]]:
    """List what is left to do: first what is shared and the references, then the runs, seed by seed.

    Args:
        finished: (strategy, seed) -> number of finished rounds.
    """
    runs = [
        Job("run", strategy.name, seed) for seed in seeds for strategy in strategies if finished(strategy.name, seed) <= schedule.rounds
    ]
    first = [Job("full-data", FULL_DATA, seed) for seed in seeds if finished(FULL_DATA, seed) == 0]
    starting = [seed for seed in seeds if sum(job.seed == seed and finished(job.strategy, seed) <= 1 for job in runs) > 1]
    return [*first, *(Job("shared", "seed-set", seed) for seed in starting)], runs


def execute(workshop: Workshop, job: Job, report: Report) -> Outcome:
    """Do one job in this process; whatever goes wrong becomes part of the outcome."""
    outcome, start = Outcome(job), time.monotonic()
    workshop.clock.report = lambda round_number, stage: report(Event(job, round_number, stage))
    before = replace(workshop.tally)
    try:
        _execute(workshop, job, report)
    except InputError as error:
        outcome.error, outcome.is_input = str(error), True
    except OSError as error:
        outcome.error = f"{error.filename or 'output folder'}: {error.strerror}"
        outcome.is_input = error.errno in {errno.ENOSPC, errno.EROFS, errno.EDQUOT}
        workshop.record_failure(job, traceback.format_exc())
    except Exception as error:  # noqa: BLE001  one failed run must not take the others with it; its traceback is kept beside it
        outcome.error = f"{type(error).__name__}: {' '.join(str(error).split())}"
        workshop.record_failure(job, traceback.format_exc())
    if job.kind == "shared":
        workshop.keep_timings(job, workshop.clock.take())
    workshop.clock.take()
    outcome.seconds = time.monotonic() - start
    outcome.tally = workshop.tally - before
    return outcome


def _execute(workshop: Workshop, job: Job, report: Report) -> None:
    if job.kind == "shared":
        _share_round_zero(workshop, job.seed)
        return
    finished, writer = workshop.open_run(job)
    reporting = _Reporting(writer, lambda number: report(Event(job, number, "done")))
    common: dict[str, Any] = {"oracle": workshop.oracle, "sizes": workshop.sizes, "networks": workshop.networks, "writer": reporting}
    if job.kind == "full-data":
        if not finished:
            run_full_data(job.seed, **common)
    else:
        run_strategy(
            workshop.strategies[job.strategy],
            job.seed,
            schedule=workshop.schedule,
            rules=workshop.rules,
            finished=finished,
            stage=workshop.clock.stage,
            tally=workshop.tally,
            **common,
        )


def _share_round_zero(workshop: Workshop, seed: int) -> None:
    """Train and infer once what all strategies of a seed start from: the seed set's networks and every map they ask for."""
    strategies = list(workshop.strategies.values())
    pool = LabelledPool(workshop.sizes)
    query = draw_seed_set(workshop.sizes, workshop.schedule.seed_images, seed)
    pool.add(workshop.oracle.annotate([candidate.region for candidate in query], pool))
    trained = workshop.networks.obtain(pool, seed, 0, with_cost=any(strategy.cost == "predicted" for strategy in strategies))
    workshop.tally.trainings_asked -= 1
    if workshop.schedule.rounds == 0:
        return
    requests = [request for strategy in strategies for request in requests_of(strategy, workshop.rules)]
    with workshop.clock.stage(1, "acquisition"):
        workshop.tally.images_predicted += scan(
            pool.open_ids, requests, pool=pool, predictor=trained.network, oracle=workshop.oracle, rules=workshop.rules, cache=trained.maps
        )


@dataclass(slots=True)
class _Reporting:
    """A writer that also tells that a round is done."""

    writer: RunWriter
    done: Callable[[int], None]

    def append(self, record: RoundRecord) -> None:
        self.writer.append(record)
        self.done(record.round)


# ------------------------------------------------------------------------------------------------------------ workers


@dataclass(slots=True)
class _Worker:
    """The state of a worker process: one workshop, or why there is none."""

    workshop: Workshop | None = None
    refused: InputError | None = None
    events: Any = None


_worker = _Worker()


def _start_worker(make_workshop: Callable[[], Workshop], events: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers itself
    threading.Thread(target=_die_with, args=(os.getppid(),), daemon=True).start()
    _worker.events = events
    try:
        _worker.workshop = make_workshop()
    except InputError as error:
        _worker.refused = error


def _die_with(parent: int) -> None:
    """End this worker when its parent is gone: a killed command must leave nothing behind that goes on writing."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _work(job: Job) -> Outcome:
    if _worker.refused is not None:
        raise InputError(str(_worker.refused))
    if _worker.workshop is None:
        raise RunError("this worker has no workshop")
    return execute(_worker.workshop, job, _worker.events.put)


def run_jobs(
    make_workshop: Callable[[], Workshop],
    stages: Sequence[Sequence[Job]],
    *,
    workers: int,
    report: Report,
    ended: Callable[[Outcome], None],
) -> None:
    """Do all jobs, stage after stage, in worker processes; one worker works in this process.

    Args:
        make_workshop: picklable; called once in each worker.
        report: called in this process for each event.
        ended: called in this process for each outcome.
    """
    if workers == 1:
        workshop = make_workshop()
        for job in (job for stage in stages for job in stage):
            ended(execute(workshop, job, report))
        return
    context = multiprocessing.get_context("spawn")
    events = context.Queue()
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=(make_workshop, events)) as pool:
        try:
            for stage in stages:
                _run_stage(pool, stage, events, report, ended)
        except BrokenProcessPool as error:
            raise RunError("a worker process died, perhaps for want of memory; the same command goes on where it stopped") from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
            raise


def _run_stage(pool: ProcessPoolExecutor, stage: Sequence[Job], events: Any, report: Report, ended: Callable[[Outcome], None]) -> None:
    pending: set[Future[Outcome]] = {pool.submit(_work, job) for job in stage}
    while pending:
        finished, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
        while not events.empty():
            report(events.get())
        for future in finished:
            ended(future.result())
