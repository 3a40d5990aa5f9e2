"""Batches for a training: drawn in this process, and on a GPU ahead of the step."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from torch.utils.data import DataLoader

AHEAD = 2


class Batches(DataLoader[Any]):
    """A DataLoader whose next batches a thread draws and pins while the device works on the one before.

    What the i-th item is does not depend on who draws it, so the batches are the same with any
    ``ahead``.

    Args:
        ahead: batches that are drawn before they are asked for; 0 draws each when it is asked for,
            as on a CPU, whose one thread has no time to spare.
    """

    def __init__(self, *arguments: Any, ahead: int = 0, **options: Any) -> None:
        self._ahead = ahead
        super().__init__(*arguments, **options)

    def __iter__(self) -> Any:
        batches = super().__iter__()
        return _drawn_ahead(batches, self._ahead) if self._ahead else batches


def _drawn_ahead(batches: Iterator[Any], depth: int) -> Iterator[Any]:
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as thread:
        coming = deque(thread.submit(next, batches, None) for _ in range(depth))
        while (batch := coming.popleft().result()) is not None:
            coming.append(thread.submit(next, batches, None))
            yield batch
