"""How good must a cost model be, and which part of the clicks pays? Strategies that know what no annotator can: an experiment.

    python -m tests.bench.cost_value predict --steps 3000
    harness bench --set data.seed=7 --seeds 100,101 --set "harness.budgets=[0.03,0.06,0.1,0.18]" --out out-cost \
      --strategies "random-region,entropy-region,tests/bench/cost_value.py:priced,tests/bench/cost_value.py:priced[noise=1.0]"
    python -m tests.bench.cost_value table out-cost
    python -m tests.bench.cost_value figure out-cost clicks.png

``priced`` is g2, (1 - C) I, of entropy and

- ``of=true``: the recorded clicks; with ``noise``, times exp(noise z), z a smooth field of standard deviation 1 (16 px), so that a
  window's clicks are known up to an error that has nothing to do with its content;
- ``of=image``: what a network of its own says of the photograph, after training on 1,000 others (``predict`` makes it): about the best
  that any cost model can know.

``lucky`` weighs entropy against recorded clicks divided by those: what a photograph does not show.

The pool is one that no board uses (``data.seed=7``); the photographs to learn from are another one's (``data.seed=99``). A strategy
sees photographs alone, so clicks are found by the photograph's bytes: that is how it cheats.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
from pathlib import Path
from typing import Annotated, Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from pydantic import Field
from scipy import stats
from torch import Tensor, nn

from harness.config import load_spec
from harness.data.source import open_splits
from harness.experiment import oracle_of
from harness.protocols import Strategy
from harness.publish.board import build_board
from harness.regions import window_sum
from harness.scoring import aubc
from strategies.cereals import SCALES, fuse_g2
from strategies.measures import entropy
from strategies.parameters import Scale

POOL, LESSONS = 7, 99
PREDICTED = Path("out/cost-value")
WINDOW, STRIDE = 64, 4
Of = Literal["true", "image"]
Noise = Annotated[float, Field(ge=0.0, le=10.0)]


@functools.cache
def recorded() -> dict[str, tuple[str, np.ndarray]]:
    """Return image id and (H, W) clicks of every photograph of the pool, by its digest."""
    spec = load_spec(None, changes=(f"data.seed={POOL}",))
    train, _ = open_splits(spec.data)
    oracle = oracle_of(spec, train, None)
    return {
        digest(train.photo(image_id)): (image_id, oracle.click_map(image_id).astype(np.float64))
        for image_id in train.files
    }


def digest(photo: np.ndarray) -> str:
    return hashlib.sha256(photo.tobytes()).hexdigest()


def smooth_noise(image_id: str, shape: tuple[int, int]) -> np.ndarray:
    """Return a smooth field of standard deviation 1 that belongs to an image."""
    seed = int(hashlib.sha256(image_id.encode()).hexdigest()[:12], 16)
    rough = np.random.default_rng(seed).standard_normal((shape[0] + 128, shape[1] + 128))
    smooth = cv2.GaussianBlur(rough, (0, 0), 16.0)[64:-64, 64:-64]
    return smooth / smooth.std()


def predicted(image_id: str) -> np.ndarray:
    file = PREDICTED / f"{image_id}.npy"
    if not file.exists():
        raise FileNotFoundError(f"{file}: python -m tests.bench.cost_value predict makes it")
    return np.load(file).astype(np.float64)


def price_of(image_id: str, clicks: np.ndarray, of: Of, noise: float) -> np.ndarray:
    """Return (H, W) what a strategy takes for clicks."""
    if of == "image":
        return predicted(image_id)
    return clicks * np.exp(noise * smooth_noise(image_id, clicks.shape)) if noise else clicks


def price_map(view, of: Of = "true", noise: float = 0.0) -> Tensor:
    image_id, clicks = recorded()[digest(view.image)]
    return torch.from_numpy(np.ascontiguousarray(price_of(image_id, clicks, of, noise)))


def sums(pixels: np.ndarray, stride: int = STRIDE) -> np.ndarray:
    return window_sum(torch.from_numpy(pixels), WINDOW, stride=stride).flatten().numpy()


@functools.cache
def pool_luck() -> np.ndarray:
    """Return recorded by expected clicks of all windows of the pool, in rising order."""
    found = [
        sums(clicks) / np.maximum(sums(predicted(image_id)), 1.0)
        for image_id, clicks in recorded().values()
    ]
    return np.sort(np.concatenate(found))


def by_luck(maps, _rng) -> Tensor:
    """(1 - rank of recorded by expected clicks) x information."""
    luck = maps["recorded"] / maps["expected"].clamp(min=1.0)
    rank = np.searchsorted(pool_luck(), luck.numpy()) / len(pool_luck())
    return (1.0 - torch.from_numpy(rank)) * maps["information"]


def lucky() -> Strategy:
    """Entropy against what no photograph shows: recorded clicks by those that it promises."""
    return Strategy(
        "lucky",
        "windows by entropy against clicks as no photograph shows them",
        "(1 - rank(C / C of the image)) I",
        entropy,
        maps={"recorded": price_map, "expected": functools.partial(price_map, of="image")},
        score=by_luck,
        scaled=False,
    )


def priced(of: Of = "true", noise: Noise = 0.0, scale: Scale = "rank") -> Strategy:
    """Entropy against what the clicks are taken for."""
    return Strategy(
        "priced",
        "windows by entropy against clicks that nobody can know",
        f"(1 - C) I{SCALES[scale]}, C = clicks of={of}",
        entropy,
        fuse_g2,
        cost="own",
        cost_scale=scale,
        clicks=functools.partial(price_map, of=of, noise=noise),
    )


def block(before: int, after: int, stride: int = 1) -> nn.Sequential:
    layers = []
    for channels, step in ((before, stride), (after, 1)):
        layers += [
            nn.Conv2d(channels, after, 3, step, 1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers)


class ClickNetwork(nn.Module):
    """A small encoder and decoder from a photograph to clicks per 4 x 4 px."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            [
                block(3, 16, 2),
                block(16, 32, 2),
                block(32, 64, 2),
                block(64, 96, 2),
                block(96, 96, 2),
            ]
        )
        self.up = nn.ModuleList([block(192, 96), block(160, 64), block(96, 48)])
        self.last = nn.Conv2d(48, 1, 1)

    def forward(self, photos: Tensor) -> Tensor:
        levels, maps = [], photos
        for layer in self.down:
            maps = layer(maps)
            levels.append(maps)
        for layer, level in zip(self.up, levels[3:0:-1], strict=True):
            size = level.shape[-2:]
            larger = F.interpolate(maps, size=size, mode="bilinear", align_corners=False)
            maps = layer(torch.cat([larger, level], 1))
        return F.softplus(self.last(maps) - 2.0) + 1e-4


