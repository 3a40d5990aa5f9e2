import hashlib
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.data.labels import BY_NAME, CLASS_NAMES, NUM_CLASSES, find_label, train_id_table
from harness.data.streets.pack import PackSpec, generate, make_pack
from harness.data.streets.render import clip_to_frame
from harness.errors import InputError

MANY = PackSpec(height=64, width=128, train=60, val=1, seed=3)


def tree(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_the_label_table():
    assert NUM_CLASSES == 19
    assert CLASS_NAMES[0] == "road"
    assert CLASS_NAMES[18] == "bicycle"
    assert find_label("cargroup") is BY_NAME["car"]
    assert find_label("polegroup").label_id == 18
    assert find_label("spaceship") is None
    table = train_id_table()
    assert (table[7], table[33], table[0], table[4]) == (0, 18, 255, 255)


def test_the_layout_is_cityscapes(pack):
    photo = next((pack / "leftImg8bit" / "train").glob("*/*.png"))
    city = photo.parent.name
    stem = photo.name.removesuffix("_leftImg8bit.png")
    assert stem.startswith(f"{city}_")
    assert [len(part) for part in stem.split("_")[1:]] == [6, 6]
    folder = pack / "gtFine" / "train" / city
    document = json.loads((folder / f"{stem}_gtFine_polygons.json").read_text())
    assert set(document) == {"imgHeight", "imgWidth", "objects"}
    assert (document["imgHeight"], document["imgWidth"]) == (64, 128)
    assert Image.open(folder / f"{stem}_gtFine_labelIds.png").mode == "L"
    assert all(
        set(item) == {"label", "polygon"} and find_label(item["label"])
        for item in document["objects"]
    )


def test_the_same_seed_gives_the_same_bytes(pack, tmp_path):
    again = make_pack(PackSpec(height=64, width=128, train=8, val=4, seed=7), tmp_path / "again")
    assert tree(again) == tree(pack)


def test_another_seed_gives_other_streets(pack, tmp_path):
    other = make_pack(PackSpec(height=64, width=128, train=8, val=4, seed=8), tmp_path / "other")
    assert not set(tree(other).values()) & set(tree(pack).values())


@pytest.fixture(scope="module")
def many():
    return list(generate(MANY, "train"))


def test_all_classes_occur_with_a_long_tail(many):
    counts = np.zeros(256, int)
    for frame in many:
        counts += np.bincount(train_id_table()[frame.label_ids].ravel(), minlength=256)
    shares = np.sort(counts[:NUM_CLASSES] / counts.sum())[::-1]
    assert (counts[:NUM_CLASSES] > 0).all()
    assert shares[0] > 0.2
    assert (shares < 0.01).sum() >= 5


def test_the_oddities_of_real_files_occur(many):
    objects = [(item.label, item.polygon) for frame in many for item in frame.recorded]
    labels = {label for label, _ in objects}
    assert {
        "ego vehicle",
        "out of roi",
        "rectification border",
        "static",
        "dynamic",
        "license plate",
        "cargroup",
    } <= labels
    assert any(x == 128 or y == 64 for _, polygon in objects for x, y in polygon)
    assert any(polygon[0] == polygon[-1] for _, polygon in objects)
    repeated = sum(a == b for _, polygon in objects for a, b in itertools.pairwise(polygon))
    assert 0 < repeated < 0.05 * sum(len(polygon) for _, polygon in objects)
    assert all(0 <= x <= 128 and 0 <= y <= 64 for _, polygon in objects for x, y in polygon)


def test_labels_are_what_the_polygons_say_back_to_front(many):
    frame = many[0]
    last = frame.recorded[-1]
    assert last.label in {"out of roi", "rectification border"}
    x, y = last.polygon[0]
    assert frame.label_ids[min(y, 63), min(x, 127)] == BY_NAME[last.label].label_id


def test_the_same_scene_at_another_resolution():
    small = next(generate(PackSpec(64, 128, 1, 1, seed=5), "train"))
    large = next(generate(PackSpec(128, 256, 1, 1, seed=5), "train"))
    reduced = large.label_ids[::2, ::2]
    assert (reduced == small.label_ids).mean() > 0.9
    assert large.photo.shape == (128, 256, 3)
    assert len(large.recorded) >= len(small.recorded)


def test_redundant_frames_look_alike():
    frames = list(generate(PackSpec(64, 128, 16, 1, seed=5, redundancy=2), "train"))
    assert frames[0].stem.split("_")[1] == frames[1].stem.split("_")[1]
    assert (frames[0].label_ids == frames[1].label_ids).mean() > 0.6
    assert not np.array_equal(frames[0].photo, frames[1].photo)


def test_cities_differ_in_look(many):
    means = {}
    for frame in many:
        means.setdefault(frame.city, []).append(frame.photo.reshape(-1, 3).mean(axis=0))
    per_city = np.array([np.mean(rows, axis=0) for rows in means.values()])
    assert len(means) == 8
    assert per_city.std(axis=0).min() > 2.0


def test_clipping_by_hand():
    square = np.array([[-1.0, 0.5], [1.0, 0.5], [1.0, 2.0], [-1.0, 2.0]])
    clipped = clip_to_frame(square, 2.0)
    assert clipped.min(axis=0).tolist() == [0.0, 0.5]
    assert clipped.max(axis=0).tolist() == [1.0, 1.0]
    assert len(clip_to_frame(square + 5.0, 2.0)) == 0


def test_an_occupied_folder_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="not an empty folder"):
        make_pack(PackSpec(64, 128, 1, 1), tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "keep"


def test_nothing_half_written_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "harness.data.streets.pack.write_frame", lambda *_: (_ for _ in ()).throw(OSError("disk"))
    )
    with pytest.raises(OSError, match="disk"):
        make_pack(PackSpec(64, 128, 1, 1), tmp_path / "pack")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "bad", [{"height": 8}, {"train": 0}, {"seed": -1}, {"height": 64, "width": 63}]
)
def test_bad_parameters_are_refused(bad):
    with pytest.raises(InputError, match="must be"):
        PackSpec(**bad)
