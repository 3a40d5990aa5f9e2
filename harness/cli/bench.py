"""``harness bench``: run the matrix strategies x seeds, then write the leaderboard."""

from __future__ import annotations

import functools
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.errors import InputError

if TYPE_CHECKING:
    from harness.acquisition import Tally
    from harness.bench import Outcome
    from harness.config import ExperimentSpec


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
    workers: Annotated[int | None, typer.Option(help="Processes, one thread each; one per core without it.")] = None,
    data_root: Annotated[Path | None, typer.Option(help="Cityscapes' folder, for configs that read it.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run, and how long it would take.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Delete these strategies' runs first.")] = False,
) -> int:
    """Run strategies x seeds under equal pixel budgets and print the leaderboard."""
    workers = (os.cpu_count() or 1) if workers is None else workers
    if workers < 1:
        raise InputError(f"--workers is {workers}; allowed: 1 or more")
    _limit_threads()
    from harness.config import load_spec
    from strategies import parse_list

    chosen = parse_list(strategies)
    spec = load_spec(config, data_root=data_root, seeds=parse_seeds(seeds), device=_device(device))
    return _Bench(spec, [strategy.name for strategy in chosen], out, workers, overwrite=overwrite).start(dry_run=dry_run)


def _limit_threads() -> None:
    """Give every process one thread, so that results do not depend on the number of workers. Works only before torch is imported."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(THREADS)


def _device(name: str | None) -> str | None:
    if name not in {None, "cpu", "cuda"}:
        raise InputError(f"--device is {name!r}; allowed: cpu, cuda")
    if name == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise InputError("--device is 'cuda', but torch sees no GPU; allowed: cpu")
    return name


class _Bench:
    """One invocation: what is asked for, where, with how many workers."""

    def __init__(self, spec: ExperimentSpec, identities: list[str], out: Path, workers: int, *, overwrite: bool) -> None:
        from harness.cli.workshop import schedule_of

        self.spec, self.identities, self.out, self.workers, self.overwrite = spec, identities, out, workers, overwrite
        self.schedule = schedule_of(spec)

    def start(self, *, dry_run: bool) -> int:
        from harness.cli.workshop import check_sizes
        from harness.data.source import open_splits
        from harness.results import hold

        train, val = open_splits(self.spec.data)
        check_sizes(self.spec, train.index.sizes)
        _ = val.index
        if dry_run:
            self._describe(train.index.sizes)
            return 0
        with hold(self.out):
            return self._run(len(train.files))

    def _describe(self, sizes: dict[str, tuple[int, int]]) -> None:
        """Print runs, rounds, budgets and a rough estimate of time."""
        seeds = self.spec.harness.seeds
        trainings = len(self.identities) * len(seeds) * self.schedule.rounds + 2 * len(seeds)
        steps = self._steps(len(sizes))
        typer.echo(
            f"{len(self.identities)} strategies x {len(seeds)} seeds = {len(self.identities) * len(seeds)} runs of {self.schedule.rounds + 1} rounds, and {len(seeds)} full-data references"
        )
        total_px = sum(height * width for height, width in sizes.values())
        for number in range(self.schedule.rounds + 1):
            budget = self.schedule.budget_px(number, sizes)
            typer.echo(f"  round {number}: {budget} px labelled, {100 * budget / total_px:.2f} % of the pool")
        typer.echo(f"{trainings} trainings, {steps} steps")
        if self.spec.data.type == "streets":
            seconds = steps * _seconds_per_step(self.spec) * 1.25 / self.workers
            typer.echo(
                f"about {max(1, round(seconds / 60))} minutes with {self.workers} worker(s): measured step time, and a quarter more for the rest"
            )

    def _length(self, images: float) -> int:
        """Return the steps of a training on so many labelled images."""
        training = self.spec.training
        return min(training.max_steps, round(training.steps + training.steps_per_image * images))

    def _round_lengths(self) -> list[int]:
        return [
            self._length(self.schedule.seed_images + number * self.schedule.images_per_round) for number in range(self.schedule.rounds + 1)
        ]

    def _steps(self, train_images: int) -> int:
        """Return the steps of all trainings of this board."""
        lengths = self._round_lengths()
        return len(self.spec.harness.seeds) * (self._length(train_images) + lengths[0] + len(self.identities) * sum(lengths[1:]))

    def _run(self, train_images: int) -> int:
        from harness import bench as engine
        from harness.cli.progress import Progress
        from harness.cli.workshop import build_workshop
        from harness.loop import FULL_DATA
        from harness.provenance import collect
        from harness.results import RunFolder, read_run, run_path

        if self.overwrite:
            for name in self.identities:
                for seed in self.spec.harness.seeds:
                    RunFolder(run_path(self.out, name, seed)).discard()

        def finished(name: str, seed: int) -> int:
            path = run_path(self.out, name, seed)
            return len(read_run(path).rounds) if (path / "run.json").exists() else 0

        from strategies import make

        stages = engine.plan([make(name) for name in self.identities], self.spec.harness.seeds, finished, self.schedule)
        self._check_existing(FULL_DATA)
        provenance = collect(THREADS)
        factory = functools.partial(build_workshop, self.spec, self.identities, self.out, provenance, THREADS)
        outcomes: list[Outcome] = []
        with Progress(
            stages, self.schedule.rounds, [float(length) for length in self._round_lengths()], float(self._length(train_images))
        ) as progress:

            def ended(outcome: Outcome) -> None:
                outcomes.append(outcome)
                progress.ended(outcome)

            if any(stages):
                engine.run_jobs(factory, stages, workers=self.workers, report=progress.report, ended=ended)
        return self._conclude(outcomes)

    def _check_existing(self, full_data: str) -> None:
        """Refuse an output folder of another configuration before anything is trained."""
        from harness.results import read_info, run_path

        for name in [*self.identities, full_data]:
            for seed in self.spec.harness.seeds:
                path = run_path(self.out, name, seed)
                if (path / "run.json").exists() and read_info(path).config_sha256 != self.spec.digest():
                    raise InputError(f"{path}: holds a run of another configuration; allowed: another --out, or --overwrite")

    def _conclude(self, outcomes: list[Outcome]) -> int:
        from harness.acquisition import Tally
        from harness.cli.publish import write_board

        failed = [outcome for outcome in outcomes if outcome.error]
        for outcome in failed:
            print(f"harness: {outcome.job.title}: {outcome.error}", file=sys.stderr)
        if not failed:
            shutil.rmtree(self.out / "work", ignore_errors=True)
        if len(failed) < len(outcomes) or not failed:
            write_board(self.out, self.out)
        typer.echo(_work_done(sum((outcome.tally for outcome in outcomes), Tally())))
        if failed:
            return 2 if all(outcome.is_input for outcome in failed) else 1
        return 0


def _work_done(tally: Tally) -> str:
    return (
        f"trainings: {tally.trainings_asked} asked for, {tally.trainings_run} run; "
        f"images predicted for acquisition: {tally.images_asked} asked for, {tally.images_predicted} run"
    )


def _seconds_per_step(spec: ExperimentSpec) -> float:
    """Time a few training steps on this machine."""
    import torch

    torch.set_num_threads(THREADS)
    from harness.segmentor.trainer import time_steps

    return time_steps(spec.model, batch_size=spec.training.batch_size, crop=spec.training.crop)
