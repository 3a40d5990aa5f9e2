"""Jobs done by the workers of a Dask scheduler: one that runs, or one that a file describes.

Needs the extra ``[cluster]``. A run is one task; what a seed's runs share is a task that they depend
on. Claims of run folders and checkpoints are those of any other process in the output folder, so a
worker that vanishes loses nothing: Dask gives its run to another, which goes on from the last
checkpoint.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.metadata
import os
import queue
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import dask.config
import yaml
from distributed import Client, Future, get_worker
from distributed.client import ClosedClientError
from distributed.comm.core import CommClosedError
from distributed.scheduler import KilledWorker
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from harness.bench import Event, Job, JobResult, Report, execute
from harness.errors import InputError, RunError, one_line, shorten
from harness.machine import THREADS, limit_threads
from harness.provenance import Provenance, collect

if TYPE_CHECKING:
    from harness.experiment import ExperimentContext

_ASK_AGAIN_S = 2.0
_LISTEN_S = 0.5
_BEGUN = "begun"
"""The stage of the event with which a worker takes up a job; no other event has it."""
_CONNECT_S = 20.0
_RESTART_S = 30.0
_CHECK_S = 600.0
_BUSY_S = 30.0

MANAGERS = {
    "htcondor": "dask_jobqueue.HTCondorCluster",
    "kubernetes": "dask_kubernetes.operator.KubeCluster",
    "local": "distributed.LocalCluster",
    "lsf": "dask_jobqueue.LSFCluster",
    "moab": "dask_jobqueue.MoabCluster",
    "oar": "dask_jobqueue.OARCluster",
    "pbs": "dask_jobqueue.PBSCluster",
    "sge": "dask_jobqueue.SGECluster",
    "slurm": "dask_jobqueue.SLURMCluster",
}
"""What a cluster file may name, and the class that starts its workers."""

_FAREWELL_MINUTES = 5
"""Choice: workers of a queue leave so long before their walltime."""


class Adapt(BaseModel):
    """Bounds of a number of workers that follows the work."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    minimum: int = Field(0, ge=0)
    maximum: int = Field(ge=1)

    @model_validator(mode="after")
    def _in_order(self) -> Adapt:
        if self.minimum > self.maximum:
            raise ValueError("minimum must not be above maximum")
        return self


