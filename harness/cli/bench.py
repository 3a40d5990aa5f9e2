"""``harness bench``: run the matrix strategies x seeds, then write the leaderboard."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.machine import THREADS, Machine, check_machine
from harness.errors import InputError, shorten

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.acquisition import Tally
    from harness.bench import Job, Outcome
    from harness.claims import Presence
    from harness.cli.estimate import Estimate
    from harness.config import ExperimentSpec
    from harness.data.cityscapes import Split
    from harness.protocols import ImageSizes
    from harness.results import RunInfo


_MOST_SEEDS = 10_000


PRESETS = {"minute": "random-region,entropy-region,cereals-g2-entropy"}
"""Names of configs that ship with their strategies: a first impression."""


def parse_seeds(text: str | None) -> tuple[int, ...] | None:
    """Read ``0,1,2``.

    Raises:
        InputError: anything but distinct whole numbers >= 0.
    """
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    plain = all(part.isascii() and part.isdigit() and len(part) <= 10 for part in parts)
    if not plain or len({int(part) for part in parts}) < len(parts) or len(parts) > _MOST_SEEDS:
        raise InputError(
            f"--seeds must be distinct whole numbers below 2^31 separated by commas, such as 0,1,2, "
            f"got {shorten(text)}"
        )
    return tuple(int(part) for part in parts)


def bench(
    strategies: Annotated[
        str | None,
        typer.Option(
            help="all, and names or FILE.py:FUNCTION separated by commas; see harness strategies. "
            "All without it, or those of --preset."
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="A config file, or the name of one that ships, such as streets_standard; streets without it."
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(help="minute: three strategies, one seed, a demonstration in a minute."),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            "--cfg-options",
            help="Change one value of the config, such as training.steps=500; again for more.",
        ),
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(help="Seeds separated by commas; the config's without it.")
    ] = None,
    out: Annotated[
        Path,
        typer.Option(help="Where runs and leaderboard go; finished work there is not done again."),
    ] = Path("out"),
    workers: Annotated[
        int | None,
        typer.Option(
            help="Processes, one thread each; without it one for each core, or for each GPU."
        ),
    ] = None,
    data_root: Annotated[
        Path | None, typer.Option(help="Cityscapes' folder, for configs that read it.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda.")] = None,
    deterministic: Annotated[
        bool,
        typer.Option(
            help="Only algorithms that give the same bits each time; faster without, on a GPU."
        ),
    ] = True,
    disk_gb: Annotated[
        float,
        typer.Option(
            help="Disk for region maps; those that find no room are made again when they are needed."
        ),
    ] = 20.0,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Say what would run and on how much disk; a short measurement here says how long and with how much memory.",
        ),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the runs of these strategies.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try runs again that failed before.")
    ] = False,
    wait: Annotated[
        bool,
        typer.Option(
            "--wait", help="Stay while other processes are at the last runs, if they die."
        ),
    ] = False,
) -> int:
    """Run strategies x seeds under equal pixel budgets and print the leaderboard."""
    machine = check_machine(workers, disk_gb, device)
    from harness.config import load_spec
    from strategies import parse_list

    if preset is not None:
        if preset not in PRESETS or config is not None:
            raise InputError(
                f"--preset must be {', '.join(PRESETS)}, without --config, got {shorten(preset)}"
            )
        config = Path(preset)
    if strategies is None:
        strategies = PRESETS.get(preset or "", "all")
    chosen = parse_list(strategies)
    spec = load_spec(
        config,
        data_root=data_root,
        seeds=parse_seeds(seeds),
        device=device,
        changes=changes or (),
    )
    names = [strategy.name for strategy in chosen]
    if (
        spec.tuned is not None
        and "all" in map(str.strip, strategies.split(","))
        and spec.tuned.strategy not in names
    ):
        names.append(spec.tuned.strategy)
    board = Bench(
        spec,
        names,
        out,
        machine,
        overwrite=overwrite,
        retry_failed=retry_failed,
        deterministic=deterministic,
        stay=wait,
    )
    return board.start(dry_run=dry_run)


class Bench:
    """One invocation: what is asked for, where, with what of the machine."""

    def __init__(
        self,
        spec: ExperimentSpec,
        identities: list[str],
        out: Path,
        machine: Machine,
        *,
        overwrite: bool = False,
        retry_failed: bool = False,
        deterministic: bool = True,
        stay: bool = False,
    ) -> None:
        from harness.cli.workshop import rules_of, schedule_of
        from harness.maps import requests_of
        from strategies import make

        for name in identities:
            for request in requests_of(make(name), rules_of(spec)):
                _ = request.key  # a measure without a name is refused before any work
        self.spec, self.identities, self.out, self.machine = spec, identities, out, machine
        self.overwrite, self.retry_failed, self.deterministic = (
            overwrite,
            retry_failed,
            deterministic,
        )
        self.stay = stay
        self.left: list[Job] = []
        self.schedule = schedule_of(spec)
        self.template: RunInfo

    def start(self, *, dry_run: bool = False) -> int:
        """Check everything, then run what is left, or say what would run. Returns the exit code.

        Other processes may be at work in the same folder on the same board: each run is done by one of them.
        """
        from harness.claims import Presence
        from harness.cli.workshop import check_sizes, info_template
        from harness.data.source import open_splits, remarks
        from harness.provenance import collect

        train, val = open_splits(self.spec.data)
        said = remarks(train, val)
        check_sizes(self.spec, train.index.sizes, len(train.class_names), val.index.sizes)
        self.template = info_template(
            self.spec,
            train,
            val,
            collect(THREADS, self.spec.device, deterministic=self.deterministic),
        )
        if dry_run:
            self._check_existing()
            self._check_model(train, val)
            _say(said)
            self._describe(train, val)
            return 0
        with Presence(self.out) as presence:
            with presence.guard():
                self._check_existing()
                self._check_model(train, val)
                estimate = self._plan_ahead(train.index.sizes)
                others = presence.others()
                estimate.check_disk(self.out, shared=bool(others))
                self._clear_away(estimate.jobs, others)
            _say(said)
            return self._conclude(self._run(estimate), presence)

    def _describe(self, train: Split, val: Split) -> None:
        from harness.cli.pace import measure

        estimate = self._plan_ahead(train.index.sizes)
        estimate.describe()
        if estimate.jobs:
            estimate.foretell(
                measure(
                    self.spec, estimate.strategies, train, val, deterministic=self.deterministic
                ),
                len(val.files),
            )

    def _runs(self) -> list[tuple[str, int]]:
        return [(name, seed) for name in self.identities for seed in self.spec.harness.seeds]

    def _check_existing(self) -> None:
        """Refuse an output folder of another board, before anything is trained or deleted."""
        from harness.results import find_runs, read_info

        for path in find_runs(self.out):
            found = read_info(path)
            different = [
                name for name, value in self.template.board.items() if found.board[name] != value
            ]
            if different and not (self.overwrite and self._is_replaced(found)):
                raise InputError(
                    f"{path}: holds a run of another board ({', '.join(different)}); allowed: another --out, or --overwrite with all of its strategies and seeds"
                )

    def _is_replaced(self, found: RunInfo) -> bool:
        from harness.loop import FULL_DATA

        return (found.strategy, found.seed) in self._runs() or (
            found.strategy == FULL_DATA and found.seed in self.spec.harness.seeds
        )

    def _check_model(self, train: Split, val: Split) -> None:
        """Build the model once in this process, so that a bad config is refused before anything is deleted."""
        from harness.cli.workshop import build_trainer
        from strategies import make

        votes = [name for name in self.identities if make(name).asks_committee]
        build_trainer(self.spec, train, val, check=True, votes=votes)

    def _finished(self, name: str, seed: int) -> int:
        from harness.results import read_run, run_path

        path = run_path(self.out, name, seed)
        if not (path / "run.json").exists() or (self.overwrite and (name, seed) in self._runs()):
            return 0
        run = read_run(path)
        return len(run.rounds) if run.info.board == self.template.board else 0

    def _plan(self, finished: Callable[[str, int], int]) -> list[Job]:
        from harness.bench import plan
        from strategies import make

        return plan(
            [make(name) for name in self.identities],
            self.spec.harness.seeds,
            finished,
            self.schedule,
        )

    def _plan_ahead(self, sizes: ImageSizes) -> Estimate:
        from harness.cli.estimate import Estimate
        from strategies import make

        finished = functools.cache(self._finished)  # each run is read once
        jobs = self._plan(finished)
        done = {job: finished(job.strategy, job.seed) for job in jobs}
        return Estimate(
            self.spec,
            [make(name) for name in self.identities],
            sizes,
            jobs,
            done,
            self.machine.workers,
            self.machine.disk_gb,
        )

    def _replaced(self, jobs: list[Job]) -> list[tuple[str, int]]:
        """Return which runs --overwrite replaces: those asked for, and their references."""
        references = [(job.strategy, job.seed) for job in jobs if job.kind == "full-data"]
        return [*self._runs(), *references]

    def _clear_away(self, jobs: list[Job], others: list[str]) -> None:
        """Put aside what is to be overwritten, and forget failures that are to be tried again.

        What is replaced is deleted when its replacement has its first round; until then it lies
        beside it as ``replaced-seed-K``.
        """
        from harness.cli.workshop import WORK_FOLDER
        from harness.networks import NetworkStore
        from harness.results import RunFolder, find_runs, read_info, run_path

        if self.overwrite and others:
            raise InputError(
                f"{self.out}: another harness process works there ({', '.join(others)}); allowed: --overwrite when it has ended"
            )
        if self.overwrite:
            if any(read_info(path).board != self.template.board for path in find_runs(self.out)):
                NetworkStore.clear_all(self.out / WORK_FOLDER)  # of another board
            for name, seed in self._replaced(jobs):
                RunFolder(run_path(self.out, name, seed)).put_aside()
        if self.retry_failed:
            for job in jobs:
                RunFolder(run_path(self.out, job.strategy, job.seed)).clear_failure()

    def _run(self, estimate: Estimate) -> list[Outcome]:
        from harness import workers as engine
        from harness.cli.progress import Progress
        from harness.cli.workshop import build_workshop

        jobs = estimate.in_order
        factory = functools.partial(
            build_workshop,
            self.spec,
            self.identities,
            self.out,
            self.template.provenance,
            map_bytes=estimate.bytes_per_pass,
        )
        outcomes: list[Outcome] = []
        weights = {job: [float(steps) for steps in estimate.lengths(job)] for job in jobs}
        with Progress(weights) as progress:

            def ended(outcome: Outcome) -> None:
                outcomes.append(outcome)
                progress.ended(outcome)

            if jobs:
                self.left = engine.run_jobs(
                    factory,
                    jobs,
                    workers=self.machine.workers,
                    report=progress.report,
                    ended=ended,
                    gpus=self.machine.gpus,
                    stay=self.stay,
                )
        return outcomes

    def _conclude(self, outcomes: list[Outcome], presence: Presence) -> int:
        from harness.acquisition import Tally
        from harness.cli.publish import write_board

        failed = self._say_failures(outcomes)
        with presence.guard():
            self._forget_replaced()
            self._clear_up(failed, presence)
            has_new = any(o.job.kind == "run" and not o.error for o in outcomes)
            if not self.left and (has_new or not failed):
                write_board(self.out, self.out)
        if self.left:
            names = ", ".join(job.title for job in self.left[:3])
            typer.echo(
                f"{len(self.left)} runs are being done by another process, such as {names}; it writes "
                "the board, and the same command goes on if it does not (--wait stays meanwhile)"
            )
        typer.echo(_work_done(sum((outcome.tally for outcome in outcomes), Tally())))
        if failed:
            return 2 if all(outcome.is_input for outcome in failed) else 1
        return 0

    def _say_failures(self, outcomes: list[Outcome]) -> list[Outcome]:
        """Print a line for each failure; what hit several runs alike is said once."""
        failed = [outcome for outcome in outcomes if outcome.error]
        by_error: dict[str, list[Outcome]] = {}
        for outcome in failed:
            by_error.setdefault(outcome.error or "", []).append(outcome)
        for error, alike in by_error.items():
            more = f" (and {len(alike) - 1} more runs)" if len(alike) > 1 else ""
            print(f"harness: {alike[0].job.title}{more}: {error}", file=sys.stderr)
        return failed

    def _forget_replaced(self) -> None:
        """Delete runs that were put aside, now or by a command that was killed, and are replaced."""
        from harness.results import RunFolder, run_path

        for aside in self.out.glob("runs/*/replaced-seed-*"):
            seed = aside.name.removeprefix("replaced-seed-")
            if seed.isdecimal():
                RunFolder(run_path(self.out, aside.parent.name, int(seed))).forget_replaced()

    def _clear_up(self, failed: list[Outcome], presence: Presence) -> None:
        """Delete networks and maps that nobody will ask for again."""
        from harness.cli.workshop import WORK_FOLDER
        from harness.networks import NetworkStore

        if not failed and not presence.others():
            NetworkStore.clear_up(self.out / WORK_FOLDER)


def _say(lines: list[str]) -> None:
    for line in lines:
        print(f"harness: {line}", file=sys.stderr)


def _work_done(tally: Tally) -> str:
    return (
        f"trainings: {tally.trainings_asked} asked for, {tally.trainings_run} run; "
        f"images predicted for acquisition: {tally.images_asked} asked for, {tally.images_predicted} run"
    )
