"""What a training learns in its time: variants of the recipe, trained on the same labels, over seeds.

    python -m tests.bench.training crops                       whole masked images against crops, at 5, 10, 25 % labelled
    python -m tests.bench.training recipe --seconds 30         variants of the recipe after equal time
    python -m tests.bench.training lengths --config streets    a board's own recipe, longer and shorter

Labels are random windows (and four whole images) of the configuration's training images; mIoU is on half of its training
images' other half, never on val: recipes are chosen on training images. Each line is printed as soon as it is known; a line that
is already in ``--out`` is not computed again. Steps for a number of seconds come from step times that are measured first, side
by side, and written to the same file.
"""

import argparse
import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import strategies
from harness import segmentor  # noqa: F401
from harness.acquisition import acquire
from harness.config import ExperimentSpec, load_spec
from harness.data.cityscapes import ClickOracle, Split
from harness.data.labels import IGNORE
from harness.data.source import open_splits
from harness.experiment import build_trainer
from harness.loop import draw_seed_set
from harness.maps import MemoryMaps, QueryRules
from harness.pool import LabelledPool
from harness.scoring import mean_iou
from harness.types import Region

Change = Callable[[dict[str, Any]], None]


def halves(config: str, size: tuple[int, int] | None = None) -> tuple[ExperimentSpec, Split, Split]:
    """Return the training split in two halves, by every other image: one to label, one to score on."""
    spec = load_spec(Path(config))
    if size is not None:
        spec = changed(
            spec,
            both(set_in("data", "height", value=size[0]), set_in("data", "width", value=size[1])),
        )
    train, _ = open_splits(spec.data)
    ids = list(train.files)
    return spec, train.only(ids[::2]), train.only(ids[1::2])


def label(train: Split, share: float, window: int, seed: int) -> LabelledPool:
    """Label two whole images and random windows apart from each other, until a share of all pixels is labelled."""
    sizes = train.index.sizes
    pool, oracle = LabelledPool(sizes), ClickOracle(train)
    pool.add(
        oracle.annotate([candidate.region for candidate in draw_seed_set(sizes, 2, seed)], pool)
    )
    rng, ids = np.random.default_rng(seed), list(sizes)
    while pool.labelled_px < share * pool.total_px:
        image_id = ids[int(rng.integers(len(ids)))]
        height, width = sizes[image_id]
        region = Region(
            image_id,
            int(rng.integers(height - window + 1)),
            int(rng.integers(width - window + 1)),
            window,
            window,
        )
        if not pool.is_labelled(image_id)[region.slices].any():
            pool.add(oracle.annotate([region], pool))
    return pool


def label_uncertain(
    spec: ExperimentSpec, train: Split, val: Split, share: float, seed: int
) -> LabelledPool:
    """Label two whole images, train on them, and label the most uncertain windows: what a training on a board is given."""
    pool = label(train, 0.0, spec.harness.window, seed)
    network = build_trainer(with_steps(spec, 400), train, val).fit(pool, seed, 0, with_cost=False)
    oracle, rules = ClickOracle(train), QueryRules(spec.harness.window, spec.harness.stride)
    query = acquire(
        strategies.make("entropy-region"),
        round(share * pool.total_px) - pool.labelled_px,
        pool=pool,
        predictor=network,
        oracle=oracle,
        rules=rules,
        cache=MemoryMaps(),
        rng_for=lambda _: np.random.default_rng(seed),
    )
    pool.add(oracle.annotate([candidate.region for candidate in query], pool))
    return pool


def changed(spec: ExperimentSpec, change: Change) -> ExperimentSpec:
    """Return a config with a change made to its document."""
    document = spec.model_dump()
    change(document)
    return ExperimentSpec.model_validate(document)


def seconds_per_step(
    spec: ExperimentSpec, train: Split, val: Split, pool: LabelledPool, steps: int = 60
) -> float:
    """Return the seconds of a step, all included: a training of some steps less one of a few, on this machine."""
    times = []
    for length in (5, 5 + steps):
        trainer = build_trainer(with_steps(spec, length), train, val)
        start = time.monotonic()
        trainer.fit(pool, 0, 0, with_cost=False)
        times.append(time.monotonic() - start)
    return (times[1] - times[0]) / steps


