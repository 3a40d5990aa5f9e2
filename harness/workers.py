"""Jobs done by worker processes, one thread each, as many at once as memory does for; what another process has is asked for again."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from harness.bench import Job, Outcome, Report, Workshop, execute
from harness.errors import InputError, RunError
from harness.memory import available_bytes, resident_bytes

_ASK_AGAIN_S = 2.0
_LISTEN_S = 0.5
_LEAST_WORKER_BYTES = 1 << 30
"""Choice: what a worker takes before one has been seen, and never less: torch alone is a good part of it."""


@dataclass(slots=True)
class _Worker:
    """The state of a worker process: one workshop, or why there is none."""

    workshop: Workshop | None = None
    refused: InputError | None = None
    events: Any = None


_worker = _Worker()


def _start_worker(make_workshop: Callable[[], Workshop], events: Any, gpus: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers itself
    threading.Thread(target=_die_with, args=(os.getppid(),), daemon=True).start()
    _worker.events = events
    if (gpu := gpus.get()) is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu  # before torch looks for any: this process knows one GPU
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


@dataclass(slots=True)
class Queue:
    """Which job comes next: the first that is neither held up by the shared work of its seed nor claimed by another process."""

    waiting: list[Job]
    running: set[Job] = field(default_factory=set)
    _not_before: dict[Job, float] = field(default_factory=dict)

    def take(self) -> Job | None:
        """Hand out the next job; None where none may start now."""
        starting = {job.seed for job in (*self.waiting, *self.running) if job.kind == "shared"}
        now = time.monotonic()
        for job in self.waiting:
            if (job.kind == "run" and job.seed in starting) or now < self._not_before.get(job, now):
                continue
            self.waiting.remove(job)
            self.running.add(job)
            return job
        return None

    def settle(self, outcome: Outcome) -> bool:
        """Take note of how a job ended; False where another process has it, so that it comes again later."""
        self.running.remove(outcome.job)
        if outcome.taken:
            self._not_before[outcome.job] = time.monotonic() + _ASK_AGAIN_S
            self.waiting.append(outcome.job)
        return not outcome.taken

    def put_back(self) -> None:
        """Let all running jobs wait again, in front: their workers are gone."""
        self.waiting = [*self.running, *self.waiting]
        self.running.clear()


def run_jobs(
    make_workshop: Callable[[], Workshop],
    jobs: Sequence[Job],
    *,
    workers: int,
    report: Report,
    ended: Callable[[Outcome], None],
    gpus: Sequence[str] = (),
) -> None:
    """Do all jobs in worker processes, in their order; one worker works in this process.

    A run waits for the shared work of its seed. A job is handed out only while memory does for one more worker, and where a worker
    process dies (killed for memory, perhaps) the others go on with one less, and with its job.

    Args:
        make_workshop: picklable; called once in each worker.
        report: called in this process for each event.
        ended: called in this process for each outcome.
        gpus: names as in ``CUDA_VISIBLE_DEVICES``; the workers share them out, one each.

    Raises:
        InputError: what a workshop refuses.
        RunError: the last worker process died.
    """
    queue = Queue(list(jobs))
    if workers == 1:
        _one_by_one(make_workshop(), queue, report, ended)
        return
    for left in range(workers, 0, -1):
        try:
            with _Crew(make_workshop, left, gpus) as crew:
                crew.work_off(queue, report, ended)
            return
        except BrokenProcessPool as error:
            queue.put_back()
            if left == 1:
                raise RunError(
                    "the last worker process died, perhaps for want of memory; the same command goes on where it stopped"
                ) from error
            print(f"harness: a worker process died, perhaps for want of memory; going on with {left - 1}", file=sys.stderr)


def _one_by_one(workshop: Workshop, queue: Queue, report: Report, ended: Callable[[Outcome], None]) -> None:
    """Do the jobs in this process."""
    while queue.waiting:
        job = queue.take()
        if job is None:
            time.sleep(_LISTEN_S)
            continue
        outcome = execute(workshop, job, report)
        if queue.settle(outcome):
            ended(outcome)


class _Crew:
    """Worker processes, and what they say meanwhile."""

    def __init__(self, make_workshop: Callable[[], Workshop], workers: int, gpus: Sequence[str]) -> None:
        context = multiprocessing.get_context("spawn")
        self._workers, self._events, places = workers, context.Queue(), context.Queue()
        for number in range(workers):
            places.put(gpus[number % len(gpus)] if gpus else None)
        self._pool = ProcessPoolExecutor(
            workers, mp_context=context, initializer=_start_worker, initargs=(make_workshop, self._events, places)
        )
        self._largest, self._is_short = _LEAST_WORKER_BYTES, False

    def __enter__(self) -> _Crew:
        return self

    def __exit__(self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        """Let the workers go; after an error in the middle of their work."""
        self._pool.shutdown(wait=kind is None, cancel_futures=True)
        if kind is not None:
            for process in multiprocessing.active_children():
                process.terminate()

    def work_off(self, queue: Queue, report: Report, ended: Callable[[Outcome], None]) -> None:
        """Hand out jobs until none is left.

        Raises:
            BrokenProcessPool: a worker process died.
        """
        futures: set[Future[Outcome]] = set()
        while queue.waiting or queue.running:
            while self._has_room(queue) and (job := queue.take()):
                futures.add(self._pool.submit(_work, job))
            if not futures:  # all that is left is with other processes
                time.sleep(_LISTEN_S)
            finished, futures = wait(futures, timeout=_LISTEN_S, return_when=FIRST_COMPLETED)
            while not self._events.empty():
                report(self._events.get())
            for future in finished:
                outcome = future.result()
                if queue.settle(outcome):
                    ended(outcome)

    def _has_room(self, queue: Queue) -> bool:
        """Say whether one more worker may be at work: there is a job, and memory; for one alone memory has to do."""
        self._largest = max([self._largest, *resident_bytes(process.pid for process in multiprocessing.active_children())])
        running = len(queue.running)
        if not queue.waiting or running == self._workers:
            return False
        free = available_bytes()
        is_short = running > 0 and free < self._largest
        if is_short and not self._is_short:
            print(
                f"harness: memory is short: {free / 1e9:.1f} GB are free, a worker takes {self._largest / 1e9:.1f} GB; "
                f"{running} of {self._workers} workers at work",
                file=sys.stderr,
            )
        self._is_short = is_short
        return not is_short
