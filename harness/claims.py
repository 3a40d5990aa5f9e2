"""Several processes in one output folder.

Each run is done by one of them, and the last one to leave clears up.
"""

from __future__ import annotations

import json
import os
import platform
import re
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from harness.errors import InputError

_MEMBERS = ".harness-members"
_PATIENCE_S = 120.0
_HOLDER = ".holder"
_QUEUES = (
    ("Slurm", "SLURM_JOB_ID"),
    ("PBS", "PBS_JOBID"),
    ("LSF", "LSB_JOBID"),
    ("OAR", "OAR_JOB_ID"),
    ("SGE", "JOB_ID"),
)
_ODD = re.compile(r"[^\w.=,\[\]-]")


class Presence:
    """The process at work in an output folder, perhaps beside others.

    Every lock is the kernel's (flock): it dies with its holder, also on another machine that shares
    the disk, so a file that a dead process left is told from a live one's by trying its lock.
    Entering and leaving are guarded by one short-held lock.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self._members = out / _MEMBERS
        self._own = FileLock(
            self._members / f"{platform.node()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        )

    def __enter__(self) -> Presence:
        try:
            self._members.mkdir(parents=True, exist_ok=True)
            with self.guard():
                self._members.mkdir(exist_ok=True)
                self._own.acquire(timeout=0)
        except OSError as error:
            raise InputError(
                f"{self._out}: cannot be written ({error.strerror}); give a writable folder"
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        with self.guard():
            self._own.release()
            Path(self._own.lock_file).unlink(missing_ok=True)
            if not self.others():
                for path in self._members.iterdir():
                    path.unlink(missing_ok=True)
                self._members.rmdir()

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Keep others from entering, leaving and writing tables for a moment.

        Raises:
            InputError: another process has kept it for minutes.
        """
        lock = FileLock(self._out / ".lock")
        try:
            lock.acquire(timeout=_PATIENCE_S)
        except Timeout as error:
            raise InputError(
                f"{self._out}: another harness process keeps it; wait, or give another --out"
            ) from error
        try:
            yield
        finally:
            lock.release()

    def others(self) -> list[str]:
        """Name the other processes that are at work here now, as ``machine-pid``.

        Call it under ``guard``.
        """
        own = Path(self._own.lock_file).name
        return [
            path.name.rpartition("-")[0]
            for path in sorted(self._members.iterdir())
            if path.name != own and _is_held(path)
        ]


def _is_held(path: Path) -> bool:
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


@contextmanager
def alone(out: Path) -> Iterator[Presence]:
    """Keep one output folder to this process.

    Raises:
        InputError: another process is at work there, or the folder cannot be written.
    """
    with Presence(out) as presence, presence.guard():
        if others := presence.others():
            raise InputError(
                f"{out}: another harness process works there ({', '.join(others)}); wait, "
                "or give another --out"
            )
        yield presence


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has a claim: a process of a machine, and the job of a queue that started it.

    since: seconds since the epoch, by that machine's clock.
    """

    machine: str
    process: int
    queue: str
    since: float

    def __str__(self) -> str:
        job = f", {self.queue}" if self.queue else ""
        return f"{self.machine}, process {self.process}{job}"


@contextmanager
def claim(folder: Path, name: str) -> Iterator[bool]:
    """Claim a piece of work by its name; yield whether it is ours now.

    A claim dies with its holder. Who holds it stands beside it, for a person to read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = _claim_file(folder, name)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    note = Path(lock.lock_file).with_suffix(_HOLDER)
    try:
        with suppress(OSError):  # what is missing for want of disk is a courtesy
            note.write_text(json.dumps(asdict(_this_process())), encoding="utf-8")
        yield True
    finally:
        with suppress(OSError):
            note.unlink(missing_ok=True)
        lock.release()


def holder(folder: Path, name: str) -> Holder | None:
    """Return who has a claim now; None if nobody has. What a dead process left counts for nothing.

    The lock is tried only where a note says that it is held: trying it keeps others from it.
    """
    path = Path(_claim_file(folder, name).lock_file)
    try:
        found = Holder(**json.loads(path.with_suffix(_HOLDER).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    try:
        return found if _is_held(path) else None
    except OSError:  # a folder that may only be read: the note is all there is
        return found


def _claim_file(folder: Path, name: str) -> FileLock:
    return FileLock(folder / (_ODD.sub("_", name) + ".claim"))


def _this_process() -> Holder:
    return Holder(platform.node(), os.getpid(), queue_job(os.environ), time.time())


def queue_job(environment: Mapping[str, str]) -> str:
    """Return the job of a queue that this process belongs to, as its own tools name it."""
    for queue, name in _QUEUES:
        if job := environment.get(name):
            array = environment.get("SLURM_ARRAY_JOB_ID")
            part = environment.get("SLURM_ARRAY_TASK_ID")
            return f"{queue} job {array}_{part}" if array and part else f"{queue} job {job}"
    return ""