def predict(steps: int) -> None:
    """Learn clicks from 1,000 photographs, predict the pool's, and say how good that is."""
    torch.manual_seed(0)
    changes = (f"data.seed={LESSONS}", "data.train=1000", "data.val=10")
    spec = load_spec(None, changes=changes)
    train, _ = open_splits(spec.data)
    oracle, ids = oracle_of(spec, train, None), list(train.files)
    photos = torch.from_numpy(np.stack([train.photo(one) for one in ids])).permute(0, 3, 1, 2)
    clicks = np.stack([oracle.click_map(one).astype(np.float32) for one in ids])[:, None]
    cells = 16 * F.avg_pool2d(torch.from_numpy(clicks), 4)
    network, draw = ClickNetwork(), torch.Generator().manual_seed(1)
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for _ in range(steps):
        rows = torch.randint(len(ids), (8,), generator=draw)
        shown, wanted = (photos[rows].float() - 110.0) / 60.0, cells[rows]
        if float(torch.rand(1, generator=draw)) < 0.5:
            shown, wanted = shown.flip(-1), wanted.flip(-1)
        shown = shown * (0.9 + 0.2 * torch.rand((8, 1, 1, 1), generator=draw))
        found = network(shown)
        loss = (found - wanted * found.log()).mean()
        over, under = (256 * F.avg_pool2d(one, 16, stride=2) for one in (found, wanted))
        loss = loss + (over - under * over.log()).mean() / 64  # windows count as their cells do
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    network.eval()
    PREDICTED.mkdir(parents=True, exist_ok=True)
    pool, _ = open_splits(load_spec(None, changes=(f"data.seed={POOL}",)).data)
    guess, truth = [], []
    for image_id in pool.files:
        photo = pool.photo(image_id)
        with torch.no_grad():
            shown = (torch.from_numpy(photo).permute(2, 0, 1)[None].float() - 110.0) / 60.0
            pixels = F.interpolate(network(shown), scale_factor=4.0)[0, 0].numpy() / 16
        np.save(PREDICTED / f"{image_id}.npy", pixels)
        guess.append(sums(pixels.astype(np.float64), WINDOW // 2))
        truth.append(sums(recorded()[digest(photo)][1], WINDOW // 2))
    print(f"of=image: Spearman {rank_correlation(guess, truth):.2f} on windows of the pool")


def rank_correlation(guess, truth) -> float:
    return float(stats.spearmanr(np.concatenate(guess), np.concatenate(truth)).statistic)


def interval(gains: list[float]) -> str:
    """Return a mean with its 95 % interval by t; of one seed the mean alone."""
    if len(gains) < 2:
        return f"{np.mean(gains):+.1f}"
    half = stats.t.ppf(0.975, len(gains) - 1) * np.std(gains, ddof=1) / np.sqrt(len(gains))
    return f"{np.mean(gains):+.1f} [{np.mean(gains) - half:+.1f}, {np.mean(gains) + half:+.1f}]"


def table(folder: Path) -> None:
    """Print AUBC over clicks against random windows and no cost, and how prices order windows."""
    board = build_board(folder)
    rows = {row.strategy: row for row in board.rows}
    areas = {
        name: {c.seed: 100 * aubc(c.over_clicks(), stop=board.click_stop) for c in row.curves}
        for name, row in rows.items()
    }
    stop, seeds = 100 * board.click_stop, len(board.rows[0].curves)
    print(f"AUBC over clicks to {stop:.1f} %, {seeds} seeds; percent")
    print(
        "| strategy | minus random windows | minus no cost | clicks | mIoU |\n|---|---|---|---|---|"
    )
    for name, row in rows.items():
        gains = [
            interval([own - areas[base][seed] for seed, own in areas[name].items()])
            for base in ("random-region", "entropy-region")
        ]
        clicks, miou = 100 * row.cost_b[-1].mean, 100 * row.miou[-1].mean
        print(f"| {name} | {' | '.join(gains)} | {clicks:.1f} | {miou:.1f} |")
    print("\n| clicks taken for true | Spearman on windows of the pool |\n|---|---|")
    for of, noise in (("true", 0.3), ("true", 0.6), ("true", 1.0), ("true", 1.5), ("image", 0.0)):
        pairs = [
            (sums(price_of(i, clicks, of, noise), WINDOW // 2), sums(clicks, WINDOW // 2))
            for i, clicks in recorded().values()
        ]
        name = f"noise={noise:g}" if noise else "of=image"
        print(f"| {name} | {rank_correlation(*zip(*pairs, strict=True)):.2f} |")


LEARNED = "cereals-g2-entropy"
SHOWN = {
    LEARNED: "the learned head",
    f"{LEARNED}[scale=conditional]": "the learned head, among like information",
    "priced[of=image]": "what 1,000 labelled photographs teach",
    "priced[of=image,scale=conditional]": "the same, among like information",
}


def figure(folder: Path, path: Path) -> None:
    """Draw recorded over predicted clicks of the windows bought after the seed set."""
    runs = build_board(folder).groups
    drawing = Figure(figsize=(7.0, 6.4), layout="constrained")
    for axes, (name, words) in zip(drawing.subplots(2, 2).flat, SHOWN.items(), strict=True):
        bought = [
            (receipt.cost, receipt.polygon)
            for run in runs[name]
            for record in run.rounds[1:]
            for receipt in record.query
        ]
        expected, true = np.array(bought).T
        end = 120
        axes.plot([0, end], [0, end], color="0.6", linewidth=1, linestyle="--")
        axes.hexbin(
            expected, true, gridsize=40, extent=(0, end, 0, end), mincnt=1, bins="log", cmap="Blues"
        )
        tenths = np.array_split(np.argsort(expected), 10)
        axes.plot(
            [expected[part].mean() for part in tenths],
            [true[part].mean() for part in tenths],
            marker="o",
            markersize=4,
            color="C1",
        )
        rho = stats.spearmanr(expected, true).statistic
        axes.set_title(f"{words}\n{len(true):,} windows, Spearman {rho:.2f}", fontsize=9)
        axes.set(xlim=(0, end), ylim=(0, end), xlabel="predicted clicks", ylabel="recorded clicks")
        axes.spines[["top", "right"]].set_visible(False)
    drawing.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("predict").add_argument("--steps", type=int, default=3000)
    commands.add_parser("table").add_argument("folder", type=Path)
    drawn = commands.add_parser("figure")
    drawn.add_argument("folder", type=Path)
    drawn.add_argument("path", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.command == "predict":
        predict(arguments.steps)
    elif arguments.command == "figure":
        figure(arguments.folder, arguments.path)
    else:
        table(arguments.folder)


if __name__ == "__main__":
    main()
