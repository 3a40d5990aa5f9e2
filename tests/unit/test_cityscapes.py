import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.clicks import count_clicks
from harness.data.cityscapes import ClickOracle, Split
from harness.data.labels import train_id_table
from harness.errors import InputError
from harness.pool import LabelledPool
from harness.types import Clicks, Region

NO_LIST = shutil.ignore_patterns("pack.json")
"""A copy without the list of its files is data of one's own: a test may change it."""


@pytest.fixture
def copy(pack, tmp_path) -> Path:
    """A pack that a test may damage."""
    return Path(shutil.copytree(pack, tmp_path / "copy", ignore=NO_LIST))


def files(root: Path, pattern: str) -> Path:
    return min(root.rglob(pattern))


def test_reading(train_split):
    image_id = next(iter(train_split.files))
    assert train_split.photo(image_id).shape == (64, 128, 3)
    assert train_split.label_ids(image_id).shape == (64, 128)
    assert np.array_equal(
        train_split.train_ids(image_id), train_id_table()[train_split.label_ids(image_id)]
    )
    assert list(train_split.files) == sorted(train_split.files)


def test_totals_are_the_sum_over_whole_images(train_split):
    whole = Clicks()
    for image_id, (height, width) in train_split.index.sizes.items():
        document = json.loads(train_split.files[image_id].polygons.read_text())
        whole += count_clicks(
            [item["polygon"] for item in document["objects"]],
            train_split.label_ids(image_id),
            Region(image_id, 0, 0, height, width),
        )
    assert (train_split.index.totals.polygon, train_split.index.totals.classes) == (
        whole.polygon,
        whole.classes,
    )
    assert whole.intersection == whole.box == 0


def test_the_index_is_read_back_and_renewed_after_a_change(copy, tmp_path):
    first = Split(copy, "train", tmp_path / "cache").index
    assert Split(copy, "train", tmp_path / "cache").index == first
    photo = files(copy / "leftImg8bit" / "train", "*.png")
    pixels = np.asarray(Image.open(photo)).copy()
    pixels[0, 0] ^= 1
    Image.fromarray(pixels).save(photo)
    assert Split(copy, "train", tmp_path / "cache").index.fingerprint != first.fingerprint


def test_a_damaged_index_is_made_again(copy, tmp_path):
    first = Split(copy, "train", tmp_path / "cache").index
    next((tmp_path / "cache" / "indices").iterdir()).write_text('{"version": 1')
    assert Split(copy, "train", tmp_path / "cache").index == first


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: shutil.rmtree(root / "leftImg8bit" / "train"), "no folder leftImg8bit/train"),
        (lambda root: [path.unlink() for path in (root / "leftImg8bit" / "train").rglob("*.png")], "no image in leftImg8bit/train"),
        (lambda root: files(root / "gtFine" / "train", "*labelIds.png").unlink(), "is missing"),
        (lambda root: files(root / "gtFine" / "train", "*polygons.json").unlink(), "is missing"),
        (lambda root: files(root / "gtFine" / "train", "*polygons.json").write_text("{"), "cannot be read as JSON"),
        (lambda root: files(root / "gtFine" / "train", "*polygons.json").write_text("[]"), "not a polygon file"),
        (lambda root: files(root / "gtFine" / "train", "*polygons.json").write_text('{"imgHeight": 64, "imgWidth": 128, "objects": [{"label": "car", "polygon": [[1]]}]}'), "not a polygon file"),
        (lambda root: files(root / "gtFine" / "train", "*polygons.json").write_text('{"imgHeight": 65, "imgWidth": 128, "objects": []}'), "must have the size of its image, 64x128, got 65x128"),
        (lambda root: files(root / "gtFine" / "train", "*labelIds.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish"), "cannot be read as an image"),
        (lambda root: files(root / "leftImg8bit" / "train", "*.png").write_bytes(b""), "cannot be read as an image"),
        (lambda root: Image.new("L", (5, 4)).save(files(root / "gtFine" / "train", "*labelIds.png")), "must have the size of its image, 64x128, got 4x5"),
    ],
)  # fmt: skip
def test_bad_data_gets_one_line_that_names_the_file(copy, tmp_path, damage, message):
    damage(copy)
    with pytest.raises(InputError, match=message) as caught:
        _ = Split(copy, "train", tmp_path / "cache").index
    assert "\n" not in str(caught.value)
    assert str(copy) in str(caught.value)
    assert not list((tmp_path / "cache").rglob("*.*"))


def test_the_oracle_bills_what_is_new(train_split):
    oracle = ClickOracle(train_split)
    image_id = next(iter(train_split.files))
    pool = LabelledPool(train_split.index.sizes)
    region = Region(image_id, 8, 16, 32, 32)
    (first,) = oracle.annotate([region], pool)
    document = json.loads(train_split.files[image_id].polygons.read_text())
    assert first.clicks == count_clicks(
        [item["polygon"] for item in document["objects"]], train_split.label_ids(image_id), region
    )
    assert first.is_new.all()
    assert np.array_equal(first.labels, train_split.train_ids(image_id)[region.slices])
    pool.add([first])
    (second,) = oracle.annotate([region], pool)
    assert not second.is_new.any()
    assert second.clicks.polygon == 0


def test_pixels_asked_for_twice_in_one_query_are_billed_once(train_split):
    image_id = next(iter(train_split.files))
    pool = LabelledPool(train_split.index.sizes)
    whole, part = Region(image_id, 0, 0, 64, 128), Region(image_id, 0, 0, 16, 16)
    first, second = ClickOracle(train_split).annotate([whole, part], pool)
    assert (int(first.is_new.sum()), int(second.is_new.sum()), second.clicks.polygon) == (
        64 * 128,
        0,
        0,
    )


def test_the_click_map_adds_up_to_the_total(train_split):
    oracle = ClickOracle(train_split)
    assert (
        sum(int(oracle.click_map(image_id).sum()) for image_id in train_split.files)
        == oracle.totals.polygon
    )


def test_photographs_in_memory_are_bounded(train_split, monkeypatch):
    split = Split(train_split.root, "train", train_split.cache)
    monkeypatch.setattr("harness.data.cityscapes._PHOTO_MEMORY_BYTES", 2 * 64 * 128 * 3)
    monkeypatch.setitem(split.__dict__, "_decoded", None)
    for image_id in split.files:
        split.photo(image_id)
    assert len(split._photos) == 2
