"""A dress rehearsal at paper scale: what each stage of a board costs per image and per step, and what 2,975 images then take.

    python -m tests.bench.rehearsal --config cityscapes cityscapes_deeplabv3plus cityscapes_segformer

Generated photographs of 1024 x 2048 px stand in for Cityscapes: the same reader, recipe and engine, but for the labels' meaning. Times
are processor time of one thread (of the device's clock with --device cuda), so that another program on the machine counts for little;
the shortest of three runs. FLOPs are PyTorch's own count of the network's forward pass and of a training step. The predictions are those
of --dry-run, from these figures.
"""

import argparse
import json
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

import strategies
from harness.bench import plan
from harness.config import ExperimentSpec, load_spec
from harness.data.source import open_splits
from harness.estimate import Estimate
from harness.experiment import build_trainer, oracle_of, rules_of, schedule_of, set_up_torch
from harness.loop import draw_seed_set
from harness.pool import LabelledPool
from harness.profile import Profile
from harness.regions import non_maximum_suppression, rescale, window_sum
from harness.votes import Votes
from strategies import fusion

POOL, VAL = 2975, 500
ENGINE = "window sums, both", "scaling, fusion, suppression"
BESIDE = "reading", "entropy", "cost map", *ENGINE
ENTROPY = "forward pass", *BESIDE
"""What an image takes in an acquisition by entropy with a cost in the score."""
SHARES = {
    "outside the forward pass, % of an image": BESIDE,
    "of it the region engine, % of an image": ENGINE,
}


def paper_spec(
    config: str, size: tuple[int, int], device: str, crops: int | None = None
) -> ExperimentSpec:
    """Return a config with generated photographs of a size in the place of its data.

    Args:
        crops: of a step; the config's own without it.
    """
    data = f"{{'type': 'streets', 'height': {size[0]}, 'width': {size[1]}, 'train': 6, 'val': 2, 'seed': 5}}"
    changes = [f"data={data}", "harness.seed_images=1", "harness.images_per_round=1"]
    if crops is not None:
        changes.append(f"training.batch_size={crops}")
    if device == "cpu":
        changes.append("training.precision=float32")
    return load_spec(Path(config), device=device, changes=changes)


class Timer:
    """Milliseconds of pieces of work, the shortest of some runs."""

    def __init__(self, device: str) -> None:
        self._device = device

    def _now(self) -> float:
        if self._device == "cpu":
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()

    def __call__(self, work: Callable[[], Any], *, runs: int = 3) -> float:
        taken = []
        for _ in range(runs):
            start = self._now()
            work()
            taken.append(self._now() - start)
        return 1000 * min(taken)


