"""What a board will take, before it starts.

Trainings, disk for region maps, time and memory from a short measurement.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from harness.bench import Job
from harness.config import ExperimentSpec
from harness.errors import InputError
from harness.experiment import WORK_FOLDER, rules_of, schedule_of
from harness.maps import MapRequest, QueryRules, requests_of
from harness.profile import Profile, kind_of
from harness.protocols import ImageSizes, Strategy
from harness.publish.significance import FEWEST_SEEDS
from harness.segmentor.feature_files import FEATURE_SUFFIX
from harness.segmentor.frozen import MOST_FEATURE_BYTES
from harness.statistics import gap_told_apart

_STEP, _PREDICTIONS = 3.0, {"nothing": 0.0, "one pass": 1.0, "committee": 2.3}
"""Choice: a training step and what a strategy asks of an image, in predictions of as many pixels.

For the order of jobs (docs/notebook/performance.md).
"""
_SPREAD = 0.0065
"""Choice: what a paired difference varies by: about that of results/streets.

docs/notebook/streets.md
"""
_RESERVE_BYTES = 1 << 28
"""Choice: what must stay free for networks and results."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """One invocation's work that is left, and what it needs.

    jobs: all that are left. done: finished rounds of each job. disk_gb: what the region maps of all
    workers may take together, and a frozen backbone's features of what maps leave.
    """

    spec: ExperimentSpec
    strategies: Sequence[Strategy]
    sizes: ImageSizes
    jobs: list[Job]
    done: dict[Job, int]
    workers: int
    disk_gb: float

    @property
    def in_order(self) -> list[Job]:
        """The jobs as they are handed out.

        Seed by seed, what is shared first, then the longest, so that none comes late and alone.
        """
        seeds = list(dict.fromkeys(job.seed for job in self.jobs))
        return sorted(
            self.jobs,
            key=lambda job: (seeds.index(job.seed), job.kind != "shared", -self._work(job)),
        )

    def _work(self, job: Job) -> float:
        """Return pixels through the network.

        A training step counts thrice, for its backward pass.
        """
        training, lengths = self.spec.training, self.lengths(job)
        steps_px = _STEP * sum(lengths) * training.batch_size * training.crop[0] * training.crop[1]
        passes = max(
            (
                _PREDICTIONS[kind_of(strategy)]
                for strategy in self.strategies
                if strategy.name == job.strategy
            ),
            default=0.0,
        )
        return steps_px + passes * self._passes_of(job) * sum(
            height * width for height, width in self.sizes.values()
        )

    def _passes_of(self, job: Job) -> int:
        """Return how often a job predicts the pool.

        Before each round but the first, and not where the shared work does it.
        """
        if job.kind != "run":
            return int(job.kind == "shared")
        return len(self.lengths(job)) - (self._is_shared(job.seed) or not self.done[job])

    def _is_shared(self, seed: int) -> bool:
        return Job("shared", "seed-set", seed) in self.jobs

    @property
    def _rules(self) -> QueryRules:
        return rules_of(self.spec)

    @property
    def _runs(self) -> list[Job]:
        return [job for job in self.jobs if job.kind == "run"]

    def lengths(self, job: Job) -> list[int]:
        """Return the steps of each training of a job."""
        schedule = schedule_of(self.spec)

        def length(images: int) -> int:
            return self.spec.training.steps_for(images, 1.0)

        if job.kind == "full-data":
            return [length(len(self.sizes))]
        if job.kind == "shared":
            return [length(schedule.seed_images)]
        first = max(1 if self._is_shared(job.seed) else 0, self.done[job])
        return [
            length(schedule.images(number, len(self.sizes)))
            for number in range(first, schedule.rounds + 1)
        ]

    # ----------------------------------------------------------------------------------------- disk

    def _passes(self) -> int:
        """Return how many passes' maps lie on disk at once.

        Each seed's first one, and one for each worker.
        """
        return len({job.seed for job in self._runs}) + min(self.workers, max(1, len(self._runs)))

    @property
    def wanted_bytes(self) -> int:
        """Disk that all maps would take if each found room."""
        seeds = len({job.seed for job in self._runs})
        largest = max(
            (self._map_bytes(requests_of(strategy, self._rules)) for strategy in self.strategies),
            default=0,
        )
        return seeds * self._shared_bytes + (self._passes() - seeds) * largest

    @property
    def _shared_bytes(self) -> int:
        """Disk of the largest pass: the first one of a seed, which all strategies share."""
        return self._map_bytes(
            {
                request
                for strategy in self.strategies
                for request in requests_of(strategy, self._rules)
            }
        )

    def _map_bytes(self, requests: Iterable[MapRequest]) -> int:
        rules = self._rules

        def placements(request: MapRequest) -> int:
            if request.whole_image:
                return len(self.sizes)
            if px := request.superpixel_px:
                return sum(height * width // px for height, width in self.sizes.values())
            return sum(
                ((height - rules.window_px) // rules.stride_px + 1)
                * ((width - rules.window_px) // rules.stride_px + 1)
                for height, width in self.sizes.values()
            )

        return sum(8 * placements(request) for request in requests)

    @property
    def bytes_per_pass(self) -> int:
        """What the maps of one pass may take.

        Maps beyond it are made again when they are needed.
        """
        return int(self.disk_gb * 1e9) // self._passes()

    @property
    def _feature_limit(self) -> int:
        """Return what all features may take: what region maps leave of --disk-gb."""
        if self.spec.device != "cpu":
            return 0
        return max(0, int(self.disk_gb * 1e9) - self.wanted_bytes)

    def feature_room(self, out: Path) -> int:
        """Return what each worker may write of a frozen backbone's features.

        The limit, or what would still be free beside region maps if that is less, in equal parts:
        workers do not count each other's files. Two invocations each count what lay there before.
        """
        there = _size_of(out / WORK_FOLDER, FEATURE_SUFFIX)
        spare = shutil.disk_usage(out).free - self.wanted_bytes - _RESERVE_BYTES
        return max(0, min(self._feature_limit - there, spare)) // self.workers

    def check_disk(self, out: Path, *, shared: bool = False) -> None:
        """Refuse to start where the maps would fill the disk.

        Raises:
            InputError: one line with what is needed and what is free.
        """
        needed = min(self.wanted_bytes, int(self.disk_gb * 1e9)) + _RESERVE_BYTES
        there = 0 if shared else _size_of(out / WORK_FOLDER, ".map")
        free = shutil.disk_usage(out).free + there
        if self.jobs and needed > free:
            raise InputError(
                f"{out}: region maps and networks may take {needed / 1e9:.1f} GB of disk, "
                f"{free / 1e9:.1f} GB are free; "
                "give a smaller --disk-gb, a larger harness.stride, or another --out"
            )

    # ---------------------------------------------------------------------------------------- words

    def described(self) -> list[str]:
        """Say runs, rounds, budgets and disk, a line each."""
        references = sum(job.kind == "full-data" for job in self.jobs)
        seeds, schedule = self.spec.harness.seeds, schedule_of(self.spec)
        runs = len(self.strategies) * len(seeds)
        lines = [
            f"{len(self.strategies)} strategies x {len(seeds)} seeds = {runs} runs of "
            f"{schedule.rounds + 1} rounds, and {len(seeds)} full-data references; left to do: "
            f"{len(self._runs)} runs, {references} references"
        ]
        total_px = sum(height * width for height, width in self.sizes.values())
        in_clicks = self.spec.harness.budget_unit == "clicks"
        for number in range(schedule.rounds + 1):
            if in_clicks and number:
                share = 100 * schedule.shares[number - 1]
                lines.append(f"  round {number}: {share:.2f} % of the pool's clicks spent")
                continue
            budget = schedule.budget_px(number, self.sizes)
            share = 100 * budget / total_px
            lines.append(f"  round {number}: {budget} px labelled, {share:.2f} % of the pool")
        if in_clicks:
            lines.append("as many pixels as clicks are taken for the lengths of trainings below")
        lengths = [length for job in self.jobs for length in self.lengths(job)]
        lines.append(f"{len(lengths)} trainings, {sum(lengths)} steps")
        lines += self._what_seeds_show()
        again = (
            "all find room"
            if self._shared_bytes <= self.bytes_per_pass
            else f"--disk-gb gives them {self.disk_gb:g} GB: some are made again when needed"
        )
        wanted = self.wanted_bytes / 1e9
        return [*lines, f"region maps: {wanted:.2f} GB of disk while it runs; {again}"]

    def _what_seeds_show(self) -> list[str]:
        """Say which differences so many seeds can tell apart, before a run is spent on them."""
        ranked = sum(not strategy.is_bound for strategy in self.strategies)
        seeds = len(self.spec.harness.seeds)
        if ranked < 2:
            return []
        if seeds < FEWEST_SEEDS:
            return [f"no ranks: they need {FEWEST_SEEDS} seeds, got {seeds}"]
        gap, wider = (gap_told_apart(ranked, n, _SPREAD) for n in (seeds, 2 * seeds))
        return [
            f"with {seeds} seeds, {ranked} strategies are told apart half of the time at a gap of "
            f"{100 * gap:.1f} points of AUBC, with {2 * seeds} at {100 * wider:.1f}, where their "
            f"difference varies by {100 * _SPREAD:.1f} points from seed to seed "
            "(docs/notebook/streets.md)"
        ]

    def summary(self, profile: Profile, val_images: int) -> str:
        """Return time and memory in one line, and the disk for features where there are some."""
        features = min(self.feature_bytes(profile, val_images), self._feature_limit)
        disk = f" and {features / 1e9:.2f} GB of disk for features" if features else ""
        return (
            f"about {_duration(self.seconds(profile, val_images))} with {self.workers} worker(s), "
            f"and {self.memory_bytes(profile, val_images) / 1e9:.1f} GB of memory{disk}: "
            f"measured here, {1000 * profile.step:.0f} ms a training step"
        )

    # ------------------------------------------------------------------------------ time and memory

    def seconds(self, profile: Profile, val_images: int) -> float:
        """Return the time of all that is left.

        Shared out, but never less than the longest job takes alone.
        """
        each = [self._seconds_of(job, profile, val_images) for job in self.jobs]
        return max(sum(each) / self.workers, max(each, default=0.0))

    def _seconds_of(self, job: Job, profile: Profile, val_images: int) -> float:
        """Return the seconds of a job.

        Its trainings, each with its validation and its cost head, and its passes over the pool.
        """
        lengths = self.lengths(job)
        asking = [
            strategy
            for strategy in self.strategies
            if job.kind == "shared" or strategy.name == job.strategy
        ]
        each = (
            profile.beside_steps
            + val_images * profile.validated
            + (profile.cost if any(strategy.learns_cost for strategy in asking) else 0.0)
        )
        slowest = max((profile.acquired[kind_of(strategy)] for strategy in asking), default=0.0)
        return (
            sum(lengths) * profile.step
            + len(lengths) * each
            + self._passes_of(job) * len(self.sizes) * slowest
        )

    def memory_bytes(self, profile: Profile, val_images: int) -> int:
        """Return the memory of all processes.

        The workers, and, where there are several, the one that hands out work. Features on disk
        count once, as the workers share them; each holds others itself.
        """
        workers = min(self.workers, max(1, len(self.jobs)))
        features = self.feature_bytes(profile, val_images)
        shared = min(features, self._feature_limit)
        own = min(MOST_FEATURE_BYTES, features - shared)
        return (
            workers * (profile.memory_bytes + own) + shared + (workers > 1) * profile.memory_bytes
        )

    def feature_bytes(self, profile: Profile, val_images: int) -> int:
        """Return what a frozen backbone's features take.

        Those of each image, and of each training image mirrored.
        """
        return profile.feature_bytes * (2 * len(self.sizes) + val_images)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 2 * 3600 else f"{seconds / 3600:.1f} hours"


def _size_of(folder: Path, suffix: str) -> int:
    """Return the bytes of the files of one kind that earlier invocations left."""
    found = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                found += (Path(place) / name).stat().st_size * name.endswith(suffix)
    return found
