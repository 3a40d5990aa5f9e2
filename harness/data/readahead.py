"""Photographs read by a thread while the network works on the one before.

A cold disk or a decoder costs no waiting.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

Photo = npt.NDArray[np.uint8]


class ReadAhead:
    """Gives photographs by image id.

    Those that were announced are in memory before they are asked for.

    Args:
        read: image id -> (H, W, 3) photograph; it may be a view of a file.
        depth: photographs held in memory ahead of the one in use.
    """

    def __init__(self, read: Callable[[str], Photo], depth: int = 2) -> None:
        self._read, self._depth = read, depth
        self._announced: deque[str] = deque()
        self._coming: deque[tuple[str, Future[Photo]]] = deque()
        self._thread: ThreadPoolExecutor | None = None

    def expect(self, image_ids: Iterable[str]) -> None:
        """Announce what will be asked for, in this order; an earlier announcement is forgotten."""
        self._coming.clear()
        self._announced = deque(image_ids)

    def get(self, image_id: str) -> Photo:
        """Return a photograph, and start to read the next ones.

        Errors of reading are raised here.
        """
        while self._coming and self._coming[0][0] != image_id:
            self._coming.popleft()
        if not self._coming:
            while self._announced and self._announced.popleft() != image_id:
                pass
        coming = self._coming.popleft()[1] if self._coming else None
        self._read_next()
        return coming.result() if coming is not None else self._read(image_id)

    def _read_next(self) -> None:
        while self._announced and len(self._coming) < self._depth:
            self._thread = self._thread or ThreadPoolExecutor(1, thread_name_prefix="readahead")
            image_id = self._announced.popleft()
            self._coming.append((image_id, self._thread.submit(self._copy, image_id)))

    def _copy(self, image_id: str) -> Photo:
        return np.array(self._read(image_id))
