import numpy as np
import pytest
from PIL import Image

from harness.clicks import count_region
from harness.data.cityscapes import ClickOracle
from harness.data.masks import MaskLayout, MaskSplit, calibrate, simulate_clicks
from harness.errors import InputError
from harness.pool import LabelledPool
from harness.types import Region

LAYOUT = MaskLayout(
    images="images/{split}",
    labels="labels/{split}",
    classes={0: "ground", 5: "thing", 6: "thing", 9: "sky"},
)


@pytest.fixture
def root(tmp_path):
    for split in ("train", "val"):
        (tmp_path / "images" / split).mkdir(parents=True)
        (tmp_path / "labels" / split).mkdir(parents=True)
        for number in range(3):
            labels = np.zeros((40, 60), np.uint8)
            labels[:10] = 9
            labels[15:25, 10 + number : 30] = 5 if number else 6
            labels[30:33, 40:44] = 200
            Image.fromarray(np.stack([labels * 9] * 3, axis=-1)).save(
                tmp_path / "images" / split / f"{number}.jpg"
            )
            Image.fromarray(labels).save(tmp_path / "labels" / split / f"{number}.png")
    return tmp_path


def test_a_square_takes_four_clicks():
    labels = np.zeros((20, 20), np.uint8)
    labels[5:12, 5:15] = 1
    corners = {tuple(vertex) for vertex in simulate_clicks(labels, 1.0).tolist()}
    assert {(5, 5), (14, 5), (14, 11), (5, 11)} <= corners
    assert corners - {(5, 5), (14, 5), (14, 11), (5, 11)} == {(0, 0), (19, 0), (19, 19), (0, 19)}


def test_a_border_between_two_objects_is_clicked_once():
    labels = np.zeros((20, 30), np.uint8)
    labels[:, 10:] = 1
    vertices = simulate_clicks(labels, 1.0)
    # the smaller one, on the left, takes its four corners; the larger one only those away from the shared border
    assert sorted(map(tuple, vertices.tolist())) == [
        (0, 0),
        (0, 19),
        (9, 0),
        (9, 19),
        (29, 0),
        (29, 19),
    ]


def test_holes_are_not_traced_but_what_fills_them_is():
    ring = np.zeros((30, 30), np.uint8)
    ring[5:25, 5:25] = 1
    ring[12:18, 12:18] = 2
    inside = simulate_clicks(ring, 1.0)
    middle = inside[((inside >= 10) & (inside <= 20)).all(axis=1)]
    assert len(middle) == 4


def test_a_larger_tolerance_takes_fewer_clicks():
    rows, cols = np.mgrid[0:60, 0:60]
    disc = ((rows - 30) ** 2 + (cols - 30) ** 2 < 400).astype(np.uint8)
    counts = [len(simulate_clicks(disc, tolerance)) for tolerance in (0.5, 1.0, 3.0)]
    assert counts[0] > counts[1] > counts[2] >= 6


def test_a_folder_of_masks_is_a_pool(root, tmp_path):
    split = MaskSplit(root, "train", tmp_path / "cache", LAYOUT)
    assert split.class_names == ("ground", "thing", "sky")
    assert split.simulated_clicks
    assert list(split.index.sizes.values()) == [(40, 60)] * 3
    assert set(np.unique(split.train_ids("0"))) == {0, 1, 2, 255}
    pool = LabelledPool(split.index.sizes)
    region = Region("1", 10, 5, 20, 30)
    (annotation,) = ClickOracle(split).annotate([region], pool)
    assert annotation.clicks == count_region(split.vertices("1"), split.label_ids("1"), region)
    assert annotation.clicks.polygon >= 4


def test_problems_are_named(root, tmp_path):
    (root / "labels" / "train" / "1.png").unlink()
    with pytest.raises(InputError, match=r"1\.jpg: its annotation .*1\.png is missing"):
        _ = MaskSplit(root, "train", tmp_path / "cache", LAYOUT).index
    with pytest.raises(InputError, match="must hold the folder"):
        MaskSplit(root, "test", tmp_path / "cache", LAYOUT)


def test_the_default_tolerance_is_the_best_on_the_embedded_pack(train_split):
    rows = {row.tolerance_px: row for row in calibrate(train_split, (0.5, 1.0, 3.0), 16)}
    assert rows[1.0].correlation == max(row.correlation for row in rows.values())
    assert all(0 < row.ratio < 1 for row in rows.values())
