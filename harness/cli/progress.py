"""What a person sees while a board runs: one bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from harness.bench import Event, Job, Outcome
from harness.loop import FULL_DATA


class Progress:
    """Counts finished rounds, weighted by the length of their trainings in steps, and estimates the time left."""

    def __init__(self, stages: Sequence[Sequence[Job]], rounds: int, weights: list[float], full_data_weight: float) -> None:
        self._jobs = [job for stage in stages for job in stage]
        self._weights, self._full_data_weight = weights, full_data_weight
        self._total = sum(self._weight(job, number) for job in self._jobs for number in range(rounds + 1))
        self._done, self._ended, self._start = 0.0, 0, time.monotonic()
        self._bar: Any = None
        self._task: Any = None

    def _weight(self, job: Job, number: int) -> float:
        if job.kind == "full-data":
            return self._full_data_weight if number == 0 else 0.0
        return 0.0 if job.kind == "shared" or number == 0 else self._weights[number]

    def __enter__(self) -> Progress:
        if self._jobs and sys.stdout.isatty():
            from rich.progress import BarColumn, TaskProgressColumn, TextColumn
            from rich.progress import Progress as RichProgress

            self._bar = RichProgress(TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[left]}"))
            self._bar.start()
            self._task = self._bar.add_task("starting", total=self._total or 1.0, left="")
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def report(self, event: Event) -> None:
        """Take note of what a worker is at."""
        if event.stage == "done":
            self._done += self._weight(event.job, event.round)
        if self._bar is not None:
            name = "reference" if event.job.strategy == FULL_DATA else event.job.strategy
            text = f"{self._ended}/{len(self._jobs)} · {name} · seed {event.job.seed} · round {event.round} · {event.stage}"
            self._bar.update(self._task, completed=self._done, description=text, left=self._time_left())

    def ended(self, outcome: Outcome) -> None:
        """Take note of a finished or failed job."""
        self._ended += 1
        state = "failed" if outcome.error else "done"
        if self._bar is None:
            print(
                f"[{self._ended}/{len(self._jobs)}] {outcome.job.title}: {state} in {outcome.seconds:.0f} s{self._time_left(', ')}",
                flush=True,
            )

    def _time_left(self, prefix: str = "") -> str:
        if self._done <= 0 or self._done >= self._total:
            return ""
        seconds = (time.monotonic() - self._start) * (self._total - self._done) / self._done
        return f"{prefix}{seconds / 60:.0f} min left" if seconds >= 90 else f"{prefix}{seconds:.0f} s left"
