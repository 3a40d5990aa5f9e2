"""Jobs done by worker processes, one thread each, as many at once as fit in memory.

What another process has is asked for again.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import TYPE_CHECKING

from harness.bench import Event, Job, JobResult, Report, execute
from harness.errors import InputError, RunError
from harness.memory import available_bytes, private_bytes

if TYPE_CHECKING:
    from harness.experiment import ExperimentContext

_ASK_AGAIN_S = 2.0
_LISTEN_S = 0.5
_FAREWELL_S = 10.0
_LEAST_WORKER_BYTES = 1 << 30
"""Choice: what a worker takes before one has been seen, and never less.

Torch alone is a good part of it.
"""


@dataclass(slots=True)
class Queue:
    """Which job comes next: the first that is neither held up by the shared work of its seed nor claimed by another process."""

    waiting: list[Job]
    running: set[Job] = field(default_factory=set)
    claimed_elsewhere: set[Job] = field(default_factory=set)
    _not_before: dict[Job, float] = field(default_factory=dict)

    def next(self) -> Job | None:
        """Return the job that may start now, if there is one."""
        starting = {job.seed for job in (*self.waiting, *self.running) if job.kind == "shared"}
        now = time.monotonic()
        for job in self.waiting:
            if not (
                (job.kind == "run" and job.seed in starting) or now < self._not_before.get(job, now)
            ):
                return job
        return None

    def is_left_to_others(self) -> bool:
        """Return whether all that waits is at work in other processes, and nothing hangs on it."""
        return (
            not self.running
            and bool(self.waiting)
            and all(job in self.claimed_elsewhere and job.kind != "shared" for job in self.waiting)
        )

    def stop(self) -> None:
        """Hand out no more."""
        self.waiting.clear()

    def start(self, job: Job) -> None:
        """Take note that a waiting job has begun."""
        self.waiting.remove(job)
        self.running.add(job)

    def complete(self, result: JobResult) -> bool:
        """Take note of how a job ended.

        False where another process has it, so that it comes again later.
        """
        self.claimed_elsewhere.discard(result.job)
        if result.is_claimed_elsewhere:
            self.claimed_elsewhere.add(result.job)
            self._not_before[result.job] = time.monotonic() + _ASK_AGAIN_S
            self.requeue(result.job)
        else:
            self.running.remove(result.job)
        if result.is_machine:  # a full disk: no other job would fare better
            self.stop()
        return not result.is_claimed_elsewhere

    def requeue(self, job: Job) -> None:
        """Let a running job wait again, behind all others."""
        self.running.remove(job)
        self.waiting.append(job)


def run_jobs(
    make_experiment: Callable[[], ExperimentContext],
    jobs: Sequence[Job],
    *,
    workers: int,
    report: Report,
    ended: Callable[[JobResult], None],
    gpus: Sequence[str] = (),
    stay: bool = False,
) -> list[Job]:
    """Do all jobs in worker processes, in their order; one worker works in this process.

    A run waits for the shared work of its seed. A job is handed out only while another worker
    fits in memory, and where a worker process dies (killed for memory, perhaps) the others go
    on with one less; its job comes last.

    Args:
        make_experiment: picklable; called once in each worker.
        report: called in this process for each event.
        ended: called in this process for each result.
        stay: wait for what other processes are at, in case they die, instead of leaving it to them.
        gpus: names as in ``CUDA_VISIBLE_DEVICES``; the workers share them out, one each.

    Returns:
        What is left to other processes.

    Raises:
        InputError: what an experiment refuses.
        RunError: the last worker process died.
    """
    queue = Queue(list(jobs))
    if workers == 1:
        _one_by_one(make_experiment(), queue, report, ended, stay=stay)
    else:
        with _WorkerPool(make_experiment, workers, gpus) as pool:
            pool.work_off(queue, report, ended, stay=stay)
    return queue.waiting


def _one_by_one(
    experiment: ExperimentContext,
    queue: Queue,
    report: Report,
    ended: Callable[[JobResult], None],
    *,
    stay: bool,
) -> None:
    """Do the jobs in this process."""
    while queue.waiting and (stay or not queue.is_left_to_others()):
        job = queue.next()
        if job is None:
            time.sleep(_LISTEN_S)
            continue
        queue.start(job)
        result = execute(experiment, job, report)
        if queue.complete(result):
            ended(result)


# ------------------------------------------------------------------------------ in a worker process


def _work(
    mine: Connection, make_experiment: Callable[[], ExperimentContext], gpu: str | None
) -> None:
    """Do what comes through the pipe until nothing comes.

    Send events, results, or the error that kept this worker from starting.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers itself
    threading.Thread(target=_die_with, args=(os.getppid(),), daemon=True).start()
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = (
            gpu  # before torch looks for any: this process knows one GPU
        )
    try:
        experiment = make_experiment()
    except (InputError, OSError) as error:
        mine.send(error)
        return
    except Exception as error:  # noqa: BLE001  whatever it is, the parent says it in one line
        mine.send(
            RunError(
                f"a worker cannot start: {type(error).__name__}: {' '.join(str(error).split())}"
            )
        )
        return

    def send(said: Event | JobResult) -> None:
        try:
            mine.send(said)
        except ConnectionError:
            os._exit(
                1
            )  # the parent is gone: nothing that this job would still write is wanted, least of all that it failed

    while (job := _next_job(mine)) is not None:
        send(execute(experiment, job, send))


