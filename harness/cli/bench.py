"""``harness bench``: run the matrix strategies x seeds, then write the leaderboard."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.errors import InputError

if TYPE_CHECKING:
    from harness.acquisition import Tally
    from harness.bench import Job, Outcome
    from harness.claims import Presence
    from harness.cli.estimate import Estimate
    from harness.config import ExperimentSpec
    from harness.data.cityscapes import Split
    from harness.protocols import ImageSizes
    from harness.results import RunInfo


THREADS = 1
"""Threads of a worker: more processes than cores slow each other down, and results must not depend on their number."""


def parse_seeds(text: str | None) -> tuple[int, ...] | None:
    """Read ``0,1,2``.

    Raises:
        InputError: anything but distinct whole numbers >= 0.
    """
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts) or len({int(part) for part in parts}) < len(parts):
        raise InputError(f"--seeds is {text!r}; allowed: distinct whole numbers separated by commas, such as 0,1,2")
    return tuple(int(part) for part in parts)


def bench(
    strategies: Annotated[str, typer.Option(help="all, or names separated by commas; see harness strategies.")],
    config: Annotated[Path | None, typer.Option(help="A config file; the embedded pack without it.")] = None,
    seeds: Annotated[str | None, typer.Option(help="Seeds separated by commas; the config's without it.")] = None,
    out: Annotated[Path, typer.Option(help="Where runs and leaderboard go; finished work there is not done again.")] = Path("out"),
    workers: Annotated[int | None, typer.Option(help="Processes, one thread each; without it one per core, or one on a GPU.")] = None,
    data_root: Annotated[Path | None, typer.Option(help="Cityscapes' folder, for configs that read it.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda.")] = None,
    deterministic: Annotated[
        bool, typer.Option(help="Only algorithms that give the same bits each time; faster without, on a GPU.")
    ] = True,
    disk_gb: Annotated[
        float, typer.Option(help="Disk for region maps; those that find no room are made again when they are needed.")
    ] = 20.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run, how long it would take, and on how much disk.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Delete these strategies' runs first.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try runs again that failed before.")] = False,
) -> int:
    """Run strategies x seeds under equal pixel budgets and print the leaderboard."""
    workers = check_resources(workers, disk_gb, device)
    limit_threads()
    from harness.config import load_spec
    from strategies import parse_list

    chosen = parse_list(strategies)
    spec = load_spec(config, data_root=data_root, seeds=parse_seeds(seeds), device=check_device(device))
    names = [strategy.name for strategy in chosen]
    if spec.tuned is not None and strategies == "all" and spec.tuned.strategy not in names:
        names.append(spec.tuned.strategy)
    return Bench(spec, names, out, workers, disk_gb, overwrite=overwrite, retry_failed=retry_failed, deterministic=deterministic).start(
        dry_run=dry_run
    )


def check_resources(workers: int | None, disk_gb: float, device: str | None) -> int:
    """Return the number of worker processes: one per core, or one on a GPU, where none is given.

    Raises:
        InputError: no worker, or an amount of disk that is none.
    """
    if workers is not None and workers < 1:
        raise InputError(f"--workers is {workers}; allowed: 1 or more")
    if not 0 <= disk_gb <= 1e6:
        raise InputError(f"--disk-gb is {disk_gb}; allowed: 0 or more gigabytes")
    return workers or (1 if device == "cuda" else os.cpu_count() or 1)


def limit_threads() -> None:
    """Give every process one thread, so that results do not depend on the number of workers. Works only before torch is imported."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS may add in any order
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(THREADS)


def check_device(name: str | None) -> str | None:
    """Return a device's name if it is there.

    Raises:
        InputError: another name, or cuda without a GPU.
    """
    if name not in {None, "cpu", "cuda"}:
        raise InputError(f"--device is {name!r}; allowed: cpu, cuda")
    if name == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise InputError("--device is 'cuda', but torch sees no GPU; allowed: cpu")
    return name


