"""What a person sees while a board runs: one bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from harness.bench import Event, Job, JobResult
from harness.invocation import Watcher
from harness.types import FULL_DATA

_FIRST_SHARE = 0.02
"""Choice: before so much is done, what a process takes to start would be taken for the speed of everything."""


class Progress(Watcher):
    """Counts finished rounds, weighted by the length of their trainings in steps, and estimates the time left.

    Args:
        weights: for each job, the steps of each training that is left to do; the last one is that
            of its last round.
    """

    def __init__(self, weights: Mapping[Job, Sequence[float]]) -> None:
        self._weights = weights
        self._total = sum(sum(steps) for steps in weights.values())
        self._done, self._ended, self._start = 0.0, 0, time.monotonic()
        self._failed: list[JobResult] = []
        self._credited: Counter[Job] = Counter()
        self._bar: Any = None
        self._task: Any = None

    def _credit(self, job: Job, *, all_of_it: bool = False) -> None:
        steps = self._weights[job]
        until = len(steps) if all_of_it else min(self._credited[job] + 1, len(steps))
        self._done += sum(steps[self._credited[job] : until])
        self._credited[job] = until

    def __enter__(self) -> Progress:
        if self._weights and sys.stdout.isatty():
            from rich.progress import BarColumn, TaskProgressColumn, TextColumn
            from rich.progress import Progress as RichProgress

            self._bar = RichProgress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TaskProgressColumn(),
                TextColumn("{task.fields[left]}"),
            )
            self._bar.start()
            self._task = self._bar.add_task("starting", total=self._total or 1.0, left="")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        if kind is None:
            self._say_failures()

    def _say_failures(self) -> None:
        """Print a line for each failure; what hit several runs alike is said once."""
        by_error: dict[str, list[JobResult]] = {}
        for result in self._failed:
            by_error.setdefault(result.error or "", []).append(result)
        for error, alike in by_error.items():
            more = f" (and {len(alike) - 1} more runs)" if len(alike) > 1 else ""
            print(f"harness: {alike[0].job.title}{more}: {error}", file=sys.stderr)

    def report(self, event: Event) -> None:
        """Take note of what a worker is at."""
        if event.stage == "done" and (event.round > 0 or event.job.kind == "full-data"):
            self._credit(event.job)
        if self._bar is not None:
            name = "reference" if event.job.strategy == FULL_DATA else event.job.strategy
            text = f"{self._ended}/{len(self._weights)} · {name} · seed {event.job.seed} · round {event.round} · {event.stage}"
            self._bar.update(
                self._task, completed=self._done, description=text, left=self._time_left()
            )

    def ended(self, result: JobResult) -> None:
        """Take note of a finished or failed job."""
        self._ended += 1
        if result.error:
            self._failed.append(result)
        self._credit(result.job, all_of_it=True)
        state = "failed" if result.error else "done"
        if self._bar is None:
            print(
                f"[{self._ended}/{len(self._weights)}] {result.job.title}: {state} in "
                f"{result.seconds:.0f} s{self._time_left(', ')}"
            )

    def _time_left(self, prefix: str = "") -> str:
        if not _FIRST_SHARE * self._total <= self._done < self._total:
            return ""
        seconds = (time.monotonic() - self._start) * (self._total - self._done) / self._done
        return (
            f"{prefix}{seconds / 60:.0f} min left"
            if seconds >= 90
            else f"{prefix}{seconds:.0f} s left"
        )