def _next_job(mine: Connection) -> Job | None:
    try:
        job: Job | None = mine.recv()
    except (EOFError, ConnectionError):
        return None
    return job


def _die_with(parent: int) -> None:
    """End this worker when its parent is gone.

    A killed command must leave nothing behind that goes on writing.
    """
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


# ---------------------------------------------------------------------------- in the parent process


@dataclass(slots=True)
class _Worker:
    """A worker process, the pipe to it, and what it is at."""

    process: BaseProcess
    pipe: Connection
    job: Job | None = None

    def poll(self) -> list[Event | JobResult | Exception]:
        """Return all that it has sent by now."""
        said: list[Event | JobResult | Exception] = []
        with suppress(EOFError, ConnectionError):
            while self.pipe.poll():
                said.append(self.pipe.recv())
        return said


class _WorkerPool:
    """Worker processes, started as there is work for them."""

    def __init__(
        self, make_experiment: Callable[[], ExperimentContext], workers: int, gpus: Sequence[str]
    ) -> None:
        self._make_experiment, self._size = make_experiment, workers
        self._places = [gpus[number % len(gpus)] if gpus else None for number in range(workers)]
        self._workers: list[_Worker] = []
        self._largest, self._has_warned = _LEAST_WORKER_BYTES, False

    def __enter__(self) -> _WorkerPool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Let the workers go; after an error in the middle of their work."""
        for worker in self._workers:
            if kind is not None:
                worker.process.terminate()
                continue
            with suppress(ConnectionError):  # one that died after its last job needs no word
                worker.pipe.send(None)
        for worker in self._workers:
            worker.process.join(_FAREWELL_S)
            worker.process.kill()

    def work_off(
        self, queue: Queue, report: Report, ended: Callable[[JobResult], None], *, stay: bool
    ) -> None:
        """Hand out jobs until none is left.

        Raises:
            InputError: what an experiment refuses.
            RunError: the last worker process died.
        """
        while (queue.waiting or queue.running) and (stay or not queue.is_left_to_others()):
            self._hand_out(queue)
            wait(
                [
                    *(worker.pipe for worker in self._workers),
                    *(worker.process.sentinel for worker in self._workers),
                ],
                _LISTEN_S,
            )
            for worker in list(self._workers):
                # asked first: what a dying worker has sent is read to its end
                is_alive = worker.process.is_alive()
                for said in worker.poll():
                    if isinstance(said, Exception):
                        raise said
                    if isinstance(said, Event):
                        report(said)
                        continue
                    worker.job = None
                    if queue.complete(said):
                        ended(said)
                if not is_alive:
                    self._on_worker_exit(worker, queue)

    def _hand_out(self, queue: Queue) -> None:
        """Give the next jobs to workers that are free, or new ones, while they fit in memory."""
        while (job := queue.next()) is not None:
            free = next((worker for worker in self._workers if worker.job is None), None)
            if (free is None and not self._places) or not self._has_room():
                return
            worker = free or self._start_worker()
            queue.start(job)
            worker.job = job
            with suppress(ConnectionError):  # it has died just now, and will be missed in a moment
                worker.pipe.send(job)

    def _start_worker(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        parent_end, worker_end = context.Pipe()
        process = context.Process(
            target=_work, args=(worker_end, self._make_experiment, self._places.pop(0)), daemon=True
        )
        process.start()
        worker_end.close()
        self._workers.append(_Worker(process, parent_end))
        return self._workers[-1]

    def _on_worker_exit(self, worker: _Worker, queue: Queue) -> None:
        """Go on without a worker that died; a new one in its place might die of the same."""
        self._workers.remove(worker)
        if worker.job is not None:
            queue.requeue(worker.job)
        left = len(self._workers) + len(self._places)
        why = f"a worker process died ({_signal_of(worker.process)}), perhaps for want of memory"
        if not left:
            raise RunError(
                f"{why}, and it was the last one; the same command goes on where it stopped"
            )
        print(f"harness: {why}; going on with {left}", file=sys.stderr)

    def _has_room(self) -> bool:
        """Return whether another worker fits in memory, each as large as the largest so far; one alone always does."""
        running = sum(worker.job is not None for worker in self._workers)
        if not running:
            return True
        held = private_bytes(worker.process.pid for worker in self._workers)
        self._largest = max([self._largest, *held])
        left = available_bytes() + sum(held) - running * self._largest
        if left < self._largest and not self._has_warned:
            self._has_warned = True
            print(
                f"harness: memory is short: {max(left, 0) / 1e9:.1f} GB are left beside {running} "
                f"worker(s), one takes {self._largest / 1e9:.1f} GB; "
                f"fewer than {self._size} will be at work at times",
                file=sys.stderr,
            )
        return left >= self._largest


def _signal_of(process: BaseProcess) -> str:
    code = process.exitcode or 0
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