class Bench:
    """One invocation: what is asked for, where, with how many workers."""

    def __init__(
        self,
        spec: ExperimentSpec,
        identities: list[str],
        out: Path,
        workers: int,
        disk_gb: float,
        *,
        overwrite: bool = False,
        retry_failed: bool = False,
        deterministic: bool = True,
    ) -> None:
        from harness.cli.workshop import schedule_of

        self.spec, self.identities, self.out, self.workers = spec, identities, out, workers
        self.overwrite, self.retry_failed, self.deterministic = overwrite, retry_failed, deterministic
        self.disk_gb = disk_gb
        self.schedule = schedule_of(spec)
        self.template: RunInfo

    def start(self, *, dry_run: bool = False) -> int:
        """Check everything, then run what is left, or say what would run. Returns the exit code.

        Other processes may be at work in the same folder on the same board: each run is done by one of them.
        """
        from harness.claims import Presence
        from harness.cli.workshop import check_sizes, info_template
        from harness.data.source import open_splits
        from harness.provenance import collect

        train, val = open_splits(self.spec.data)
        check_sizes(self.spec, train.index.sizes, len(train.class_names), val.index.sizes)
        self.template = info_template(self.spec, train, val, collect(THREADS, self.spec.device, deterministic=self.deterministic))
        if dry_run:
            self._check_existing()
            self._plan_ahead(train.index.sizes).describe()
            return 0
        with Presence(self.out) as presence:
            with presence.guard():
                self._check_existing()
                self._check_model(train, val)
                estimate = self._plan_ahead(train.index.sizes)
                others = presence.others()
                estimate.check_disk(self.out, shared=bool(others))
                self._clear_away(estimate.stages, others)
            return self._conclude(self._run(estimate), presence)

    def _runs(self) -> list[tuple[str, int]]:
        return [(name, seed) for name in self.identities for seed in self.spec.harness.seeds]

    def _check_existing(self) -> None:
        """Refuse an output folder of another board, before anything is trained or deleted."""
        from harness.results import find_runs, read_info

        for path in find_runs(self.out):
            found = read_info(path)
            different = [name for name, value in self.template.board.items() if found.board[name] != value]
            if different and not (self.overwrite and self._is_replaced(found)):
                raise InputError(
                    f"{path}: holds a run of another board ({', '.join(different)}); allowed: another --out, or --overwrite with all of its strategies and seeds"
                )

    def _is_replaced(self, found: RunInfo) -> bool:
        from harness.loop import FULL_DATA

        return (found.strategy, found.seed) in self._runs() or (found.strategy == FULL_DATA and found.seed in self.spec.harness.seeds)

    def _check_model(self, train: Split, val: Split) -> None:
        """Build the model once in this process, so that a bad config is refused before anything is deleted."""
        from harness.cli.workshop import build_trainer

        build_trainer(self.spec, train, val)

    def _finished(self, name: str, seed: int) -> int:
        from harness.results import read_run, run_path

        path = run_path(self.out, name, seed)
        if not (path / "run.json").exists() or (self.overwrite and (name, seed) in self._runs()):
            return 0
        run = read_run(path)
        return len(run.rounds) if run.info.board == self.template.board else 0

    def _plan(self) -> tuple[list[Job], list[Job]]:
        from harness.bench import plan
        from strategies import make

        return plan([make(name) for name in self.identities], self.spec.harness.seeds, self._finished, self.schedule)

    def _plan_ahead(self, sizes: ImageSizes) -> Estimate:
        from harness.cli.estimate import Estimate
        from strategies import make

        stages = self._plan()
        done = {job: self._finished(job.strategy, job.seed) for stage in stages for job in stage}
        return Estimate(self.spec, [make(name) for name in self.identities], sizes, stages, done, self.workers, self.disk_gb)

    def _clear_away(self, stages: tuple[list[Job], list[Job]], others: list[str]) -> None:
        """Delete what is to be overwritten, and the records of failures that are to be tried again."""
        from harness.results import RunFolder, run_path

        if self.overwrite and others:
            raise InputError(
                f"{self.out}: another harness process works there ({', '.join(others)}); allowed: --overwrite when it has ended"
            )
        if self.overwrite:
            for name, seed in [*self._runs(), *((job.strategy, job.seed) for job in stages[0] if job.kind == "full-data")]:
                RunFolder(run_path(self.out, name, seed)).discard()
        if self.retry_failed:
            for job in (job for stage in stages for job in stage):
                RunFolder(run_path(self.out, job.strategy, job.seed)).clear_failure()

    def _run(self, estimate: Estimate) -> list[Outcome]:
        from harness import workers as engine
        from harness.cli.progress import Progress
        from harness.cli.workshop import build_workshop

        stages = estimate.stages
        factory = functools.partial(
            build_workshop, self.spec, self.identities, self.out, self.template.provenance, map_bytes=estimate.bytes_per_pass
        )
        outcomes: list[Outcome] = []
        weights = {job: [float(steps) for steps in estimate.lengths(job)] for stage in stages for job in stage}
        with Progress(weights) as progress:

            def ended(outcome: Outcome) -> None:
                outcomes.append(outcome)
                progress.ended(outcome)

            if any(stages):
                engine.run_jobs(factory, stages, workers=self.workers, report=progress.report, ended=ended)
        return outcomes

    def _conclude(self, outcomes: list[Outcome], presence: Presence) -> int:
        from harness.acquisition import Tally
        from harness.cli.publish import write_board

        failed = self._say_failures(outcomes)
        with presence.guard():
            self._clear_up(failed, presence)
            if any(outcome.job.kind == "run" and not outcome.error for outcome in outcomes) or not failed:
                write_board(self.out, self.out)
        typer.echo(_work_done(sum((outcome.tally for outcome in outcomes), Tally())))
        if failed:
            return 2 if all(outcome.is_input for outcome in failed) else 1
        return 0

    def _say_failures(self, outcomes: list[Outcome]) -> list[Outcome]:
        failed = [outcome for outcome in outcomes if outcome.error]
        for outcome in failed:
            print(f"harness: {outcome.job.title}: {outcome.error}", file=sys.stderr)
        return failed

    def _clear_up(self, failed: list[Outcome], presence: Presence) -> None:
        """Delete networks and maps that nobody will ask for again."""
        from harness.cli.workshop import WORK_FOLDER
        from harness.networks import NetworkStore

        if not failed and not presence.others():
            NetworkStore.clear_up(self.out / WORK_FOLDER)


def _work_done(tally: Tally) -> str:
    return (
        f"trainings: {tally.trainings_asked} asked for, {tally.trainings_run} run; "
        f"images predicted for acquisition: {tally.images_asked} asked for, {tally.images_predicted} run"
    )
