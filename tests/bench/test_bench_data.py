"""The oracle and the reader at size: ratios side by side in one run. `make bench-code` prints them."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from harness.clicks import count_all_windows, count_region
from harness.data.cityscapes import Split
from harness.types import Region

HEIGHT, WIDTH, VERTICES, WINDOW = 1024, 2048, 3500, 128
COPIES = 500


@pytest.fixture(scope="module")
def large():
    rng = np.random.default_rng(0)
    labels = np.kron(
        rng.integers(0, 20, (HEIGHT // 32, WIDTH // 32), dtype=np.uint8),
        np.ones((32, 32), np.uint8),
    )
    vertices = np.stack(
        [rng.integers(0, WIDTH, VERTICES), rng.integers(0, HEIGHT, VERTICES)], axis=1
    ).astype(np.int32)
    return vertices, labels


@pytest.mark.benchmark(
    group="clicks of windows of 128 px, 1024 x 2048 px, 3500 vertices: per window"
)
@pytest.mark.parametrize("form", ["all windows at once", "region by region"])
def test_click_maps(benchmark, large, form):
    """Both forms do the same number of windows in the name of one benchmark round: all 897 x 1921, or 50 of them."""
    vertices, labels = large
    maps = count_all_windows(vertices, labels, (WINDOW, WINDOW))
    places = [(17 * step, 37 * step) for step in range(50)]
    singles = [count_region(vertices, labels, Region("a", y, x, WINDOW, WINDOW)) for y, x in places]
    assert [tuple(int(counts[y, x]) for counts in maps) for y, x in places] == [
        (c.polygon, c.intersection, c.box, c.classes) for c in singles
    ]
    benchmark.extra_info["windows"] = (
        maps.polygon.size if form == "all windows at once" else len(places)
    )
    if form == "all windows at once":
        benchmark.pedantic(count_all_windows, args=(vertices, labels, (WINDOW, WINDOW)), rounds=2)
    else:
        benchmark.pedantic(
            lambda: [
                count_region(vertices, labels, Region("a", y, x, WINDOW, WINDOW)) for y, x in places
            ],
            rounds=2,
        )


@pytest.fixture(scope="module")
def many(pack, tmp_path_factory) -> Path:
    """The tiny pack's training images, copied under other names until there are 500."""
    root = tmp_path_factory.mktemp("many")
    sources = sorted((pack / "leftImg8bit" / "train").glob("*/*_leftImg8bit.png"))
    for number in range(COPIES):
        source = sources[number % len(sources)]
        stem = source.name.removesuffix("_leftImg8bit.png")
        for folder, suffixes in (
            ("leftImg8bit", ["_leftImg8bit.png"]),
            ("gtFine", ["_gtFine_labelIds.png", "_gtFine_polygons.json"]),
        ):
            target = root / folder / "train" / "town"
            target.mkdir(parents=True, exist_ok=True)
            for suffix in suffixes:
                shutil.copy(
                    pack / folder / "train" / source.parent.name / f"{stem}{suffix}",
                    target / f"town_{number:06d}_000019{suffix}",
                )
    return root


@pytest.mark.benchmark(group="start with 500 images")
@pytest.mark.parametrize("form", ["indexed before", "first time"])
def test_start(benchmark, many, tmp_path, form):
    expected = Split(many, "train", tmp_path / "kept").index.totals

    def start():
        if form == "first time":
            shutil.rmtree(tmp_path / "kept")
        return Split(many, "train", tmp_path / "kept").index.totals

    assert benchmark.pedantic(start, rounds=2) == expected


@pytest.mark.benchmark(group="reading 500 images, photographs and labels")
@pytest.mark.parametrize("form", ["memory-mapped cache", "decoding"])
def test_reading(benchmark, many, tmp_path, form):
    split = Split(many, "train", tmp_path)
    _ = split.index

    def mapped() -> int:
        return sum(
            int(split.photo(image_id)[0, 0, 0]) + int(split.label_ids(image_id).sum())
            for image_id in split.files
        )

    def decoded() -> int:
        return sum(
            int(split.decode_photo(image_id)[0, 0, 0]) + int(split.decode_label_ids(image_id).sum())
            for image_id in split.files
        )

    assert mapped() == decoded()
    benchmark.pedantic(mapped if form == "memory-mapped cache" else decoded, rounds=3)