class ClusterFile(BaseModel):
    """A cluster file: which manager, its options as its own documentation names them, how many.

    Attributes:
        manager: a key of ``MANAGERS``.
        options: keyword arguments of the manager's class.
        workers: how many to start; or
        adapt: the bounds between which their number follows the work.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    manager: Literal["htcondor", "kubernetes", "local", "lsf", "moab", "oar", "pbs", "sge", "slurm"]
    options: dict[str, Any] = Field(default_factory=dict)
    workers: int | None = Field(None, ge=1)
    adapt: Adapt | None = None

    @model_validator(mode="after")
    def _one_number(self) -> ClusterFile:
        if (self.workers is None) == (self.adapt is None):
            raise ValueError("either workers or adapt must be given")
        if not isinstance(self.options.get("walltime", ""), str):
            raise ValueError('options.walltime must stand in quotes, such as "10:00:00"')
        return self

    @property
    def bounds(self) -> tuple[int, int]:
        """The least and the largest number of workers."""
        if self.adapt is not None:
            return self.adapt.minimum, self.adapt.maximum
        return self.workers or 1, self.workers or 1


def _key_twice(text: str) -> str | None:
    """Return a key that stands twice in a mapping of YAML: of its two values one would be lost."""
    waiting, seen = [yaml.compose(text, yaml.SafeLoader)], set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen or not isinstance(node, yaml.CollectionNode):
            continue  # an alias may lead back
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            keys = [str(key.value) for key, _ in node.value]
            if twice := [key for key in keys if keys.count(key) > 1]:
                return twice[0]
            waiting += [value for _, value in node.value]
        else:
            waiting += node.value
    return None


def read_cluster_file(path: Path) -> ClusterFile:
    """Read a cluster file.

    Raises:
        InputError: no file, no YAML, or a key or value that is not known.
    """
    try:
        text = path.read_text(encoding="utf-8")
        document, twice = yaml.safe_load(text), _key_twice(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(
            f"--cluster must be a YAML file, {path} is not: {one_line(str(error))}"
        ) from error
    if twice is not None:
        raise InputError(f"{path}: a key must stand once, got {shorten(twice)} twice")
    try:
        return ClusterFile.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise InputError(
            f"{path}: {place}: {first['msg']}, got {shorten(first['input'])}"
        ) from error


def with_lifetime(manager: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of a queue whose workers leave before their walltime, one after another.

    A worker that leaves hands its run over; one that its queue kills is missed after minutes only.
    Dask draws each worker's lifetime from ``lifetime`` minus to plus ``stagger``, so that the latest
    one is minutes before the walltime. What the options, or dask-jobqueue's own configuration, say
    of a lifetime is kept.
    """
    chosen = dict(options)
    own = dask.config.get(f"jobqueue.{manager}", {})
    given = chosen.get("worker_extra_args")
    extra = list(own.get("worker-extra-args", ()) if given is None else given)
    minutes = walltime_minutes(manager, chosen.get("walltime") or own.get("walltime"))
    has_own = any(str(text).partition("=")[0] == "--lifetime" for text in extra)
    if minutes is not None and minutes > 3 * _FAREWELL_MINUTES and not has_own:
        stagger = max(1, minutes // 20)
        stay = minutes - _FAREWELL_MINUTES - stagger
        extra += ["--lifetime", f"{stay}m", "--lifetime-stagger", f"{stagger}m"]
    if extra:
        chosen["worker_extra_args"] = extra
    return chosen


def walltime_minutes(manager: str, walltime: object) -> int | None:
    """Read a walltime as its queue writes it; None for anything else.

    ``D-HH:MM:SS``, ``D-HH:MM``, ``D-HH``, ``HH:MM:SS``, and ``MM:SS``, which is ``HH:MM`` for LSF.
    """
    days, dash, rest = str(walltime).rpartition("-")
    parts = rest.split(":")
    if not all(part.isdecimal() for part in (*parts, days or "0")) or len(parts) > 3:
        return None
    numbers = [int(part) for part in parts]
    if dash or len(numbers) == 3 or manager == "lsf":
        hours, minutes = numbers[0], numbers[1] if len(numbers) > 1 else 0
    elif len(numbers) == 2:
        hours, minutes = 0, numbers[0]
    else:
        return None
    return (int(days or 0) * 24 + hours) * 60 + minutes


# ------------------------------------------------------------------------------------ in a worker


@dataclass(frozen=True, slots=True)
class _Board:
    """What each task brings: the command's folder and code, and how to build the experiment."""

    token: str
    folder: str
    provenance: Provenance
    make_experiment: Callable[[], ExperimentContext] | None = None


@dataclass(frozen=True, slots=True)
class _Refusal:
    """A worker that cannot do a board's work, and why, in one line."""

    address: str
    why: str


_CODE = collect(THREADS)
"""What this process runs: collected with the import, since the files may change under it."""

_experiments: dict[str, ExperimentContext] = {}
"""The experiment of the board that this worker is at, by the board's token."""


def _prepare_worker(board: _Board) -> None:
    """Make this worker one for a board: in the command's folder, of the command's versions.

    Raises:
        InputError: it has other versions, or several threads. OSError: it does not see the folder.
    """
    limit_threads()
    worker = get_worker()
    # Results are some hundred bytes: nothing can be spilled, and a pause would never end.
    memory = worker.memory_manager
    memory.memory_target_fraction = memory.memory_spill_fraction = False
    memory.memory_pause_fraction = False
    check_alike(board.provenance, _CODE, worker.state.nthreads)
    os.chdir(board.folder)


def _experiment(board: _Board) -> ExperimentContext | _Refusal:
    """Return this worker's experiment, built with its first task, or why it has none."""
    if board.token not in _experiments:
        _experiments.clear()
        try:
            _prepare_worker(board)
            _experiments[board.token] = cast(
                "Callable[[], ExperimentContext]", board.make_experiment
            )()
        except Exception as error:  # noqa: BLE001  whatever it is, the command says it in one line
            return _refusal(error)
    return _experiments[board.token]


def _refusal(error: Exception) -> _Refusal:
    said = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
    address = get_worker().address
    return _Refusal(address, f"worker {address}: {one_line(said)}")


def check_alike(command: Provenance, worker: Provenance, threads: int) -> None:
    """Hold a worker against the command.

    Raises:
        InputError: another version of a package or of the code, or several threads.
    """
    if threads != 1:
        raise InputError(f"must have one thread (dask worker --nthreads 1), got {threads}")
    for package in sorted({*command.versions, *worker.versions}):
        wanted, got = (one.versions.get(package, "none") for one in (command, worker))
        if wanted != got:
            raise InputError(f"must have {package} {wanted} as the command has, got {got}")
    wanted, got = (_named_commit(one) for one in (command, worker))
    if wanted != got:
        raise InputError(
            f"must have harness at {wanted} as the command has, got {got}; a worker that was "
            "started before a change must be started again"
        )


def _named_commit(provenance: Provenance) -> str:
    if provenance.commit is None:
        return "an installed version"
    return f"commit {provenance.commit}{' with changes' if provenance.dirty else ''}"


def _check(board: _Board) -> _Refusal | None:
    """Build the experiment, if there is one; return why that is not possible."""
    if board.make_experiment is not None:
        found = _experiment(board)
        return found if isinstance(found, _Refusal) else None
    try:
        _prepare_worker(board)
    except Exception as error:  # noqa: BLE001  whatever it is, the command says it in one line
        return _refusal(error)
    return None


def _share(board: _Board, work: Callable[[Callable[[str], None]], None]) -> _Refusal | None:
    """Do a share of a work that all workers do together; what it says goes to the command."""
    if (refusal := _check(board)) is not None:
        return refusal
    log = functools.partial(get_worker().log_event, board.token)
    try:
        work(log)
    except InputError as error:
        return _refusal(error)
    return None


def _work(board: _Board, job: Job, shared: JobResult | _Refusal | None) -> JobResult | _Refusal:
    """Do one job; what another process has, or waits for, is ``is_claimed_elsewhere``."""
    if isinstance(shared, _Refusal) or (shared is not None and shared.is_claimed_elsewhere):
        return JobResult(job, is_claimed_elsewhere=True)
    experiment = _experiment(board)
    if isinstance(experiment, _Refusal):
        return experiment
    worker = get_worker()
    log = functools.partial(worker.log_event, board.token)
    log(_packed(Event(job, 0, _BEGUN), worker.address))
    return execute(experiment, job, lambda event: log(_packed(event, worker.address)))


def _packed(event: Event, address: str) -> list[Any]:
    job = event.job
    return [job.kind, job.strategy, job.seed, event.round, event.stage, address]


def _unpacked(message: Sequence[Any]) -> tuple[Event, str]:
    kind, strategy, seed, number, stage, address = message
    return Event(Job(kind, strategy, seed), number, stage), address


# ----------------------------------------------------------------------------------- in the command


@dataclass(frozen=True, slots=True)
class Dask:
    """An executor: hands jobs to the workers of a scheduler.

    Args:
        scheduler: its address, such as ``tcp://HOST:8786``; or
        cluster: what to start.
        gpu: each task takes one unit of the resource ``GPU`` of its worker.
    """

    scheduler: str | None = None
    cluster: ClusterFile | None = None
    gpu: bool = False

    def __call__(
        self,
        make_experiment: Callable[[], ExperimentContext],
        jobs: Sequence[Job],
        *,
        report: Report,
        ended: Callable[[JobResult], None],
        stay: bool = False,
        **_of_one_machine: Any,
    ) -> list[Job]:
        """Do all jobs, as ``harness.workers.run_jobs`` does.

        Raises:
            InputError: no scheduler there, or a worker that cannot do this board's work.
            RunError: the scheduler is gone.
        """
        with self._tasks(make_experiment, report, ended) as tasks:
            return tasks.work_off(jobs, stay=stay)

    def size(self) -> int:
        """Return how many workers there are, or at most: what shares out the disk.

        Raises:
            InputError: no scheduler there.
        """
        if self.cluster is not None:
            return self.cluster.bounds[1]
        with _connect(self.scheduler) as client:
            return max(1, len(client.scheduler_info(n_workers=-1).get("workers", {})))

    def share(
        self, work: Callable[[Callable[[str], None]], None], say: Callable[[str], None]
    ) -> None:
        """Let every worker, late ones too, do a share of a work until all shares have ended.

        Args:
            work: picklable; called once in each worker with what takes a line for the command. It
                must end soon once all is done, for a worker that comes then.

        Raises:
            InputError: no scheduler there, or what a worker refuses. RunError: the scheduler is
                gone.
        """
        with self._tasks(None, lambda _event: None, lambda _result: None) as tasks:
            tasks.share(work, say)

    @contextlib.contextmanager
    def _tasks(
        self,
        make_experiment: Callable[[], ExperimentContext] | None,
        report: Report,
        ended: Callable[[JobResult], None],
    ) -> Iterator[_Tasks]:
        """Connect, check the workers, and leave none of them at work when the command ends early."""
        token = uuid.uuid4().hex[:12]
        board = _Board(token, str(Path.cwd()), _CODE, make_experiment)
        with contextlib.ExitStack() as stack:
            place: Any = self.scheduler
            if self.cluster is not None:
                place = stack.enter_context(start(self.cluster))
            client = stack.enter_context(_connect(place))
            address = client.scheduler.address
            tasks = _Tasks(client, board, {"GPU": 1.0} if self.gpu else {}, report, ended)
            try:
                tasks.check_workers()
                yield tasks
            except BaseException as error:
                if _is_loss(error):
                    raise RunError(
                        f"the scheduler at {address} is gone; "
                        "the same command goes on where it stopped"
                    ) from error
                tasks.cancel(restart=self.cluster is None)
                raise


def _is_loss(error: BaseException) -> bool:
    """Return whether an error is the loss of the scheduler.

    distributed raises plain OSErrors without a number for lost connections; one with a number is
    of a disk or a stream.
    """
    if isinstance(error, CommClosedError | CancelledError | TimeoutError | ClosedClientError):
        return True
    return isinstance(error, OSError) and error.errno is None


def _connect(place: Any) -> Client:
    """Return a client of the scheduler at an address, or of a cluster.

    Raises:
        InputError: there is none.
    """
    found: queue.SimpleQueue[Client | Exception] = queue.SimpleQueue()

    def connect() -> None:
        try:
            found.put(Client(place, timeout=_CONNECT_S, name="harness"))
        except Exception as error:  # noqa: BLE001  whatever it is, it is said in one line
            found.put(error)

    # in a thread, since a port that answers in another way is waited for without end
    threading.Thread(target=connect, daemon=True).start()
    try:
        client = found.get(timeout=2 * _CONNECT_S)
    except queue.Empty:
        client = TimeoutError()
    if isinstance(client, Exception):
        raise InputError(
            "--scheduler must be the address of a Dask scheduler, such as tcp://HOST:8786, "
            f"got {shorten(place)} ({type(client).__name__})"
        ) from client
    return client


@contextlib.contextmanager
def start(chosen: ClusterFile) -> Iterator[Any]:
    """Start the workers that a cluster file describes; end them afterwards.

    Raises:
        InputError: the manager's package is not installed, or refuses the options.
    """
    module, _, name = MANAGERS[chosen.manager].rpartition(".")
    try:
        kind = getattr(importlib.import_module(module), name)
    except ImportError as error:
        package = module.partition(".")[0].replace("_", "-")
        raise InputError(
            f"manager {chosen.manager} needs {package}: pip install {package} "
            f"({one_line(str(error))})"
        ) from error
    options = dict(chosen.options)
    if chosen.manager == "local":
        options = {"threads_per_worker": 1, "n_workers": 0, **options}
    elif module == "dask_jobqueue":
        options = with_lifetime(chosen.manager, options)
    with contextlib.ExitStack() as stack:
        try:
            cluster = stack.enter_context(kind(**options))
            low, high = chosen.bounds
            cluster.scale(max(1, low))
            cluster.sync(_submitted, cluster)  # what a queue refuses is said here
            cluster.adapt(minimum=low, maximum=high)  # a worker that left is replaced
        except Exception as error:
            raise InputError(
                f"manager {chosen.manager} refuses its options "
                f"({one_line(f'{type(error).__name__}: {error}')})"
            ) from error
        yield cluster


async def _submitted(cluster: Any) -> None:
    await cluster


@dataclass(slots=True)
class _Tasks:
    """The tasks of one board on one scheduler."""

    client: Client
    board: _Board
    resources: dict[str, float]
    report: Report
    ended: Callable[[JobResult], None]
    _futures: dict[Job, Future] = field(default_factory=dict)
    _shares: dict[str, Future] = field(default_factory=dict)
    _advanced: set[Job] = field(default_factory=set)
    _at: dict[Job, str] = field(default_factory=dict)
    """The worker that is at a job."""
    _asked: Counter[Job] = field(default_factory=Counter)
    _inbox: queue.SimpleQueue[Any] = field(default_factory=queue.SimpleQueue)
    """Events and finished futures, as other threads bring them."""

    def check_workers(self) -> None:
        """Wait for a worker, and hold each that is there against this command, before any work.

        Raises:
            InputError: one that has other versions, or cannot read the data or the folder.
        """
        if not self._workers():
            kind = "worker with --resources GPU=1" if self.resources else "worker"
            _warn(f"the scheduler at {self.client.scheduler.address} has no {kind} yet: waiting")
        first = self.client.submit(  # a task, so that a cluster that adapts starts a worker
            _check, self.board, key=self._key("check"), resources=self.resources or None
        )
        while not self._workers():
            time.sleep(_LISTEN_S)
        wanted = importlib.metadata.version("harness-al")
        found = self.client.run(
            importlib.metadata.version, "harness-al", workers=self._workers(), on_error="return"
        )
        for address, version in found.items():
            missing = isinstance(version, importlib.metadata.PackageNotFoundError)
            if missing or (isinstance(version, str) and version != wanted):
                got = "none" if missing else version
                raise InputError(f"worker {address} must have harness-al {wanted}, got {got}")
        checks = {
            address: self.client.submit(
                _check,
                self.board,
                workers=[address],
                key=self._key("check"),
                resources=self.resources or None,
            )
            for address in self._workers()
        }
        self._await_checks([first, *checks.values()])
        for address, check in checks.items():
            if check.status == "error":
                error = check.exception()
                said = one_line(f"{type(error).__name__}: {error}")
                raise InputError(f"worker {address} cannot run harness ({said})")
            refusal = check.result() if check.status == "finished" else None
            if refusal is not None:
                raise InputError(refusal.why)

    @staticmethod
    def _await_checks(checks: Sequence[Future]) -> None:
        """Wait for all, but not long for workers that are busy: they are checked later."""
        start, one_done = time.monotonic(), None
        while not all(check.done() for check in checks):
            now = time.monotonic()
            if one_done is None and any(check.done() for check in checks):
                one_done = now
            if now > start + _CHECK_S or (one_done is not None and now > one_done + _BUSY_S):
                return
            time.sleep(_LISTEN_S)

    def work_off(self, jobs: Sequence[Job], *, stay: bool) -> list[Job]:
        """Submit all jobs, take in what they say, and return what is left to other processes."""
        self.client.subscribe_topic(self.board.token, self._inbox.put)
        order = {job: number for number, job in enumerate(jobs)}
        shared = {job.seed: job for job in jobs if job.kind == "shared"}
        for job in jobs:
            self._submit(job, order[job], shared.get(job.seed))
        later: dict[Job, float] = {}
        while self._futures or later:
            for job, result in self._poll():
                if isinstance(result, _Refusal):
                    self._retire_worker(result)
                if isinstance(result, _Refusal) or result.is_claimed_elsewhere:
                    later[job] = time.monotonic() + _ASK_AGAIN_S
                    continue
                self.ended(result)
                if result.is_machine:  # a full disk: no other job would fare better
                    self.cancel(restart=False)
                    return []
            if not stay and not self._futures and all(job.kind != "shared" for job in later):
                return sorted(later, key=order.__getitem__)
            for job in sorted(later, key=order.__getitem__):
                waits = job.kind == "run" and shared.get(job.seed) in later
                if time.monotonic() >= later[job] and not waits:
                    del later[job]
                    self._submit(job, order[job], shared.get(job.seed))
        return []

    def share(
        self, work: Callable[[Callable[[str], None]], None], say: Callable[[str], None]
    ) -> None:
        """Hand one task to each worker, as they come, until none is at work."""
        self.client.subscribe_topic(self.board.token, self._inbox.put)
        shares, failures = self._shares, []
        done = 0
        while not shares or not all(future.done() for future in shares.values()):
            for address in self._workers():
                if address not in shares and not done:
                    shares[address] = self.client.submit(
                        _share,
                        self.board,
                        work,
                        key=self._key(f"share {len(shares)}"),
                        resources=self.resources or None,
                        workers=[address],
                        allow_other_workers=True,
                    )
            self._poll_lines(say)
            done = sum(one.status == "finished" and one.result() is None for one in shares.values())
        self._poll_lines(say)
        for future in shares.values():
            if future.status == "cancelled":
                raise CommClosedError("the scheduler forgot a task")
            error = future.exception()
            refusal = None if error is not None else future.result()
            if error is not None:
                failures.append(one_line(f"{type(error).__name__}: {error}"))
            elif refusal is not None:
                failures.append(refusal.why)
        if failures and not done:
            raise InputError(failures[0])
        for why in failures:
            _warn(f"{why}; the others have done its share")

    def _poll_lines(self, say: Callable[[str], None]) -> None:
        with contextlib.suppress(queue.Empty):
            _, line = self._inbox.get(timeout=_LISTEN_S)
            while True:
                say(str(line))
                _, line = self._inbox.get_nowait()

    def cancel(self, *, restart: bool) -> None:
        """Take all tasks back; workers in the middle of one start again, so that it ends now.

        A worker without a nanny cannot be started again: it ends what it is at.
        """
        with contextlib.suppress(Exception):
            busy = set(self._at.values())
            busy |= {address for address, share in self._shares.items() if not share.done()}
            known = self._known()
            self.client.cancel([*self._futures.values(), *self._shares.values()], force=True)
            again = [one for one in sorted(busy) if known.get(one, {}).get("nanny")]
            if restart and again:
                self.client.restart_workers(again, timeout=_RESTART_S, raise_for_error=False)

    def _known(self) -> dict[str, Any]:
        """Return what the scheduler knows of each worker, by address.

        Raises:
            CommClosedError: the scheduler is gone.
        """
        if self.client.status in {"closing", "closed"}:
            raise CommClosedError("the client is closed")
        known: dict[str, Any] = self.client.scheduler_info(n_workers=-1).get("workers", {})
        return known

    def _workers(self) -> list[str]:
        """Return the addresses of the workers that may do this board's work."""
        return [
            address
            for address, worker in self._known().items()
            if not self.resources or worker.get("resources", {}).get("GPU", 0) >= 1
        ]

    def _key(self, title: str) -> str:
        """Return the name of a task: the dashboard groups by what stands before the hyphen."""
        return f"{title.replace('-', '_')}-{self.board.token}-{uuid.uuid4().hex[:6]}"

    def _submit(self, job: Job, number: int, shared: Job | None) -> None:
        """Hand a job to the scheduler, behind what the runs of its seed share."""
        first = self._futures.get(shared) if shared is not None and job.kind == "run" else None
        # another name each time: how long a task of a name takes decides who may take it over
        self._asked[job] += 1
        again = f" again {self._asked[job]}" if self._asked[job] > 1 else ""
        future = self.client.submit(
            _work,
            self.board,
            job,
            first,
            key=self._key(f"{job.title}{again}"),
            priority=-number,
            resources=self.resources or None,
        )
        self._futures[job] = future
        future.add_done_callback(lambda done: self._inbox.put((job, done)))

    def _poll(self) -> Iterator[tuple[Job, JobResult | _Refusal]]:
        """Pass events on, and give the results that have come in; wait for a moment for both."""
        with contextlib.suppress(queue.Empty):
            first, second = self._inbox.get(timeout=_LISTEN_S)
            while True:
                if isinstance(second, Future):
                    if self._futures.get(first) is second:
                        yield first, self._result(first, second)
                else:
                    event, address = _unpacked(second)
                    self._at[event.job] = address
                    if event.stage == "done":
                        self._advanced.add(event.job)
                    if event.stage != _BEGUN:
                        self.report(event)
                first, second = self._inbox.get_nowait()

    def _result(self, job: Job, future: Future) -> JobResult | _Refusal:
        del self._futures[job]
        begun = self._at.pop(job, None) is not None
        if future.status == "cancelled":
            raise CommClosedError("the scheduler forgot a task")
        error = future.exception()
        if error is None:
            found: JobResult | _Refusal = future.result()
            return found
        if isinstance(error, KilledWorker):
            # Dask counts the deaths of workers against all that waited for them, and against what
            # depends on it; and a run that has got further since was not killed by its own doing.
            if not begun or error.task != future.key or job in self._advanced:
                self._advanced.discard(job)
                return JobResult(job, is_claimed_elsewhere=True)
            return JobResult(
                job,
                error=f"{error.allowed_failures + 1} workers died at it, perhaps for want of "
                "memory; the same command goes on from its last checkpoint",
            )
        return JobResult(job, error=one_line(f"{type(error).__name__}: {error}"))

    def _retire_worker(self, refusal: _Refusal) -> None:
        """Let a worker go that joined later and cannot do this board's work.

        Raises:
            InputError: it is the only one.
        """
        others = [address for address in self._workers() if address != refusal.address]
        if not others:
            raise InputError(refusal.why)
        _warn(f"{refusal.why}; it is sent away")
        self.client.retire_workers([refusal.address], close_workers=True)


def _warn(line: str) -> None:
    print(f"harness: {line}", file=sys.stderr)
