"""Several processes in one output folder.

Each run is done by one of them, and the last one to leave clears up.
"""

from __future__ import annotations

import os
import platform
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from harness.errors import InputError

_MEMBERS = ".harness-members"
_PATIENCE_S = 120.0
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
                f"{self._out}: cannot be written ({error.strerror}); allowed: a writable folder"
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
                f"{self._out}: another harness process keeps it; allowed: wait, or another --out"
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
                f"{out}: another harness process works there ({', '.join(others)}); allowed: wait, "
                "or another --out"
            )
        yield presence


@contextmanager
def claim(folder: Path, name: str) -> Iterator[bool]:
    """Claim a piece of work by its name; yield whether it is ours now.

    A claim dies with its holder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / (_ODD.sub("_", name) + ".claim"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
