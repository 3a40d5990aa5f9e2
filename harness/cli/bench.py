"""``harness bench``: run the matrix strategies x seeds, then write the leaderboard."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.errors import InputError, shorten
from harness.machine import check_machine

if TYPE_CHECKING:
    from harness.executors import Executor
    from harness.invocation import Forecast, Invocation


_MOST_SEEDS = 10_000


PRESETS = {
    "minute": ("minute", "random-region,entropy-region,cereals-g2-entropy"),
    "first-look": (
        "streets",
        "random-image,random-region,entropy-image,entropy-region,vote-entropy-region,"
        "cereals-g1-vote-entropy,cereals-g2-entropy,cereals-g3-entropy,"
        "cereals-g2-entropy-oracle-cost",
    ),
}
"""Built-in configs with strategies: a first impression, and the board of ``make bench``."""


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
            "--seeds must be distinct whole numbers below 2^31 separated by commas, such as 0,1,2, "
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
            help="A config file, or the name of a built-in one, such as streets_standard; streets without it."
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="minute: three strategies, one seed, a demonstration; first-look: nine strategies "
            "of the embedded pack's board, in ten minutes on two cores."
        ),
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
            help="Disk for region maps, then for a frozen backbone's features; what finds no room "
            "is made again when it is needed."
        ),
    ] = 20.0,
    executor: Annotated[
        str,
        typer.Option(
            help="Who does the runs: local, one that a package brings, or MODULE:FUNCTION."
        ),
    ] = "local",
    scheduler: Annotated[
        str | None,
        typer.Option(help="Dask scheduler whose workers do the runs, such as tcp://HOST:8786."),
    ] = None,
    cluster: Annotated[
        Path | None,
        typer.Option(
            help="YAML file of a cluster (Slurm, PBS, LSF, SGE, Kubernetes ...) to start workers on."
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Say what would run and on how much disk; a short measurement here says how long and with how much memory.",
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="With --dry-run: print the estimate as JSON.")
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
    if as_json and not dry_run:
        raise InputError("--json goes with --dry-run; a finished board is in leaderboard.json")
    machine = check_machine(workers, disk_gb, device)
    from harness.config import load_spec
    from strategies import parse_list

    if preset is not None:
        if preset not in PRESETS or config is not None:
            raise InputError(
                f"--preset must be {', '.join(PRESETS)}, without --config, got {shorten(preset)}"
            )
        config = Path(PRESETS[preset][0])
    if strategies is None:
        strategies = PRESETS[preset][1] if preset is not None else "all"
    chosen = parse_list(strategies)
    spec = load_spec(
        config,
        data_root=data_root,
        seeds=parse_seeds(seeds),
        device=device,
        changes=changes or (),
    )
    who = choose_executor(executor, scheduler, cluster, workers, gpu=spec.device == "cuda")
    if not isinstance(who, str) and (size := getattr(who, "size", None)) is not None:
        machine = replace(machine, workers=size())
    names = [strategy.name for strategy in chosen]
    if (
        spec.tuned is not None
        and "all" in map(str.strip, strategies.split(","))
        and spec.tuned.strategy not in names
    ):
        names.append(spec.tuned.strategy)
    from harness.invocation import Invocation

    board = Invocation(
        spec,
        names,
        out,
        machine,
        overwrite=overwrite,
        retry_failed=retry_failed,
        deterministic=deterministic,
        stay=wait,
        executor=who,
    )
    if dry_run:
        forecast = board.foresee()
        if as_json:
            typer.echo(json.dumps(forecast.document(), indent=1))
        else:
            describe(forecast)
        return 0
    return run(board)


def choose_executor(
    name: str, scheduler: str | None, cluster: Path | None, workers: int | None, *, gpu: bool
) -> str | Executor:
    """Return who does the runs.

    Raises:
        InputError: more than one was asked for, the extra [cluster] is missing, or a bad file.
    """
    if scheduler is None and cluster is None:
        return name
    if workers is not None:
        raise InputError("--workers must not be given with --scheduler or --cluster")
    if name != "local" or (scheduler is not None and cluster is not None):
        raise InputError("only one of --executor, --scheduler and --cluster may be given")
    try:
        from harness.cluster import Dask, read_cluster_file
    except ImportError as error:
        raise InputError(
            "--scheduler and --cluster need the extra [cluster]: pip install 'harness-al[cluster]'"
        ) from error
    return Dask(scheduler, None if cluster is None else read_cluster_file(cluster), gpu=gpu)


def run(board: Invocation, *, tables: bool = True) -> int:
    """Run a board, print what is to be said, and return the exit code."""
    from harness.cli import publish
    from harness.cli.progress import Progress

    ending = board.run(
        say=_say,
        watch=Progress,
        publish=(lambda out: publish.write_board(out, out)) if tables else None,
    )
    if ending.left:
        names = ", ".join(job.title for job in ending.left[:3])
        typer.echo(
            f"{len(ending.left)} runs are being done by another process, such as {names}; it "
            "writes the board, and the same command goes on if it does not (--wait stays meanwhile)"
        )
    if tables:
        counters = ending.counters
        typer.echo(
            f"trainings: {counters.trainings_asked} asked for, {counters.trainings_run} run; "
            f"images predicted for acquisition: {counters.images_asked} asked for, "
            f"{counters.images_predicted} run"
        )
    return ending.code


def describe(forecast: Forecast) -> None:
    """Print what would run, on how much disk, and how long it would take."""
    for line in forecast.remarks:
        _say(line)
    for line in forecast.estimate.described():
        typer.echo(line)
    totals = forecast.totals
    typer.echo(
        f"to label all of it takes {totals.polygon} clicks of polygons (cost_B = 1) and "
        f"{totals.classes} of classes, about {forecast.hours_of_all:.0f} hours of a person "
        "(seconds_per_click)"
    )
    if forecast.profile is not None:
        typer.echo(forecast.estimate.summary(forecast.profile, forecast.val_images))


def _say(line: str) -> None:
    print(f"harness: {line}", file=sys.stderr)
