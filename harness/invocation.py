"""One invocation of a board: what is asked for, what is left of it, and doing that."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.acquisition import Counters
from harness.bench import Event, Job, JobResult, plan
from harness.claims import Presence
from harness.config import ExperimentSpec
from harness.data.cityscapes import Split
from harness.data.source import open_splits, remarks
from harness.errors import InputError
from harness.estimate import Estimate
from harness.executors import Executor, find_executor
from harness.experiment import (
    WORK_FOLDER,
    build_experiment,
    check_network,
    check_seed_sets,
    check_sizes,
    check_whole_images,
    info_template,
    pool_sizes,
    rules_of,
    schedule_of,
)
from harness.machine import THREADS, Machine
from harness.maps import requests_of
from harness.networks import NetworkStore
from harness.profile import Profile, measure
from harness.protocols import ImageSizes
from harness.provenance import collect
from harness.results import RunFolder, RunInfo, find_runs, read_info, read_run, run_path
from harness.status import remove_plan, write_plan
from harness.types import FULL_DATA, Clicks, ClickTotals
from strategies import make


class Watcher:
    """Sees a board run; this one says nothing."""

    def report(self, event: Event) -> None:
        """Take note of what a worker is at."""

    def ended(self, result: JobResult) -> None:
        """Take note of a finished or failed job."""


@contextmanager
def unwatched(_weights: Mapping[Job, Sequence[float]]) -> Iterator[Watcher]:
    """Watch nothing."""
    yield Watcher()


@dataclass(frozen=True, slots=True)
class Ending:
    """How an invocation ended.

    results: of all jobs that it did. left: jobs that another process is at.
    """

    results: list[JobResult] = field(default_factory=list)
    left: list[Job] = field(default_factory=list)

    @property
    def failed(self) -> list[JobResult]:
        """The jobs that failed."""
        return [result for result in self.results if result.error]

    @property
    def counters(self) -> Counters:
        """Work asked for and done."""
        return sum((result.counters for result in self.results), Counters())

    @property
    def code(self) -> int:
        """The exit code: 2 where all that failed is the user's to fix, 1 where some is not."""
        if not self.failed:
            return 0
        return 2 if all(result.is_input for result in self.failed) else 1


@dataclass(frozen=True, slots=True)
class Forecast:
    """What would run, and how long it would take: without a profile where nothing is left to do."""

    remarks: list[str]
    estimate: Estimate
    profile: Profile | None
    val_images: int
    totals: ClickTotals

    @property
    def hours_of_all(self) -> float:
        """How long a person would take to label the whole training set."""
        clicks = Clicks(polygon=self.totals.polygon, classes=self.totals.classes)
        return self.estimate.spec.seconds_per_click.total(clicks) / 3600

    def document(self) -> dict[str, Any]:
        """Return it as data: what is left, with seconds and bytes where a profile was measured."""
        estimate = self.estimate
        kinds = [job.kind for job in estimate.jobs]
        lengths = [length for job in estimate.jobs for length in estimate.lengths(job)]
        found: dict[str, Any] = {
            "remarks": self.remarks,
            "strategies": [strategy.name for strategy in estimate.strategies],
            "seeds": list(estimate.spec.harness.seeds),
            "runs_left": kinds.count("run"),
            "references_left": kinds.count("full-data"),
            "trainings": len(lengths),
            "steps": sum(lengths),
            "map_bytes": estimate.wanted_bytes,
            "workers": estimate.workers,
            "polygon_clicks_of_all": self.totals.polygon,
            "class_clicks_of_all": self.totals.classes,
            "hours_of_all": self.hours_of_all,
        }
        if self.profile is not None:
            found["seconds"] = estimate.seconds(self.profile, self.val_images)
            found["memory_bytes"] = estimate.memory_bytes(self.profile, self.val_images)
            found["feature_bytes"] = estimate.feature_bytes(self.profile, self.val_images)
        return found


