"""A pack or a cache that is not what was written is noticed and made again, never another data set."""

import json
import shutil

import pytest

from harness.blocks import StreetsData
from harness.data.cityscapes import Split
from harness.data.manifest import is_whole
from harness.data.source import open_splits
from harness.data.streets.pack import PackSpec, make_pack
from harness.errors import InputError
from harness.files import cache_folder

DATA = StreetsData(type="streets", height=32, width=64, train=4, val=2, seed=5)


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def change_a_digit(file):
    text = file.read_text()
    at = next(place for place in range(len(text) // 2, len(text)) if text[place].isdigit())
    file.write_text(text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :])


DAMAGE = {
    "a missing photograph": lambda root: min(root.rglob("train/*/*leftImg8bit.png")).unlink(),
    "a missing polygon file": lambda root: min(root.rglob("val/*/*polygons.json")).unlink(),
    "an added photograph": lambda root: shutil.copy(
        min(root.rglob("train/*/*leftImg8bit.png")),
        min(root.rglob("train/*/*leftImg8bit.png")).with_name("x_000000_000019_leftImg8bit.png"),
    ),
    "one digit of a polygon file": lambda root: change_a_digit(min(root.rglob("*polygons.json"))),
    "an empty label image": lambda root: min(root.rglob("*labelIds.png")).write_bytes(b""),
    "another photograph": lambda root: shutil.copy(
        max(root.rglob("train/*/*leftImg8bit.png")), min(root.rglob("train/*/*leftImg8bit.png"))
    ),
    "its own list": lambda root: change_a_digit(root / "pack.json"),
    "a list of an older version": lambda root: (root / "pack.json").write_text(
        '{"pack": "streets"}'
    ),
    "half its list": lambda root: (root / "pack.json").write_bytes(
        (root / "pack.json").read_bytes()[:300]
    ),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_embedded_pack_is_made_again(own_cache, capsys, what):
    train, val = open_splits(DATA)
    wanted = train.index.fingerprint, val.index.fingerprint
    DAMAGE[what](train.root)
    train, val = open_splits(DATA)
    assert (train.index.fingerprint, val.index.fingerprint) == wanted
    assert len(train.files), len(val.files) == (4, 2)
    assert is_whole(train.root)
    said = capsys.readouterr().err
    assert said.count("it is made again") == 1
    assert said.count("\n") == 1
    assert (own_cache / "packs" / f"{train.root.name}.damaged-1").is_dir()  # nothing is deleted


@pytest.mark.parametrize("what", [name for name in DAMAGE if "label" not in name])
def test_a_damaged_pack_of_ones_own_is_refused(tmp_path, own_cache, what):
    root = make_pack(PackSpec(height=32, width=64, train=4, val=2, seed=5), tmp_path / "pack")
    DAMAGE[what](root)
    said = [line for name in ("train", "val") for line in Split(root, name, own_cache).check()[1]]
    assert said
    assert all("\n" not in line and str(root) in line for line in said)


def test_a_pack_is_the_same_bytes_as_before_its_list(tmp_path):
    """The list came later: what a board reads did not change."""
    spec = PackSpec(height=32, width=64, train=2, val=1, seed=5)
    root = make_pack(spec, tmp_path / "pack")
    listed = json.loads((root / "pack.json").read_text().rpartition("}")[0] + "}")["files"]
    assert len(listed) == 9
    assert make_pack(spec, tmp_path / "again").joinpath("pack.json").read_bytes() == (
        (root / "pack.json").read_bytes()
    )


@pytest.mark.parametrize(
    "pattern", ["indices/*.json", "decoded/*/catalogue.json", "decoded/*/*.raw"]
)
@pytest.mark.parametrize("cut", [False, True])
def test_a_damaged_cache_is_noticed_or_without_effect(own_cache, capsys, pattern, cut):
    train, _ = open_splits(DATA)
    image_id = next(iter(train.files))
    wanted = train.index, train.photo(image_id).tobytes(), train.vertices(image_id).tobytes()
    for file in own_cache.glob(pattern):
        content = bytearray(file.read_bytes())
        for place in range(20, len(content), max(1, len(content) // 50)):
            content[place] ^= 1
        file.write_bytes(content[: len(content) // 2] if cut else content)
    train, _ = open_splits(DATA)
    found = train.index, train.photo(image_id).tobytes(), train.vertices(image_id).tobytes()
    assert found[0].fingerprint == wanted[0].fingerprint
    assert found[0].totals == wanted[0].totals
    assert found[1:] == wanted[1:]


def test_a_changed_number_in_an_index_is_not_believed(own_cache):
    train, _ = open_splits(DATA)
    wanted = train.index.totals
    for file in (own_cache / "indices").iterdir():
        file.write_text(file.read_text().replace(f'"polygon": {wanted.polygon}', '"polygon": 1'))
    assert open_splits(DATA)[0].index.totals == wanted


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "abc", "1e999", "64GB"])
def test_a_limit_of_the_cache_that_is_none_is_one_line(own_cache, monkeypatch, value):
    monkeypatch.setenv("HARNESS_CACHE_GIB", value)
    with pytest.raises(InputError, match="HARNESS_CACHE_GIB must be from 0 to"):
        open_splits(DATA)


def test_a_cache_that_is_a_file_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("x")
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    with pytest.raises(InputError, match="must be a folder that can be written"):
        cache_folder()
