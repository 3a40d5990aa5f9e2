"""Jobs done by worker processes, one thread each; what another process has claimed is asked for again until it is done."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

from harness.bench import Job, Outcome, Report, Workshop, execute
from harness.errors import InputError, RunError

_ASK_AGAIN_S = 2.0


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
        for stage in stages:
            _one_by_one(workshop, stage, report, ended)
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


def _one_by_one(workshop: Workshop, stage: Sequence[Job], report: Report, ended: Callable[[Outcome], None]) -> None:
    """Do the jobs of a stage in this process; those that another process has come last, and are then found done or done here."""
    waiting = list(stage)
    while waiting:
        taken = []
        for job in waiting:
            outcome = execute(workshop, job, report)
            if outcome.taken:
                taken.append(job)
            else:
                ended(outcome)
        if taken == waiting:
            time.sleep(_ASK_AGAIN_S)
        waiting = taken


def _run_stage(pool: ProcessPoolExecutor, stage: Sequence[Job], events: Any, report: Report, ended: Callable[[Outcome], None]) -> None:
    pending: set[Future[Outcome]] = {pool.submit(_work, job) for job in stage}
    taken: list[Job] = []
    asked = time.monotonic()
    while pending or taken:
        if taken and time.monotonic() - asked > _ASK_AGAIN_S:
            pending |= {pool.submit(_work, job) for job in taken}
            taken, asked = [], time.monotonic()
        finished, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
        while not events.empty():
            report(events.get())
        for future in finished:
            outcome = future.result()
            if outcome.taken:
                taken.append(outcome.job)
            else:
                ended(outcome)
        if not pending:
            time.sleep(0.5 if taken else 0.0)
