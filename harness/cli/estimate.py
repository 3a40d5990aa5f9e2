"""What a board will take, before it starts: trainings, time from a few measured steps, disk for region maps."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import typer

from harness.bench import Job
from harness.cli.workshop import WORK_FOLDER, rules_of, schedule_of
from harness.config import ExperimentSpec
from harness.errors import InputError
from harness.maps import MapRequest, requests_of
from harness.protocols import ImageSizes, Strategy

_BESIDE_TRAINING, _BESIDE_HEADS = 1.35, 3.0
"""Choice: wall time over the time of training steps, for an estimate before anything has run; of whole networks, and of heads alone."""
_RESERVE_BYTES = 1 << 28
"""Choice: what must stay free for networks and results."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """One invocation's work that is left, and what it needs.

    stages: jobs in their order. done: finished rounds of each job. disk_gb: what the region maps of all workers may take together.
    """

    spec: ExperimentSpec
    strategies: Sequence[Strategy]
    sizes: ImageSizes
    stages: tuple[list[Job], list[Job]]
    done: dict[Job, int]
    workers: int
    disk_gb: float

    @property
    def jobs(self) -> list[Job]:
        """All jobs that are left."""
        return [job for stage in self.stages for job in stage]

    def lengths(self, job: Job) -> list[int]:
        """Return the steps of each training of a job."""
        training, schedule = self.spec.training, schedule_of(self.spec)

        def length(images: float) -> int:
            return min(training.max_steps, round(training.steps + training.steps_per_image * images))

        if job.kind == "full-data":
            return [length(len(self.sizes))]
        if job.kind == "shared":
            return [length(schedule.seed_images)]
        shared = any(other.kind == "shared" and other.seed == job.seed for other in self.stages[0])
        first = max(1 if shared else 0, self.done[job])
        return [length(schedule.seed_images + number * schedule.images_per_round) for number in range(first, schedule.rounds + 1)]

    # ---------------------------------------------------------------------------------------------------------- disk

    def _passes(self) -> int:
        """Return how many passes' maps lie on disk at once: each seed's first one, and one for each worker."""
        return len({job.seed for job in self.stages[1]}) + min(self.workers, max(1, len(self.stages[1])))

    @property
    def wanted_bytes(self) -> int:
        """Disk that all maps would take if each found room."""
        rules, seeds = rules_of(self.spec), len({job.seed for job in self.stages[1]})
        largest = max((self._map_bytes(requests_of(strategy, rules)) for strategy in self.strategies), default=0)
        return seeds * self._shared_bytes + (self._passes() - seeds) * largest

    @property
    def _shared_bytes(self) -> int:
        """Disk of the largest pass: the first one of a seed, which all strategies share."""
        rules = rules_of(self.spec)
        return self._map_bytes({request for strategy in self.strategies for request in requests_of(strategy, rules)})

    def _map_bytes(self, requests: Iterable[MapRequest]) -> int:
        rules = rules_of(self.spec)

        def placements(request: MapRequest) -> int:
            if request.whole_image:
                return len(self.sizes)
            return sum(
                ((height - rules.window_px) // rules.stride_px + 1) * ((width - rules.window_px) // rules.stride_px + 1)
                for height, width in self.sizes.values()
            )

        return sum(8 * placements(request) for request in requests)

    @property
    def bytes_per_pass(self) -> int:
        """What the maps of one pass may take; maps beyond it are made again when they are needed."""
        return int(self.disk_gb * 1e9) // self._passes()

    def check_disk(self, out: Path, *, shared: bool = False) -> None:
        """Refuse to start where the maps would fill the disk.

        Raises:
            InputError: one line with what is needed and what is free.
        """
        needed = min(self.wanted_bytes, int(self.disk_gb * 1e9)) + _RESERVE_BYTES
        there = 0 if shared else _size_of_maps(out / WORK_FOLDER)
        free = shutil.disk_usage(out).free + there
        if self.jobs and needed > free:
            raise InputError(
                f"{out}: region maps and networks may take {needed / 1e9:.1f} GB of disk, {free / 1e9:.1f} GB are free; "
                "allowed: a smaller --disk-gb, a larger harness.stride, or another --out"
            )

    # ---------------------------------------------------------------------------------------------------------- words

    def describe(self) -> None:
        """Print runs, rounds, budgets, disk, and an estimate of time from a few measured steps."""
        first, runs = self.stages
        seeds, schedule = self.spec.harness.seeds, schedule_of(self.spec)
        typer.echo(
            f"{len(self.strategies)} strategies x {len(seeds)} seeds = {len(self.strategies) * len(seeds)} runs of {schedule.rounds + 1} rounds, "
            f"and {len(seeds)} full-data references; left to do: {len(runs)} runs, {sum(job.kind == 'full-data' for job in first)} references"
        )
        total_px = sum(height * width for height, width in self.sizes.values())
        for number in range(schedule.rounds + 1):
            budget = schedule.budget_px(number, self.sizes)
            typer.echo(f"  round {number}: {budget} px labelled, {100 * budget / total_px:.2f} % of the pool")
        lengths = [length for job in self.jobs for length in self.lengths(job)]
        typer.echo(f"{len(lengths)} trainings, {sum(lengths)} steps")
        again = (
            "all find room"
            if self._shared_bytes <= self.bytes_per_pass
            else f"--disk-gb gives them {self.disk_gb:g} GB: some are made again when needed"
        )
        typer.echo(f"region maps: {self.wanted_bytes / 1e9:.2f} GB of disk while it runs; {again}")
        beside = _BESIDE_HEADS if self.spec.training.frozen_trunk else _BESIDE_TRAINING
        seconds = sum(lengths) * _seconds_per_step(self.spec, next(iter(self.sizes.values()))) * beside / self.workers
        typer.echo(
            f"about {max(1, round(seconds / 60))} minutes with {self.workers} worker(s): measured step time, and {beside - 1:.0%} more for the rest"
        )


def _size_of_maps(folder: Path) -> int:
    """Return the bytes of the maps that an interrupted invocation left."""
    found = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                found += (Path(place) / name).stat().st_size * name.endswith(".map")
    return found


def _seconds_per_step(spec: ExperimentSpec, size: tuple[int, int]) -> float:
    """Time a few training steps on this machine; one thread, as in a worker."""
    import torch

    torch.set_num_threads(1)
    from harness.segmentor.trainer import time_steps

    training = spec.training
    return time_steps(spec.model, batch_size=training.batch_size, crop=training.crop, frozen_image=size if training.frozen_trunk else None)