def rehearse(config: str, size: tuple[int, int], device: str, crops: int) -> dict[str, float]:
    """Measure the stages of one config: milliseconds per image, per step, per training.

    Steps are made of so many crops, which fit into the memory at hand, and counted as the config's.
    """
    set_up_torch(device)
    spec, timer = paper_spec(config, size, device, crops), Timer(device)
    share = paper_spec(config, size, device).training.batch_size / crops
    train, val = open_splits(spec.data)
    rules, oracle = rules_of(spec), oracle_of(spec, train)
    sizes = train.index.sizes
    pool = LabelledPool(sizes)
    pool.add(oracle.annotate([item.region for item in draw_seed_set(sizes, 2, 0)], pool))

    def trainer(steps: int) -> Any:
        options = {"steps": steps, "steps_per_image": 0, "max_steps": steps}
        training = spec.training.model_copy(update=options)
        return build_trainer(
            spec.model_copy(update={"training": training, "param_scheduler": []}), train, val
        )

    one, three = (trainer(steps) for steps in (1, 3))
    found: dict[str, float] = {}
    short = timer(lambda: one.fit(pool, 0, 0, with_cost=False), runs=1)
    long = timer(lambda: three.fit(pool, 0, 0, with_cost=False), runs=1)
    step = max(long - short, 0.0) / 2
    found["step"] = step * share
    found["beside steps"] = max(short - step, 0.0)
    network = one.fit(pool, 0, 0, with_cost=True)
    found["cost head"] = max(
        timer(lambda: one.fit(pool, 0, 0, with_cost=True), runs=1) - short, 0.0
    )
    fitted = one.fit(pool, 0, 0, with_cost=False)
    found["validation, an image"] = timer(fitted.evaluate, runs=1) / len(val.files)

    image_id = pool.open_ids[0]
    found["reading"] = timer(lambda: train.photo(image_id))
    photo = train.photo(image_id)
    found["forward pass"] = timer(lambda: network.see(photo))
    view = network.predict(image_id, 1)
    found["entropy"] = timer(view.logits.entropy)
    seen = network.see(photo)
    found["cost map"] = timer(lambda: network._cost(seen))

    def committee() -> None:
        votes = Votes()
        for scores in network.predict(image_id, rules.committee).passes:
            votes.add(scores)
        votes.entropy()

    image_id = pool.open_ids[1]
    found["vote entropy"] = timer(committee, runs=1) - found["forward pass"]
    pixels = [view.logits.entropy(), network._cost(seen)]

    def sums() -> list[torch.Tensor]:
        return [window_sum(one, rules.window_px, stride=rules.stride_px).cpu() for one in pixels]

    found["window sums, both"] = timer(sums)
    maps = sums()

    def second_pass() -> None:
        scaled = [rescale(one, float(one.min()), float(one.max())) for one in maps]
        non_maximum_suppression(fusion.g2(*scaled), rules.window_px, stride=rules.stride_px)

    found["scaling, fusion, suppression"] = timer(second_pass)
    found["map on disk, MB"] = sum(one.nbytes for one in maps) / 1e6
    found["forward pass, GFLOP"] = _flops(lambda: network.see(photo)) / 1e9
    found["step, GFLOP"] = _flops(lambda: one.fit(pool, 0, 0, with_cost=False)) * share / 1e9
    found["memory, GB"] = _memory(device)
    return found


def _flops(work: Callable[[], Any]) -> int:
    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


def _memory(device: str) -> float:
    if device != "cpu":
        return torch.cuda.max_memory_allocated() / 1e9
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def profile_of(found: dict[str, float]) -> Profile:
    """Return the measured stages as --dry-run holds them: seconds."""
    second = {key: value / 1000 for key, value in found.items()}
    common = (
        second["reading"] + second["window sums, both"] + second["scaling, fusion, suppression"]
    )
    plain = common + second["forward pass"] + second["entropy"] + second["cost map"]
    return Profile(
        step=second["step"],
        beside_steps=second["beside steps"],
        cost=second["cost head"],
        validated=second["validation, an image"],
        acquired={
            "nothing": second["scaling, fusion, suppression"],
            "one pass": plain,
            "committee": plain + second["vote entropy"],
        },
        memory_bytes=int(1e9 * found["memory, GB"]),
        feature_bytes=0,
    )


def predicted(
    config: str, profile: Profile, names: str, seeds: int, workers: int, pool: int = POOL
) -> dict[str, float]:
    """Predict a board of so many images of 1024 x 2048 px from measured stages."""
    spec = load_spec(Path(config), data_root=".", seeds=tuple(range(seeds)))
    chosen = strategies.parse_list(names)
    sizes = {f"{number:05d}": (1024, 2048) for number in range(pool)}
    jobs = plan(chosen, spec.harness.seeds, lambda _name, _seed: 0, schedule_of(spec))
    board = Estimate(spec, chosen, sizes, jobs, dict.fromkeys(jobs, 0), workers, 20.0)
    return {
        "hours": board.seconds(profile, VAL) / 3600,
        "disk": board.wanted_bytes / 1e9,
        "steps": sum(sum(board.lengths(job)) for job in jobs),
        "trainings": sum(len(board.lengths(job)) for job in jobs),
    }


def show_stages(rows: dict[str, dict[str, float]]) -> None:
    """Print the stages of all configs, a row each."""
    print("| stage |" + "".join(f" {name} |" for name in rows))
    print("|---|" + "---|" * len(rows))
    for stage in next(iter(rows.values())):
        cells = [
            f" {found[stage]:,.{0 if found[stage] >= 100 else 1}f} |" for found in rows.values()
        ]
        print(f"| {stage} |" + "".join(cells))
    for name, stages in SHARES.items():
        cells = [
            f" {100 * sum(found[stage] for stage in stages) / sum(found[stage] for stage in ENTROPY):.1f} |"
            for found in rows.values()
        ]
        print(f"| {name} |" + "".join(cells))


