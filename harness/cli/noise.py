"""``harness noise``: how far apart are runs that differ in nothing, or in nothing but the order of their crops?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.bench import run
from harness.errors import InputError, shorten
from harness.machine import Machine, check_device, limit_threads


def noise(
    strategy: Annotated[
        str, typer.Option(help="One strategy; see harness strategies.")
    ] = "cereals-g2-entropy",
    seed: Annotated[int, typer.Option(help="The one seed of all repetitions.")] = 0,
    repeats: Annotated[int, typer.Option(help="How often the run is repeated.")] = 3,
    vary: Annotated[
        bool,
        typer.Option(
            "--vary",
            help="Other crops and dropout each time, from the same initial weights and seed set.",
        ),
    ] = False,
    config: Annotated[
        Path | None,
        typer.Option(
            help="A config file, or the name of a built-in one, such as streets_standard; streets without it."
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Where the runs go; finished ones are not done again.")
    ] = Path("out-noise"),
    data_root: Annotated[
        Path | None, typer.Option(help="Cityscapes' folder, for configs that read it.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda.")] = None,
    deterministic: Annotated[
        bool, typer.Option(help="Only algorithms that give the same bits each time.")
    ] = True,
) -> int:
    """Repeat one strategy with one seed and print the spread.

    The noise floor below which a difference means nothing.
    """
    if not 2 <= repeats <= 10_000:
        raise InputError(f"--repeats must be from 2 to 10000, got {shorten(repeats)}")
    if not 0 <= seed < 2**31:
        raise InputError(f"--seed must be from 0 to 2^31 - 1, got {shorten(seed)}")
    limit_threads()
    from harness.config import load_spec
    from harness.invocation import Invocation
    from strategies import make

    name = make(strategy).name
    spec = load_spec(config, data_root=data_root, seeds=(seed,), device=check_device(device))
    folders = [out / f"{'varied' if vary else 'equal'}-{number}" for number in range(repeats)]
    for number, folder in enumerate(folders):
        training = spec.training.model_copy(
            update={"repeat": number if vary else spec.training.repeat}
        )
        repeated = spec.model_copy(update={"training": training})
        board = Invocation(
            repeated,
            [name],
            folder,
            Machine(),
            references=False,
            deterministic=deterministic,
            stay=True,  # where another process does the same, its runs are this one's too
        )
        if run(board, tables=False):
            return 1
    return _report(folders, name, seed, out, vary=vary)


def _report(folders: list[Path], name: str, seed: int, out: Path, *, vary: bool) -> int:
    from harness.files import write_text
    from harness.results import read_run, run_path
    from harness.scoring import mean_iou
    from harness.statistics import mean_std

    paths = [run_path(folder, name, seed) for folder in folders]
    runs = [read_run(path) for path in paths]
    equal = len({(path / "rounds.jsonl").read_bytes() for path in paths}) == 1
    what = "other crops and dropout" if vary else "nothing changed"
    typer.echo(f"{name} seed {seed}, {len(runs)} repetitions, {what}: mIoU in percent")
    rows = []
    for number in range(len(runs[0].rounds)):
        values = [100 * mean_iou(run.rounds[number].areas) for run in runs]
        mean, std = mean_std(values)
        share = 100 * runs[0].rounds[number].labelled_px / runs[0].info.train_px
        rows.append(
            {"round": number, "pixel_share": share / 100, "miou": [value / 100 for value in values]}
        )
        typer.echo(
            f"  round {number}, {share:5.2f} % of pixels: {mean:.2f} ± {std:.2f}, "
            f"{min(values):.2f} to {max(values):.2f}"
        )
    typer.echo("the runs are equal byte for byte" if equal else "the runs differ")
    write_text(
        out / f"{name}-seed-{seed}-{'varied' if vary else 'equal'}.json",
        json.dumps({"equal": equal, "rounds": rows}, indent=1) + "\n",
    )
    return 0
