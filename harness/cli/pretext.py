"""``harness pretext``: weights for the backbone, learned on other generated scenes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.errors import InputError, shorten
from harness.machine import limit_threads


def pretext(
    out: Annotated[Path, typer.Option(help="The file of weights to write.")],
    config: Annotated[
        Path | None,
        typer.Option(
            help="The config whose backbone and scene size to take; the embedded pack's without it."
        ),
    ] = None,
    scenes: Annotated[int, typer.Option(help="How many scenes to make.")] = 400,
    steps: Annotated[int, typer.Option(help="Length of the training.")] = 6000,
    seed: Annotated[
        int, typer.Option(help="Seed of scenes and weights; no board may use it for its pack.")
    ] = 90_000,
) -> int:
    """Train the config's network to tell seven coarse groups apart on scenes that no board uses, and keep its backbone."""
    limit_threads()
    from harness.blocks import StreetsData
    from harness.config import load_spec
    from harness.data.source import open_splits
    from harness.experiment import build_trainer, set_up_torch
    from harness.segmentor.pretraining import grouped_pool, save_backbone

    spec = load_spec(config)
    if not isinstance(spec.data, StreetsData):
        raise InputError(
            f"config {spec.name} must have the data type 'streets' (generated scenes), "
            f"got {spec.data.type!r}"
        )
    if spec.data.seed == seed:
        raise InputError(f"--seed must differ from that of the board's own scenes, got {seed}")
    if not (1 <= scenes <= 100_000 and 1 <= steps <= 1_000_000 and 0 <= seed < 2**31):
        raise InputError(
            "--scenes must be from 1 to 100000, --steps from 1 to 1000000 and --seed from 0 to "
            f"{2**31 - 1}, got {scenes}, {steps} and {seed}"
        )
    if not isinstance(spec.model.get("backbone"), dict):
        raise InputError(
            f"config {spec.name}: model.backbone must be a block, "
            f"got {shorten(spec.model.get('backbone'))}"
        )
    set_up_torch("cpu")
    model = {
        **spec.model,
        "backbone": {
            key: value for key, value in spec.model["backbone"].items() if key != "pretrained"
        },
    }
    training = spec.training.model_copy(
        update={"steps": steps, "steps_per_image": 0, "max_steps": steps, "frozen_trunk": False}
    )
    data = spec.data.model_copy(update={"seed": seed, "train": scenes, "val": 40})
    spec = spec.model_copy(
        update={"data": data, "training": training, "model": model, "pretrained_sha256": ""}
    )
    train, val = open_splits(spec.data)
    typer.echo(f"training {steps} steps on {scenes} scenes of seed {seed}")
    network = build_trainer(spec, train, val).fit(grouped_pool(train), seed, 0, with_cost=False)
    save_backbone(
        network.model.backbone,
        out,
        f"{steps} steps on {scenes} scenes of {data.height} x {data.width}, seed {seed}: seven "
        "groups",
    )
    typer.echo(f"wrote {out}: {out.stat().st_size} bytes")
    return 0