def show_boards(rows: dict[str, dict[str, float]], names: dict[str, str]) -> None:
    """Print what boards would take, a row for each config and number of strategies."""
    print("| board | trainings | steps, millions | 1 worker, hours | 8 | 64 |")
    print("|---|---|---|---|---|---|")
    for config, found in rows.items():
        for label, chosen in names.items():
            boards = [predicted(config, profile_of(found), chosen, 5, n) for n in (1, 8, 64)]
            hours = "".join(f" {board['hours']:,.0f} |" for board in boards)
            first = boards[0]
            print(
                f"| {config}, {label}, 5 seeds | {first['trainings']:,} |"
                f" {first['steps'] / 1e6:.1f} |{hours}"
            )


def show_devices(rows: dict[str, dict[str, float]], names: dict[str, str]) -> None:
    """Print the hours of all steps at assumed speeds: arithmetic on FLOPs, not a measurement."""
    rates = (10, 30, 100)
    print("| steps of | of one worker's time | EFLOP |" + "".join(f" {r} TFLOP/s |" for r in rates))
    print("|---|" + "---|" * (2 + len(rates)))
    for config, found in rows.items():
        for label, chosen in names.items():
            board = predicted(config, profile_of(found), chosen, 5, 1)
            flops = board["steps"] * found["step, GFLOP"] * 1e9
            share = board["steps"] * found["step"] / 3.6e6 / board["hours"]
            hours = "".join(f" {flops / (1e12 * rate) / 3600:,.0f} |" for rate in rates)
            print(
                f"| {config}, {label}, 5 seeds | {100 * share:.0f} % | {flops / 1e18:.1f} |{hours}"
            )


def show_growth(config: str, profile: Profile, names: dict[str, str]) -> None:
    """Print how a board's hours grow, one thing at a time, on one worker."""
    paper = names["the paper's 14"]
    base = predicted(config, profile, paper, 5, 1)["hours"]
    print(f"| {config}, the paper's 14, 5 seeds, one worker | hours | of the first row |")
    print("|---|---|---|")
    rows = {
        f"{POOL:,} images": base,
        "twice the images": predicted(config, profile, paper, 5, 1, 2 * POOL)["hours"],
        "twice the seeds": predicted(config, profile, paper, 10, 1)["hours"],
        "half of the strategies": predicted(config, profile, ",".join(paper.split(",")[::2]), 5, 1)[
            "hours"
        ],
    }
    for label, hours in rows.items():
        print(f"| {label} | {hours:,.0f} | {hours / base:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", nargs="+", default=["cityscapes"])
    parser.add_argument("--size", type=int, nargs=2, default=[1024, 2048])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--crops", type=int, default=2, help="of a measured step")
    parser.add_argument("--stages", action="store_true", help="only; no boards")
    parser.add_argument("--out", type=Path, default=Path("out/rehearsal.json"))
    arguments = parser.parse_args()
    size = (arguments.size[0], arguments.size[1])
    kept = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    rows = {}
    for config in arguments.config:
        key = f"{config} {size[0]}x{size[1]} {arguments.device}"
        if key not in kept:
            asked = config, size, arguments.device, arguments.crops
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as own:  # of its memory
                kept[key] = own.submit(rehearse, *asked).result()
            arguments.out.parent.mkdir(parents=True, exist_ok=True)
            arguments.out.write_text(json.dumps(kept, indent=1))
        rows[config] = kept[key]
    show_stages(rows)
    if arguments.stages:
        return
    names = {
        "the paper's 14": ",".join(item.name for item in strategies.parse_list("all")[:14]),
        "all 19": "all",
    }
    print()
    show_boards(rows, names)
    print()
    show_devices(rows, names)
    print()
    config = arguments.config[0]
    show_growth(config, profile_of(rows[config]), names)


if __name__ == "__main__":
    main()
