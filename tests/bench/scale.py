"""A pool of Cityscapes' size through both passes of acquisition, without a network: processor seconds, resident memory, disk.

`make bench-scale` runs it. The maps are synthetic (smooth, different for each image); all else is what `harness bench` runs.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from harness.acquisition import Counters, acquire
from harness.maps import DiskMaps, QueryRules
from harness.pool import LabelledPool
from harness.views import View
from strategies import make

SIZE = 1024, 2048


class SyntheticMaps:
    """Information and cost maps that take milliseconds to make: windows of one large smooth map, moved from image to image."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        coarse = torch.rand((2, 1, 40, 80), generator=generator)
        self._information, self._cost = F.interpolate(
            coarse, size=(SIZE[0] + 300, SIZE[1] + 300), mode="bicubic"
        ).clamp(min=0)[:, 0]

    def predict(self, image_id: str, _n_passes: int) -> View:
        rng = np.random.default_rng(int(image_id))
        top, left, other_top, other_left = rng.integers(0, 300, 4)
        information = self._information[top : top + SIZE[0], left : left + SIZE[1]] * float(
            rng.uniform(0.5, 1.0)
        )
        return View(
            iter([information]),
            self._cost[other_top : other_top + SIZE[0], other_left : other_left + SIZE[1]],
        )

    def expect(self, image_ids) -> None:
        """Nothing has to be read."""


def the_map(prediction: View) -> torch.Tensor:
    return next(prediction.passes)


def run(images: int, window: int, stride: int, disk_gb: float) -> None:
    from dataclasses import replace

    pool = LabelledPool({f"{number:05d}": SIZE for number in range(images)})
    strategy, counters = replace(make("cereals-g2-entropy"), measure=the_map), Counters()
    budget_px = 6400 * 128 * 128 * images // 2975
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        start = time.process_time()
        query = acquire(
            strategy,
            budget_px,
            pool=pool,
            predictor=SyntheticMaps(),
            oracle=None,
            rules=QueryRules(window, stride),
            cache=DiskMaps(Path(folder), int(disk_gb * 1e9)),
            rng_for=lambda _image_id: np.random.default_rng(0),
            counters=counters,
        )
        seconds = time.process_time() - start
        used = sum(file.stat().st_size for file in Path(folder).rglob("*.map"))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"| {images} | {window} | {stride} | {len(query)} | {seconds:.0f} s | {1000 * seconds / images:.0f} ms | {memory:.2f} GiB | {used / 1e9:.1f} GB | {counters.images_predicted} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, nargs="+", default=[250, 1000, 2975])
    parser.add_argument("--window", type=int, nargs="+", default=[128])
    parser.add_argument("--stride", type=int, default=1)
    parser.add_argument("--disk-gb", type=float, default=4.0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(
        "| images | w | stride | windows | processor time | per image | resident memory | disk | images made in both passes |\n|---|---|---|---|---|---|---|---|---|"
    )
    for images in arguments.images:
        for window in arguments.window:
            run(images, window, arguments.stride, arguments.disk_gb)


if __name__ == "__main__":
    main()
