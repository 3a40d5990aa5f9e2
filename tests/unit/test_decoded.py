import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.data.cityscapes import Split
from harness.data.decoded import DecodedCache, make_room

NO_LIST = shutil.ignore_patterns("pack.json")
"""A copy without the list of its files is data of one's own: a test may change it."""


@pytest.fixture
def split(pack, tmp_path) -> Split:
    return Split(
        Path(shutil.copytree(pack, tmp_path / "pack", ignore=NO_LIST)), "train", tmp_path / "cache"
    )


def test_the_cache_holds_the_same_bytes_as_the_files(split):
    assert split.index.decoded is not None
    for image_id in split.files:
        assert np.array_equal(split.photo(image_id), split.decode_photo(image_id))
        assert np.array_equal(split.label_ids(image_id), split.decode_label_ids(image_id))
        assert np.array_equal(split.vertices(image_id), split.decode_vertices(image_id))
    assert not split.photo(image_id).flags.writeable


def test_a_second_reader_shares_the_files(split):
    first = split.index
    again = Split(split.root, "train", split.cache)
    assert again.index == first
    assert isinstance(again.photo(next(iter(again.files))).base, np.memmap)


@pytest.mark.parametrize("name", DecodedCache.FILES)
def test_a_damaged_cache_never_gives_wrong_bytes_and_is_built_again(split, name):
    folder = split.index.decoded
    data = bytearray((folder / name).read_bytes())
    for position in range(0, len(data), 50):
        data[position] ^= 1
    (folder / name).write_bytes(data)
    reader = Split(split.root, "train", split.cache)
    for image_id in reader.files:
        assert np.array_equal(reader.photo(image_id), reader.decode_photo(image_id))
        assert np.array_equal(reader.label_ids(image_id), reader.decode_label_ids(image_id))
        assert np.array_equal(reader.vertices(image_id), reader.decode_vertices(image_id))
    rebuilt = Split(split.root, "train", split.cache)
    assert DecodedCache.open(rebuilt.index.decoded) is not None
    assert np.array_equal(rebuilt.photo(image_id), rebuilt.decode_photo(image_id))


@pytest.mark.parametrize("name", [*DecodedCache.FILES, "catalogue.json"])
def test_a_truncated_or_missing_part_is_noticed(split, name):
    folder = split.index.decoded
    (folder / name).write_bytes((folder / name).read_bytes()[:-3])
    assert DecodedCache.open(folder) is None
    assert Split(split.root, "train", split.cache).index.decoded is not None
    (folder / name).unlink()
    assert DecodedCache.open(folder) is None


def test_the_limit_is_kept(split, monkeypatch):
    monkeypatch.setenv("HARNESS_CACHE_GIB", "0")
    assert split.index.decoded is None
    image_id = next(iter(split.files))
    assert np.array_equal(split.photo(image_id), split.decode_photo(image_id))


def test_the_least_recently_used_cache_makes_room(split, monkeypatch):
    folder = split.index.decoded
    size = sum(file.stat().st_size for file in folder.iterdir())
    monkeypatch.setenv("HARNESS_CACHE_GIB", str(1.5 * size / (1 << 30)))
    assert make_room(folder.parent, size)
    assert not folder.exists()
    assert not make_room(folder.parent, 2 * size)


def test_nothing_half_written_stays_when_a_file_is_broken(split):
    next(iter(split.files.values())).photo.write_bytes(b"broken")
    index, problems = split.check()
    assert index is None
    assert len(problems) == 1
    assert not list(split.cache.rglob("*.raw"))


def test_every_problem_is_listed(split):
    files = list(split.files.values())
    files[0].photo.write_bytes(b"broken")
    files[1].polygons.write_text("{")
    shutil.copy(files[3].polygons, files[2].polygons)
    _, problems = split.check()
    assert len(problems) == 3
    assert "cannot be read as an image" in problems[0]
    assert "cannot be read as JSON" in problems[1]
    assert "its polygons must be the labels of" in problems[2]


def test_the_fingerprint_is_pinned(tmp_path):
    """It stands in every run file: if its definition changes, published boards can no longer be resumed."""
    images, annotations = tmp_path / "leftImg8bit/train/town", tmp_path / "gtFine/train/town"
    images.mkdir(parents=True)
    annotations.mkdir(parents=True)
    Image.fromarray(np.full((4, 6, 3), 90, np.uint8)).save(
        images / "town_000000_000019_leftImg8bit.png"
    )
    Image.fromarray(np.full((4, 6), 7, np.uint8)).save(
        annotations / "town_000000_000019_gtFine_labelIds.png"
    )
    document = {
        "imgWidth": 6,
        "imgHeight": 4,
        "objects": [{"label": "road", "polygon": [[0, 0], [6, 0], [6, 4], [0, 4]]}],
    }
    (annotations / "town_000000_000019_gtFine_polygons.json").write_text(
        json.dumps(document, indent=3)
    )
    assert (
        Split(tmp_path, "train", tmp_path / "cache").index.fingerprint
        == "01652197d1970ce387a04fed8fdc8a85fe7b387db116804a6539e22e7c045946"
    )


def test_label_train_ids_are_used_where_they_are(split):
    image_id, files = next(iter(split.files.items()))
    before = split.index.fingerprint
    given = split.train_ids(image_id).copy()
    given[:3, :3] = 3  # a little may differ from the label ids
    Image.fromarray(given).save(files.train_ids)
    reader = Split(split.root, "train", split.cache)
    assert np.array_equal(reader.train_ids(image_id), given)
    assert reader.index.fingerprint != before
