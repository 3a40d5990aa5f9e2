"""``harness tune``: find strategy parameters and window rules with Optuna, then report them on other images and seeds."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from harness.cli.bench import choose_executor
from harness.errors import InputError, shorten
from harness.files import can_be_written
from harness.machine import check_machine

if TYPE_CHECKING:
    from harness.cluster import Dask
    from harness.tune.search import Objective


def tune(
    config: Annotated[Path, typer.Option(help="A config with a tune block.")] = Path(
        "streets_tune"
    ),
    trials: Annotated[
        int | None,
        typer.Option(help="How many; the config's without it; a grid has its own number."),
    ] = None,
    objective: Annotated[
        str, typer.Option(help="aubc-clicks, c95, or aubc-clicks,time for a Pareto front.")
    ] = "aubc-clicks",
    sampler: Annotated[str, typer.Option(help="tpe, or grid for a sweep.")] = "tpe",
    pruner: Annotated[str, typer.Option(help="median, hyperband or none.")] = "median",
    out: Annotated[Path, typer.Option(help="Where trials, tables and figures go.")] = Path(
        "tuning"
    ),
    storage: Annotated[
        str | None,
        typer.Option(help="A journal file or an Optuna URL; a journal in --out without it."),
    ] = None,
    write: Annotated[
        Path | None, typer.Option(help="The tuned config; configs/tuned/NAME.py without it.")
    ] = None,
    report: Annotated[
        bool,
        typer.Option(help="Run default and tuned parameters on the reporting seeds at the end."),
    ] = True,
    grace: Annotated[
        float,
        typer.Option(
            help="Seconds without a heartbeat after which another process's trial is dead."
        ),
    ] = 60.0,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Processes of the report; for more of the search, start the command again."
        ),
    ] = None,
    disk_gb: Annotated[float, typer.Option(help="Disk for region maps.")] = 20.0,
    data_root: Annotated[
        Path | None, typer.Option(help="Cityscapes' folder, for configs that read it.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda.")] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(help="Dask scheduler whose workers do the trials, such as tcp://HOST:8786."),
    ] = None,
    cluster: Annotated[
        Path | None, typer.Option(help="YAML file of a cluster to start workers on.")
    ] = None,
) -> int:
    """Tune a strategy on training images and seeds of its own.

    Several processes may work on one study.
    """
    _one_of("--sampler", sampler, ("tpe", "grid"))
    _one_of("--pruner", pruner, ("median", "hyperband", "none"))
    _one_of("--objective", objective, ("aubc-clicks", "c95", "aubc-clicks,time"))
    if trials is not None and not 1 <= trials <= 1_000_000:
        raise InputError(f"--trials must be from 1 to 1000000, got {shorten(trials)}")
    machine = check_machine(workers, disk_gb, device)
    from harness.config import load_spec
    from harness.tune.search import SHORTEST_GRACE_S
    from harness.tune.study import Study, share_of_search

    if not SHORTEST_GRACE_S <= grace <= 1e6:
        raise InputError(
            f"--grace must be from {SHORTEST_GRACE_S:g} to 1000000 seconds, got {grace}"
        )

    spec = load_spec(config, data_root=data_root, device=device)
    tuned = write or Path("configs/tuned") / f"{spec.name}.py"
    _check_target(tuned)
    executor = choose_executor("local", scheduler, cluster, workers, gpu=spec.device == "cuda")
    aim = cast("Objective", objective)
    study = Study(spec, aim, out, machine, say=typer.echo, executor=executor)
    options = (
        storage or str(out / "study.journal"),
        trials,
        cast("Any", sampler),
        cast("Any", pruner),
        grace,
    )
    if not isinstance(executor, str):
        work = functools.partial(share_of_search, spec, aim, out, machine, options)
        cast("Dask", executor).share(work, typer.echo)
    study.search(*options)
    study.conclude(tuned, report=report)
    return 0


def _check_target(path: Path) -> None:
    """Refuse, before any trial, a place that no config can be written to."""
    if path.suffix != ".py" or path.is_dir():
        got = "the folder " if path.is_dir() else ""
        raise InputError(f"--write must be a config file, NAME.py, got {got}{shorten(str(path))}")
    if not can_be_written(path, new_folders=True):
        raise InputError(f"--write must be a file in a writable folder, got {shorten(str(path))}")


def _one_of(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InputError(f"{option} must be {' or '.join(allowed)}, got {shorten(value)}")
