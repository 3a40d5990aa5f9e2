"""``harness explain``: why these windows."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.publish import console_width
from harness.errors import InputError, shorten
from harness.machine import check_device, limit_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import numpy.typing as npt

    from harness.acquisition import Proposals
    from harness.config import ExperimentSpec
    from harness.results import Run

_MOST_ROWS = 40


def explain(
    run: Annotated[
        Path, typer.Argument(help="A run folder, such as out/runs/cereals-g1-entropy/seed-0.")
    ],
    round_number: Annotated[
        int | None, typer.Option("--round", help="Which round's query; the last one without it.")
    ] = None,
    image: Annotated[
        str | None, typer.Option(help="One image: its windows and a picture of its maps.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where the JSON file and the picture go.")] = Path(
        "explained"
    ),
    data_root: Annotated[
        Path | None, typer.Option(help="Cityscapes' folder, for runs on it.")
    ] = None,
    allow_imports: Annotated[
        bool,
        typer.Option(
            "--allow-imports", help="Import the modules that the run's config names: they are code."
        ),
    ] = False,
) -> int:
    """Train a round's networks again, make its query again, and say for each window why it was asked for."""
    from rich.console import Console

    from harness.results import read_run

    limit_threads()
    found = read_run(run)
    number = len(found.rounds) - 1 if round_number is None else round_number
    if len(found.rounds) < 2:
        raise InputError(
            f"{run}: no round that bought by score; give a run with two rounds or more"
        )
    check_device(found.info.device)
    if not 1 <= number < len(found.rounds):
        raise InputError(
            f"--round must be from 1 to {len(found.rounds) - 1}, the rounds of {run} that bought "
            f"by score, got {number}"
        )
    receipts = found.rounds[number].query
    asked = sorted({receipt.image_id for receipt in receipts})
    if image is not None and image not in asked:
        raise InputError(
            f"--image must be one that round {number} asked for, such as {', '.join(asked[:3])}, "
            f"got {shorten(image)}"
        )
    spec = _spec(found, run, data_root)
    if spec.custom_imports and not allow_imports:
        modules = shorten(spec.custom_imports.get("imports"))
        raise InputError(
            f"{run}: its config imports the modules {modules}, which is code: read it, then give "
            "--allow-imports"
        )

    from harness.explanation import explain as reasons
    from harness.explanation import image_maps
    from harness.files import draft_folder
    from harness.publish import explained

    with draft_folder(Path(tempfile.gettempdir()), "harness-explain") as folder:
        typer.echo(
            f"training the networks of round {number - 1} again, for {found.info.strategy} seed "
            f"{found.info.seed}"
        )
        proposals, budget_px, photo = _again(spec, found, number, folder)
        explanation = reasons(proposals, budget_px, found.rounds[number], seed=found.info.seed)
        windows = [
            window for window in explanation.windows if image is None or window.image_id == image
        ]
        name = f"{found.info.strategy}-seed-{found.info.seed}-round-{number}"
        explained.to_json(explanation, out / f"{name}.json")
        made = [f"{name}.json"]
        strategy = proposals.strategy
        if strategy.predicts_cost:
            besides = strategy.cost == "whole"
            recorded = [
                window.polygon + (window.intersection + window.box) * besides
                for window in explanation.windows
            ]
            explained.draw_costs(explanation, recorded, out / f"{name}-costs.png")
            made.append(f"{name}-costs.png")
        if image is not None:
            made.append(f"{name}-{image}.png")
            explained.draw(
                photo(image),
                image_maps(proposals, image),
                windows,
                f"{name}: {image}",
                out / f"{name}-{image}.png",
                stride=1 if strategy.superpixels else spec.harness.stride,
            )
    console = Console(highlight=False, width=console_width())
    console.print(explained.to_table(explanation, windows[:_MOST_ROWS]))
    typer.echo(
        f"{len(explanation.windows)} windows asked for of {explanation.candidates} candidates in "
        f"{explanation.images_in_the_pool} images; "
        + (
            "the query made again is the recorded one"
            if explanation.reproduced
            else "THE QUERY MADE AGAIN IS NOT THE RECORDED ONE"
        )
    )
    typer.echo(f"wrote {', '.join(made)} to {out}")
    return 0 if explanation.reproduced else 1


def _spec(run: Run, path: Path, data_root: Path | None) -> ExperimentSpec:
    """Return the config that a run was made with, from its run.json."""
    from pydantic import ValidationError

    from harness.config import WITH_ROOT, ExperimentSpec, check_types, check_values

    document = {**run.info.config, "device": run.info.device, "vis_backends": []}
    if not isinstance(document.get("data"), dict):
        raise InputError(f"{path / 'run.json'}: its config must have a data block")
    check_values(document, path / "run.json")
    if data_root is not None and document["data"].get("type") not in WITH_ROOT:
        raise InputError(
            f"--data-root must be left out: the config in {path} says where its data come from, "
            f"got {data_root}"
        )
    if data_root is not None:
        document["data"] = {**document["data"], "root": str(data_root)}
    try:
        spec = ExperimentSpec.model_validate(document)
    except ValidationError as error:
        raise InputError(
            f"{path / 'run.json'}: its config cannot be read ({error.errors()[0]['msg']})"
        ) from error
    check_types(spec, path / "run.json")
    if spec.data.type in WITH_ROOT and data_root is None:
        raise InputError(f"{path}: the run is on data of its own; give --data-root DIR")
    return spec


def _again(
    spec: ExperimentSpec, run: Run, number: int, folder: Path
) -> tuple[Proposals, int, Callable[[str], npt.NDArray[np.uint8]]]:
    """Replay the rounds before, train, do pass 1."""
    from harness.acquisition import prepare
    from harness.data.source import open_splits
    from harness.experiment import build_experiment
    from harness.loop import bought_again
    from harness.maps import MemoryMaps
    from harness.pool import LabelledPool
    from harness.seeds import Purpose, generator

    info, provenance = run.info, dataclasses.replace(run.info.provenance, threads=1)
    experiment = build_experiment(spec, [info.strategy], folder, provenance)
    experiment.turn_to(info.seed)
    if experiment.info.data_fingerprint != info.data_fingerprint:
        raise InputError(
            f"the data must be those of the run, with the fingerprint "
            f"{info.data_fingerprint[:12]}, got {experiment.info.data_fingerprint[:12]}"
        )
    strategy, pool = experiment.strategies[info.strategy], LabelledPool(experiment.sizes)
    record = run.rounds[number]
    if record.budget_clicks is not None and strategy.select is not None:
        raise InputError(
            f"{info.strategy} must be of a board of equal pixels to be explained: how many "
            "candidates it chose among is not recorded"
        )
    for before in run.rounds[:number]:
        query = bought_again(before, strategy, experiment.rules)
        pool.add(experiment.oracle.annotate([candidate.region for candidate in query], pool))
    trained = (
        experiment.networks.get_or_train(
            pool, info.seed, number - 1, with_cost=strategy.learns_cost
        )
        if strategy.needs_network
        else None
    )
    proposals, _ = prepare(
        strategy,
        pool=pool,
        predictor=trained.network if trained else None,
        oracle=experiment.oracle,
        rules=experiment.rules,
        cache=trained.maps if trained else MemoryMaps(),
        rng_for=lambda image_id: generator(info.seed, number, Purpose.SCORES, image_id),
    )
    train, _ = open_splits(spec.data)
    # with a budget of clicks: what was bought says how far it went
    allowed_px = record.budget_px if record.budget_clicks is None else record.labelled_px
    return proposals, allowed_px - pool.labelled_px, train.photo
