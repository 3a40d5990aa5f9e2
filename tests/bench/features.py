"""Features of a frozen backbone: made by the network, against read from files that workers share.

    python -m tests.bench.features --config camvid --data-root DIR --images 40

prints milliseconds of processor time and bytes of an image, what that is for all images of the
config (training images mirrored too), and the memory that a process holds for itself after it has
seen these images. Both forms have equal bits, which is asserted first; files are read as another
process would, with their checksums.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from harness.config import load_spec
from harness.data.source import open_splits
from harness.experiment import build_trainer, set_up_torch
from harness.memory import private_bytes
from harness.segmentor.feature_files import FeatureFiles
from harness.segmentor.frozen import FeatureCache, Features, backbone_features


def see_all(
    cache: FeatureCache, makers: dict[str, Callable[[], Features]]
) -> tuple[float, int, dict[str, Features]]:
    """Return processor seconds of an image, private bytes of all, and the features."""
    before, start = private_bytes([os.getpid()])[0], time.process_time()
    found = {key: cache.get(key, make) for key, make in makers.items()}
    seconds = (time.process_time() - start) / len(makers)
    return seconds, private_bytes([os.getpid()])[0] - before, found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, default=Path("streets"))
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--images", type=int, default=40)
    arguments = parser.parse_args()
    set_up_torch("cpu")
    spec = load_spec(arguments.config, data_root=arguments.data_root)
    train, val = open_splits(spec.data)
    model = build_trainer(spec, train, val).assembly.initial(0)
    model = model.to(memory_format=torch.channels_last).eval().requires_grad_(False)
    chosen = list(train.files)[: arguments.images]
    makers = {key: lambda key=key: backbone_features(model, train.photo(key)) for key in chosen}
    backbone_features(model, train.photo(chosen[0]))  # the first time is that of a cold start

    with tempfile.TemporaryDirectory() as folder:
        made_s, made_bytes, made = see_all(FeatureCache(), makers)
        place, most = Path(folder), 1 << 40
        written_s, _, _ = see_all(FeatureCache(files=FeatureFiles(place, most)), makers)
        read_s, read_bytes, read = see_all(FeatureCache(files=FeatureFiles(place, 0)), makers)
        on_disk = sum(file.stat().st_size for file in place.iterdir()) / len(chosen)
    assert all(
        torch.equal(one, two) and one.stride() == two.stride()
        for key in chosen
        for one, two in zip(made[key], read[key], strict=True)
    )
    images = 2 * len(train.files) + len(val.files)
    print(
        f"an image: made in {1000 * made_s:.2f} ms, made and written in {1000 * written_s:.2f} ms, "
        f"read in {1000 * read_s:.2f} ms: {made_s / read_s:.0f} times faster; {on_disk:.0f} bytes"
    )
    print(
        f"{images} images of the config: made in {images * made_s:.1f} s, read in "
        f"{images * read_s:.1f} s, {images * on_disk / 1e6:.0f} MB"
    )
    print(
        f"memory that a process holds for itself after {len(chosen)} images: "
        f"{made_bytes / 1e6:.1f} MB made, {read_bytes / 1e6:.1f} MB read"
    )


if __name__ == "__main__":
    main()