def with_steps(spec: ExperimentSpec, steps: int) -> ExperimentSpec:
    """Return a config whose every training has this length."""
    training = spec.training.model_copy(
        update={"steps": steps, "steps_per_image": 0, "max_steps": steps}
    )
    return spec.model_copy(update={"training": training})


@dataclasses.dataclass
class Notebook:
    """Lines that are known, kept in a file."""

    path: Path

    def __post_init__(self) -> None:
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        self.known = {row["key"]: row for row in map(json.loads, lines)}

    def line(self, key: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return a line, made now or known before."""
        if key not in self.known:
            self.known[key] = {"key": key, **make()}
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a") as stream:
                stream.write(json.dumps(self.known[key]) + "\n")
            print(self.known[key], flush=True)
        return self.known[key]


def learn(
    spec: ExperimentSpec, train: Split, val: Split, pool: LabelledPool, steps: int, seed: int
) -> dict[str, Any]:
    """Train and score once."""
    trainer = build_trainer(with_steps(spec, steps), train, val)
    start = time.monotonic()
    network = trainer.fit(pool, seed, 1, with_cost=False)
    seconds = time.monotonic() - start
    return {
        "steps": steps,
        "seconds": round(seconds, 2),
        "miou": round(100 * mean_iou(network.evaluate()), 2),
    }


def set_in(*path: str, value: Any) -> Change:
    """Return a change that sets one key."""

    def change(document: dict[str, Any]) -> None:
        for key in path[:-1]:
            document = document[key]
        document[path[-1]] = value

    return change


def both(*changes: Change) -> Change:
    """Return a change that makes several."""

    def change(document: dict[str, Any]) -> None:
        for one in changes:
            one(document)

    return change


def schedule_lr(lr: float) -> Change:
    """Return a change of the learning rate, in the optimizer and in its one-cycle schedule."""
    return both(
        set_in("optim_wrapper", "optimizer", "lr", value=lr),
        lambda document: document["param_scheduler"][0].update(eta_max=lr),
    )


def sgd(lr: float) -> Change:
    """Return a change to SGD with momentum."""
    optimizer = {"type": "SGD", "lr": lr, "momentum": 0.9, "weight_decay": 5e-4}
    return both(
        set_in("optim_wrapper", "optimizer", value=optimizer),
        lambda document: document["param_scheduler"][0].update(eta_max=lr),
    )


def poly(document: dict[str, Any]) -> None:
    """Change the schedule to a polynomial decay."""
    document["param_scheduler"] = [{"type": "PolyLR", "power": 0.9, "eta_min": 0.0}]


def whole_images(document: dict[str, Any]) -> None:
    """Change the crop to the whole image."""
    document["training"]["crop"] = (document["data"]["height"], document["data"]["width"])


def width(share: float) -> Change:
    """Return a change of the network's width."""

    def change(document: dict[str, Any]) -> None:
        document["model"]["backbone"]["width"] = share
        document["model"]["decode_head"]["in_channels"] = [
            round(base * share) for base in (256, 512, 512)
        ]
        document["model"]["decode_head"]["channels"] = round(4096 * share)

    return change


COVER = set_in("training", "sampler", value="cover")
CROP = ("training", "crop")
RECIPES: dict[str, Change] = {
    "pixel sampler": set_in("training", "sampler", value="pixel"),
    "cover": COVER,
    "cover, crop 96, batch 4": both(
        COVER, set_in(*CROP, value=(96, 96)), set_in("training", "batch_size", value=4)
    ),
    "cover, crop 96, batch 2": both(COVER, set_in(*CROP, value=(96, 96))),
    "cover, crop 64, batch 4": both(
        COVER, set_in(*CROP, value=(64, 64)), set_in("training", "batch_size", value=4)
    ),
    "cover, whole images, batch 1": both(
        COVER, whole_images, set_in("training", "batch_size", value=1)
    ),
    "cover, whole images, batch 2": both(COVER, whole_images),
    "cover, crop 128 x 192, batch 2": both(COVER, set_in(*CROP, value=(128, 192))),
    "cover, crop 192, batch 2": both(COVER, set_in(*CROP, value=(192, 192))),
    "cover, crop 256, batch 1": both(
        COVER, set_in(*CROP, value=(256, 256)), set_in("training", "batch_size", value=1)
    ),
    "cover, batch 1": both(COVER, set_in("training", "batch_size", value=1)),
    "cover, batch 4": both(COVER, set_in("training", "batch_size", value=4)),
    "cover, batch 4, lr 0.012": both(
        COVER, set_in("training", "batch_size", value=4), schedule_lr(0.012)
    ),
    "cover, lr 0.003": both(COVER, schedule_lr(0.003)),
    "cover, lr 0.012": both(COVER, schedule_lr(0.012)),
    "cover, PolyLR": both(COVER, poly),
    "cover, SGD 0.05": both(COVER, sgd(0.05)),
    "cover, no class weights": both(COVER, set_in("training", "class_weights", value=False)),
    "cover, loss at stride 1": both(COVER, set_in("model", "decode_head", "loss_stride", value=1)),
    "cover, loss at stride 4": both(COVER, set_in("model", "decode_head", "loss_stride", value=4)),
    "cover, loss at stride 8": both(COVER, set_in("model", "decode_head", "loss_stride", value=8)),
    "cover, bfloat16": both(COVER, set_in("training", "precision", value="bfloat16")),
    "cover, width 1/4": both(COVER, width(1 / 4)),
    "cover, width 1/4, bfloat16": both(
        COVER, width(1 / 4), set_in("training", "precision", value="bfloat16")
    ),
    "cover, group norm": both(
        COVER, set_in("model", "backbone", "norm_cfg", value={"type": "GN", "num_groups": 4})
    ),
    "cover, width 1/32": both(COVER, width(1 / 32)),
    "cover, width 1/8": both(COVER, width(1 / 8)),
    "cover, no jitter": both(COVER, set_in("training", "jitter", value=False)),
    "cover, no flip": both(COVER, set_in("training", "flip", value=False)),
    "cover, no dropout": both(COVER, set_in("model", "decode_head", "drop", value=0.0)),
}
"""Variants of the default recipe: crops of 128 px, batch 2, AdamW 0.006, one cycle, class weights, batch norm, loss at stride 2."""


WAYS: dict[str, Change] = {
    "whole images, masked": both(whole_images, COVER),
    "crops around pixels": set_in("training", "sampler", value="pixel"),
    "crops that cover": COVER,
    "crops of 96 px that cover": both(set_in(*CROP, value=(96, 96)), COVER),
    "crops of 192 px that cover": both(set_in(*CROP, value=(192, 192)), COVER),
}


def crops(
    notebook: Notebook,
    spec: ExperimentSpec,
    train: Split,
    val: Split,
    seeds: list[int],
    shares: list[float],
    visits: float,
    ways: list[str],
) -> None:
    """Whole masked images against crops: each labelled pixel is shown equally often, so the cheaper one is the better one."""
    for share in shares:
        for seed in seeds:
            pool = label(train, share, spec.harness.window, seed)
            for name in ways:
                made = changed(spec, WAYS[name])
                steps = _steps_for(made, train, pool, visits)
                notebook.line(
                    f"crops {100 * share:g} % {name} seed {seed}",
                    lambda made=made, pool=pool, steps=steps, seed=seed: learn(
                        made, train, val, pool, steps, seed
                    ),
                )


def _steps_for(spec: ExperimentSpec, train: Split, pool: LabelledPool, visits: float) -> int:
    """Return the steps in which each labelled pixel is shown ``visits`` times on average."""
    from harness.seeds import Purpose, sequence
    from harness.segmentor.crops import LabelledCrops

    plain = spec.training.model_copy(update={"flip": False, "jitter": False})
    probe = LabelledCrops(train, pool, plain, length=400, key=sequence(0, 0, Purpose.CROPS))
    shown = np.mean(
        [int((probe[i]["data_samples"].gt_sem_seg.data != IGNORE).sum()) for i in range(400)]
    )
    return round(visits * pool.labelled_px / shown / spec.training.batch_size)


def recipes(
    notebook: Notebook,
    spec: ExperimentSpec,
    train: Split,
    val: Split,
    seeds: list[int],
    share: float,
    seconds: float,
    names: list[str],
    *,
    uncertain: bool,
) -> None:
    """Variants of the recipe after equal time."""
    window, what = spec.harness.window, "uncertain windows, " if uncertain else ""
    pools = {
        seed: label_uncertain(spec, train, val, share, seed)
        if uncertain
        else label(train, share, window, seed)
        for seed in seeds
    }
    variants = {name: changed(spec, RECIPES[name]) for name in names}
    for name, variant in variants.items():
        notebook.line(
            f"step {name}",
            lambda variant=variant: {
                "seconds_per_step": min(
                    seconds_per_step(variant, train, val, pools[seeds[0]]) for _ in range(3)
                )
            },
        )
    for seed in seeds:
        for name, variant in variants.items():
            steps = round(seconds / notebook.line(f"step {name}", dict)["seconds_per_step"])
            notebook.line(
                f"recipe {seconds:g} s {what}{name} seed {seed}",
                lambda variant=variant, steps=steps, seed=seed: learn(
                    variant, train, val, pools[seed], steps, seed
                ),
            )


def lengths(
    notebook: Notebook,
    spec: ExperimentSpec,
    train: Split,
    val: Split,
    seeds: list[int],
    images: list[float],
    steps: list[int],
) -> None:
    """A board's own recipe on some images' worth of labels, for several numbers of steps."""
    for count in images:
        for seed in seeds:
            pool = label(train, count / len(train.files), spec.harness.window, seed)
            for number in steps:
                notebook.line(
                    f"{count:g} images, {number} steps seed {seed}",
                    lambda pool=pool, number=number, seed=seed: learn(
                        spec, train, val, pool, number, seed
                    ),
                )


def table(notebook: Notebook) -> None:
    """Print the mean and the standard deviation over seeds of all that is known."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for key, row in notebook.known.items():
        if " seed " in key:
            groups.setdefault(key.rpartition(" seed ")[0], []).append(row)
    for name, rows in groups.items():
        miou = np.array([row["miou"] for row in rows])
        seconds, steps = (
            np.mean([row["seconds"] for row in rows]),
            np.mean([row["steps"] for row in rows]),
        )
        print(
            f"| {name} | {steps:.0f} | {seconds:.1f} | {miou.mean():.1f} ± {miou.std(ddof=1) if len(miou) > 1 else 0:.1f} | {len(miou)} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["crops", "recipe", "lengths", "table"])
    parser.add_argument("--config", default="tests/bench/short.py")
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        help="height and width of the embedded pack's images, where not the config's",
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--shares", type=float, nargs="+", default=[0.05, 0.1, 0.25])
    parser.add_argument(
        "--images",
        type=float,
        nargs="+",
        default=[5, 10],
        help="lengths: how many images' worth of labels",
    )
    parser.add_argument(
        "--steps",
        type=int,
        nargs="+",
        default=[150, 250, 400, 800],
        help="lengths: of the trainings",
    )
    parser.add_argument(
        "--visits", type=float, default=40.0, help="crops: how often each labelled pixel is shown"
    )
    parser.add_argument(
        "--ways", nargs="+", choices=list(WAYS), help="crops: which of them; all without it"
    )
    parser.add_argument(
        "--recipes", nargs="+", choices=list(RECIPES), help="recipe: which of them; all without it"
    )
    parser.add_argument(
        "--uncertain",
        action="store_true",
        help="recipe: label the most uncertain windows instead of random ones",
    )
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--out", type=Path, default=Path("out/training.jsonl"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    notebook = Notebook(arguments.out)
    data = halves(arguments.config, arguments.size)
    if arguments.what == "crops":
        crops(
            notebook,
            *data,
            arguments.seeds,
            arguments.shares,
            arguments.visits,
            arguments.ways or list(WAYS),
        )
    elif arguments.what == "lengths":
        lengths(notebook, *data, arguments.seeds, arguments.images, arguments.steps)
    elif arguments.what == "recipe":
        recipes(
            notebook,
            *data,
            arguments.seeds,
            arguments.shares[0],
            arguments.seconds,
            arguments.recipes or list(RECIPES),
            uncertain=arguments.uncertain,
        )
    table(notebook)


if __name__ == "__main__":
    main()