class Invocation:
    """A matrix strategies x seeds in an output folder, with what it may use of the machine.

    Args:
        identities: of the strategies.
        references: train the full-data reference of each seed too.
        overwrite: replace the runs of these strategies.
        stay: wait for what other processes are at, in case they die.
        executor: who does the jobs, by name or itself.

    Raises:
        InputError: a strategy or an executor that is not known.
    """

    def __init__(
        self,
        spec: ExperimentSpec,
        identities: Sequence[str],
        out: Path,
        machine: Machine,
        *,
        references: bool = True,
        overwrite: bool = False,
        retry_failed: bool = False,
        deterministic: bool = True,
        stay: bool = False,
        executor: str | Executor = "local",
    ) -> None:
        self.strategies = [make(name) for name in identities]
        for strategy in self.strategies:
            for request in requests_of(strategy, rules_of(spec)):
                _ = request.key  # a measure without a name is refused before any work
        self.spec, self.out, self.machine = spec, out, machine
        self.references, self.overwrite, self.retry_failed = references, overwrite, retry_failed
        self.deterministic, self.stay = deterministic, stay
        self.executor = find_executor(executor) if isinstance(executor, str) else executor
        self.schedule = schedule_of(spec)
        self.template: RunInfo

    def foresee(self) -> Forecast:
        """Check everything, measure for a moment, and say what would run; nothing is written."""
        train, val = self._open()
        self._check_existing()
        self._check_model(train, val)
        estimate = self._plan_ahead(train.index.sizes)
        profile = None
        if estimate.jobs:
            profile = measure(
                self.spec, self.strategies, train, val, deterministic=self.deterministic
            )
        return Forecast(remarks(train, val), estimate, profile, len(val.files), train.index.totals)

    def run(
        self,
        *,
        say: Callable[[str], None] = lambda _line: None,
        watch: Callable[
            [Mapping[Job, Sequence[float]]], AbstractContextManager[Watcher]
        ] = unwatched,
        publish: Callable[[Path], None] | None = None,
    ) -> Ending:
        """Check everything, then do what is left.

        Other processes may be at work in the same folder on the same board: each run is done by one
        of them, and the last one publishes.

        Args:
            say: takes remarks on the data, a line each.
            watch: takes the length of each job in steps, and gives who watches.
            publish: writes the tables of the folder when all runs are there.

        Raises:
            InputError: bad input, before any work.
        """
        train, val = self._open()
        with Presence(self.out) as presence:
            with presence.guard():
                self._check_existing()
                self._check_model(train, val)
                estimate = self._plan_ahead(train.index.sizes)
                others = presence.others()
                estimate.check_disk(self.out, shared=bool(others))
                self._clear_away(estimate.jobs, others)
                if estimate.jobs:
                    self._write_plan()
            for line in remarks(train, val):
                say(line)
            ending = self._work(estimate, watch, presence)
            with presence.guard():
                self._forget_replaced()
                if not (ending.failed or ending.left or presence.others()):
                    remove_plan(self.out)
                    NetworkStore.clear_up(self.out / WORK_FOLDER)
                has_new = any(o.job.kind == "run" and not o.error for o in ending.results)
                if publish and not ending.left and (has_new or not ending.failed):
                    publish(self.out)
        return ending

    def _open(self) -> tuple[Split, Split]:
        train, val = open_splits(self.spec.data)
        check_sizes(self.spec, train.index.sizes, len(train.class_names), val.index.sizes)
        check_seed_sets(self.spec, train)
        check_whole_images(self.spec, self.strategies, train.index.sizes)
        provenance = collect(THREADS, self.spec.device, deterministic=self.deterministic)
        self.template = info_template(self.spec, train, val, provenance)
        return train, val

    def _runs(self) -> list[tuple[str, int]]:
        return [
            (strategy.name, seed)
            for strategy in self.strategies
            for seed in self.spec.harness.seeds
        ]

    def _check_existing(self) -> None:
        """Refuse an output folder of another board, before anything is trained or deleted."""
        for path in find_runs(self.out):
            found = read_info(path)
            different = [
                name for name, value in self.template.board.items() if found.board[name] != value
            ]
            if different and not (self.overwrite and self._is_replaced(found)):
                raise InputError(
                    f"{path}: holds a run of another board ({', '.join(different)}); give "
                    "another --out, or --overwrite with all of its strategies and seeds"
                )

    def _is_replaced(self, found: RunInfo) -> bool:
        return (found.strategy, found.seed) in self._runs() or (
            found.strategy == FULL_DATA and found.seed in self.spec.harness.seeds
        )

    def _check_model(self, train: Split, val: Split) -> None:
        """Build the model once here: a bad config is refused before anything is deleted."""
        check_network(self.spec, train, val, self.strategies)

    def _finished(self, name: str, seed: int) -> int:
        path = run_path(self.out, name, seed)
        if not (path / "run.json").exists() or (self.overwrite and (name, seed) in self._runs()):
            return 0
        run = read_run(path)
        return len(run.rounds) if run.info.board == self.template.board else 0

    def _plan_ahead(self, sizes: ImageSizes) -> Estimate:
        finished = functools.cache(self._finished)  # each run is read once
        jobs = plan(self.strategies, self.spec.harness.seeds, finished, self.schedule)
        if not self.references:
            jobs = [job for job in jobs if job.kind == "run"]
        done = {job: finished(job.strategy, job.seed) for job in jobs}
        return Estimate(
            self.spec,
            self.strategies,
            pool_sizes(self.spec, sizes),
            jobs,
            done,
            self.machine.workers,
            self.machine.disk_gb,
        )

    def _write_plan(self) -> None:
        names = [strategy.name for strategy in self.strategies]
        seeds, rounds = self.spec.harness.seeds, self.schedule.rounds
        write_plan(self.out, names, seeds, rounds, references=self.references)

    def _replaced(self, jobs: list[Job]) -> list[tuple[str, int]]:
        """Return which runs --overwrite replaces: those asked for, and their references."""
        references = [(job.strategy, job.seed) for job in jobs if job.kind == "full-data"]
        return [*self._runs(), *references]

    def _clear_away(self, jobs: list[Job], others: list[str]) -> None:
        """Put aside what is to be overwritten, and forget failures that are to be tried again.

        What is replaced is deleted when its replacement has its first round; until then it lies
        beside it as ``replaced-seed-K``.
        """
        if self.overwrite and others:
            raise InputError(
                f"{self.out}: another harness process works there ({', '.join(others)}); give "
                "--overwrite when it has ended"
            )
        if self.overwrite:
            if any(read_info(path).board != self.template.board for path in find_runs(self.out)):
                NetworkStore.clear_all(self.out / WORK_FOLDER)  # of another board
            for name, seed in self._replaced(jobs):
                RunFolder(run_path(self.out, name, seed)).put_aside()
        if self.retry_failed:
            for job in jobs:
                RunFolder(run_path(self.out, job.strategy, job.seed)).clear_failure()

    def _work(
        self,
        estimate: Estimate,
        watch: Callable[[Mapping[Job, Sequence[float]]], AbstractContextManager[Watcher]],
        presence: Presence,
    ) -> Ending:
        jobs = estimate.in_order
        factory = functools.partial(
            build_experiment,
            self.spec,
            [strategy.name for strategy in self.strategies],
            self.out,
            self.template.provenance,
            map_bytes=estimate.bytes_per_pass,
            feature_bytes=estimate.feature_room(self.out),
            data_fingerprint=self.template.data_fingerprint,
        )
        ending = Ending()
        weights = {job: [float(steps) for steps in estimate.lengths(job)] for job in jobs}
        with watch(weights) as watcher:

            def ended(result: JobResult) -> None:
                ending.results.append(result)
                watcher.ended(result)

            left, stay = jobs, self.stay
            while left:
                left = self.executor(
                    factory,
                    left,
                    workers=self.machine.workers,
                    report=watcher.report,
                    ended=ended,
                    gpus=self.machine.gpus,
                    stay=stay,
                )
                with presence.guard():
                    others = presence.others()
                if others or stay:
                    break
                stay = True  # a claim that no command holds any more: of a worker that is leaving
            ending.left.extend(left)
        return ending

    def _forget_replaced(self) -> None:
        """Delete runs that were put aside, now or by a killed command, and are replaced."""
        for aside in self.out.glob("runs/*/replaced-seed-*"):
            seed = aside.name.removeprefix("replaced-seed-")
            if seed.isdecimal():
                RunFolder(run_path(self.out, aside.parent.name, int(seed))).forget_replaced()
