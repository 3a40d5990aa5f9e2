"""Memory: what is still free for this process and its children, and what they take."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

_CGROUPS = Path("/sys/fs/cgroup")


def available_bytes(cgroups: Path = _CGROUPS, membership: Path = Path("/proc/self/cgroup")) -> int:
    """Return the memory that can still be had.

    Of the machine, and of each control group that a cluster or a container put us in.

    Args:
        cgroups: where the kernel shows control groups (version 2). membership: the file that names
            this process's own.
    """
    left = int(psutil.virtual_memory().available)
    with suppress(OSError, ValueError):
        own = [
            line.removeprefix("0::")
            for line in membership.read_text().splitlines()
            if line.startswith("0::")
        ]
        place = cgroups / "".join(own[:1]).strip("/")
        for group in (place, *place.parents):
            if not group.is_relative_to(cgroups):
                break
            with suppress(OSError, ValueError):  # the root has no limit, and "max" is none
                left = min(left, int((group / "memory.max").read_text()) - _used(group))
    return max(0, left)


def _used(group: Path) -> int:
    """Return what a control group holds, but for files that the kernel would let go of."""
    statistics = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    return int((group / "memory.current").read_text()) - int(statistics.get("inactive_file", 0))


def private_bytes(processes: Iterable[int | None]) -> list[int]:
    """Return the memory that each process holds for itself, without pages of files.

    0 for one that is gone.
    """
    found = []
    for pid in processes:
        held = 0
        with suppress(psutil.Error):
            memory = psutil.Process(pid).memory_info()
            held = int(memory.rss - getattr(memory, "shared", 0))
        found.append(held)
    return found
