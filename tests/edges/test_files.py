"""Which files of a folder are the data: what is passed over is counted and said, what clashes is refused."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from harness.config import load_spec
from harness.data.source import find_splits, open_splits, remarks
from harness.errors import InputError
from tests.edges.conftest import masks_config

NO_LIST = shutil.ignore_patterns("pack.json")
"""A copy without the list of its files is data of one's own: a test may change it."""


def data_of(folder, extra=""):
    return load_spec(masks_config(folder, extra=extra)).data


def problems_of(folder, extra=""):
    train, val = find_splits(data_of(folder, extra))
    return [*train.check()[1], *val.check()[1]]


def rename(folder, change):
    for path in sorted(folder.rglob("*.png")):
        path.rename(path.with_name(change(path.name)))


def test_suffixes_in_capitals_are_read_on_both_sides(masks, tmp_path, cache):
    before = open_splits(data_of(tmp_path))[0].index.fingerprint
    rename(masks / "images", lambda name: name.replace(".png", ".PNG"))
    rename(masks / "labels", lambda name: name.replace(".png", ".Png"))
    assert open_splits(data_of(tmp_path))[0].index.fingerprint == before


def test_sub_folders_are_read_and_ids_tell_them_apart(masks, tmp_path, cache):
    for kind in ("images", "labels"):
        for number in (0, 1):
            site = masks / kind / "train" / f"site{number}"
            site.mkdir()
            (masks / kind / "train" / f"train_{number}.png").rename(site / "a.png")
    train, _ = open_splits(data_of(tmp_path))
    assert list(train.files) == ["site0__a", "site1__a", "train_2", "train_3"]
    assert not np.array_equal(train.train_ids("site0__a"), train.train_ids("site1__a"))


def test_a_mask_in_another_sub_folder_is_not_its_mask(masks, tmp_path, cache):
    (masks / "labels/train/site").mkdir()
    (masks / "labels/train/train_0.png").rename(masks / "labels/train/site/train_0.png")
    said = problems_of(tmp_path)
    assert len(said) == 1
    assert "train_0.png is missing" in said[0]


def test_every_problem_of_every_file_is_listed(masks, tmp_path, cache):
    """A missing mask hides nothing of what is wrong with the others."""
    (masks / "labels/train/train_0.png").unlink()
    (masks / "images/train/train_1.png").write_bytes(b"x")
    Image.new("RGB", (96, 64)).save(masks / "labels/train/train_1.png")
    Image.new("L", (9, 9)).save(masks / "labels/train/train_2.png")
    (masks / "labels/val/val_0.png").unlink()
    said = problems_of(tmp_path)
    assert len(said) == 5
    for part in ("train_0.png is missing", "9x9", "3 channels", "val_0.png is missing"):
        assert any(part in line for line in said), part
    with pytest.raises(InputError, match=r"\(and 3 more; harness data check lists them\)"):
        open_splits(data_of(tmp_path))


def test_two_photographs_of_one_name_are_refused(masks, tmp_path, cache):
    shutil.copy(masks / "images/train/train_0.png", masks / "images/train/train_0.JPG")
    (said,) = problems_of(tmp_path)
    assert "train_0.JPG" in said
    assert "train_0.png" in said


def test_two_masks_of_one_image_are_refused(masks, tmp_path, cache):
    shutil.copy(masks / "labels/train/train_0.png", masks / "labels/train/train_0.tif")
    assert "must have one label image" in problems_of(tmp_path)[0]


def test_a_folder_cannot_stand_for_a_separator(masks, tmp_path, cache):
    """a__b.png beside a/b.png: their ids would be one."""
    (masks / "images/train/a").mkdir()
    shutil.copy(masks / "images/train/train_0.png", masks / "images/train/a/b.png")
    shutil.copy(masks / "images/train/train_0.png", masks / "images/train/a__b.png")
    assert any("must not share a name" in line for line in problems_of(tmp_path))


def test_what_is_passed_over_is_counted_and_said(masks, tmp_path, cache):
    (masks / "images/train/._train_0.png").write_bytes(b"Mac OS X")
    (masks / "images/train/.thumbs").mkdir()
    (masks / "images/train/.thumbs/a.png").write_bytes(b"x")
    for name in ("Thumbs.db", "photo.heic", "notes.txt"):
        (masks / "images/train" / name).write_bytes(b"x")
    shutil.copy(masks / "labels/train/train_0.png", masks / "labels/train/gone.png")
    train, val = open_splits(data_of(tmp_path))
    assert len(train.files) == 4
    said = remarks(train, val)
    assert any(
        "3 files that are no photographs are passed over, such as Thumbs.db" in s for s in said
    )
    assert any("2 hidden files are passed over" in line for line in said)
    assert any("1 label images without a photograph" in s and "gone.png" in s for s in said)


def test_a_file_pattern_finds_masks_by_their_own_names(masks, tmp_path, cache):
    before = open_splits(data_of(tmp_path))[0].index.fingerprint
    rename(masks / "labels", lambda name: name.replace(".png", "_L.png"))
    said = problems_of(tmp_path)
    assert "train_0.png is missing" in said[0]
    pattern = "data['labels'] = 'labels/{split}/{stem}_L.png'"
    assert open_splits(data_of(tmp_path, pattern))[0].index.fingerprint == before


def test_lists_name_the_images_of_a_split(masks, tmp_path, cache):
    for kind in ("images", "labels"):
        for path in sorted((masks / kind).rglob("*.png")):
            path.rename(masks / kind / path.name)
    (masks / "train.txt").write_text("train_0\ntrain_2.png\n\n")
    (masks / "val.txt").write_text("val_0\n")
    lists = "data.update(images='images', labels='labels', lists='{split}.txt')"
    train, val = open_splits(data_of(tmp_path, lists))
    assert (list(train.files), list(val.files)) == (["train_0", "train_2"], ["val_0"])
    assert any("4 photographs are not in the list" in line for line in train.passed_over)
    (masks / "train.txt").write_text("train_0\ntrain_0\nnobody\n")
    said = problems_of(tmp_path, lists)
    assert "train.txt:2: 'train_0' must stand in the list once" in said[0]
    assert "train.txt:3: no photograph is called 'nobody'" in said[1]
    (masks / "val.txt").write_text("\n")
    with pytest.raises(InputError, match="must name an image a line"):
        find_splits(data_of(tmp_path, lists))
    (masks / "val.txt").unlink()
    with pytest.raises(InputError, match=r"val\.txt: must be a text file"):
        find_splits(data_of(tmp_path, lists))


def test_train_and_val_must_not_be_the_same_files(masks, tmp_path, cache):
    shutil.copytree(masks / "images/train", masks / "images/all")
    shutil.copytree(masks / "labels/train", masks / "labels/all")
    same = "data.update(images='images/all', labels='labels/all')"
    with pytest.raises(InputError, match="train and val must not share an image, got 4 in both"):
        open_splits(data_of(tmp_path, same))


def test_a_photograph_in_both_splits_is_said(masks, tmp_path, cache):
    for kind in ("images", "labels"):
        shutil.copy(masks / kind / "train/train_1.png", masks / kind / "val/other.png")
    said = remarks(*open_splits(data_of(tmp_path)))
    assert any(
        "1 photographs are in train and in val, such as train_1 and other" in s for s in said
    )


def test_a_class_that_one_split_lacks_is_said(masks, tmp_path, cache):
    for path in (masks / "labels/val").glob("*.png"):
        values = np.array(Image.open(path))
        Image.fromarray(np.where(values == 2, 0, values).astype(np.uint8)).save(path)
    said = remarks(*open_splits(data_of(tmp_path)))
    assert "val holds no pixel of the class vessel" in said


@pytest.mark.skipif(os.name != "posix", reason="names of bytes")
@pytest.mark.parametrize("name", [b"caf\xe9.png", b"line\nbreak.png", b"bell\x07.png"])
def test_names_that_cannot_be_shown_are_one_line(masks, tmp_path, cache, name):
    shutil.copy(
        masks / "images/train/train_0.png", os.fsencode(masks / "images/train") + b"/" + name
    )
    said = problems_of(tmp_path)
    assert "a file name must be printable" in said[0]
    assert "\n" not in said[0]
    said[0].encode("ascii")


@pytest.mark.skipif(os.name != "posix", reason="names of bytes")
@pytest.mark.parametrize("name", [b"caf\xe9", b"line\nbreak", b"bell\x07"])
def test_folders_that_cannot_be_shown_are_one_line(masks, tmp_path, cache, name):
    place = os.fsencode(masks / "images/train") + b"/" + name
    os.mkdir(place)
    (masks / "images/train/train_0.png").rename(os.fsdecode(place + b"/train_0.png"))
    said = problems_of(tmp_path)
    assert "a file name must be printable" in said[0]
    assert "\n" not in said[0]
    said[0].encode("ascii")


@pytest.mark.skipif(os.name != "posix", reason="names of bytes")
@pytest.mark.parametrize("name", [b"caf\xe9", b"line\nbreak"])
def test_a_root_that_cannot_be_shown_is_one_line(masks, tmp_path, cache, name):
    root = os.fsdecode(os.fsencode(tmp_path) + b"/" + name)
    masks.rename(root)
    data = data_of(tmp_path).model_copy(update={"root": root})
    with pytest.raises(InputError, match=r"data root .*: its name must be printable") as caught:
        find_splits(data)
    str(caught.value).encode("ascii")


def closed(monkeypatch, place):
    """Let nobody list a folder: root may list every one."""
    scan = os.scandir

    def listed(path="."):
        if str(path) == str(place):
            raise PermissionError(13, "Permission denied", str(place))
        return scan(path)

    monkeypatch.setattr(os, "scandir", listed)


@pytest.mark.parametrize("kind", ["images", "labels"])
def test_a_folder_that_cannot_be_listed_is_refused(masks, tmp_path, cache, monkeypatch, kind):
    """Half of the data without a word would be another data set."""
    (masks / kind / "train/site").mkdir()
    closed(monkeypatch, masks / kind / "train/site")
    with pytest.raises(InputError, match=r"train/site: a folder of data must be listable, got Per"):
        find_splits(data_of(tmp_path))


def test_a_hidden_folder_that_cannot_be_listed_is_passed_over(masks, tmp_path, cache, monkeypatch):
    (masks / "images/train/.trash").mkdir()
    closed(monkeypatch, masks / "images/train/.trash")
    assert len(find_splits(data_of(tmp_path))[0].files) == 4


def test_a_link_to_nothing_is_refused_whatever_it_stood_for(masks, tmp_path, cache):
    (masks / "images/train/site").symlink_to(tmp_path / "gone")
    (said,) = problems_of(tmp_path)
    assert "site: must lead to a file or a folder, got a link to nothing" in said
    (masks / "images/train/site").rename(masks / "images/train/.site")
    assert problems_of(tmp_path) == []


def test_links_that_go_round_end(masks, tmp_path, cache):
    (masks / "images/train/again").symlink_to(masks / "images/train")
    assert len(find_splits(data_of(tmp_path))[0].files) == 4


def test_links_to_nothing_and_pipes_are_no_photographs(masks, tmp_path, cache):
    """Data that were fetched in part: pointers without their files."""
    (masks / "images/train/gone.png").symlink_to("nowhere.png")
    os.mkfifo(masks / "images/train/pipe.jpg")
    said = problems_of(tmp_path)
    assert len(said) == 2
    assert "gone.png: must be a photograph, got a link to nothing" in said[0]
    assert "pipe.jpg: must be a photograph, got no regular file" in said[1]


def test_a_mask_that_is_a_link_to_nothing_is_missing(masks, tmp_path, cache):
    (masks / "labels/train/train_1.png").unlink()
    (masks / "labels/train/train_1.png").symlink_to("nowhere.png")
    (said,) = problems_of(tmp_path)
    assert "train_1.png is missing" in said


# ------------------------------------------------------------------------------- Cityscapes' layout


@pytest.fixture
def city(pack, tmp_path):
    return shutil.copytree(pack, tmp_path / "city", ignore=NO_LIST)


def city_data(city):
    file = city.parent / "city.py"
    base = masks_config(city.parent).read_text().split("data = ")[0]
    file.write_text(f"{base}\ndata = dict(_delete_=True, type='cityscapes', root={str(city)!r})\n")
    return load_spec(file).data


def test_photographs_in_the_wrong_depth_are_counted_and_said(city, cache):
    photos = sorted((city / "leftImg8bit/train").rglob("*.png"))
    deep = photos[0].parent / "deep"
    deep.mkdir()
    photos[0].rename(deep / photos[0].name)
    photos[1].rename(photos[1].with_suffix(".jpg"))
    train, val = find_splits(city_data(city))
    assert len(train.files) == len(photos) - 2
    said = remarks(train, val)
    assert any("2 files are passed over: not <city>/*_leftImg8bit.png" in line for line in said)
    assert any("2 annotations without a photograph are passed over" in line for line in said)


def test_a_city_that_is_a_link_to_nothing_is_refused(city, cache):
    (city / "leftImg8bit/train/gone").symlink_to("nowhere")
    (said,) = find_splits(city_data(city))[0].check()[1]
    assert "gone: must lead to a file or a folder, got a link to nothing" in said


def test_one_name_in_two_cities_is_refused(city, cache):
    photo = min((city / "leftImg8bit/train").rglob("*.png"))
    other = city / "leftImg8bit/train/other"
    other.mkdir()
    shutil.copy(photo, other / photo.name)
    assert any("must not share a name" in s for s in find_splits(city_data(city))[0].check()[1])


def test_label_ids_outside_the_table_are_refused(city, cache):
    file = min((city / "gtFine/val").rglob("*labelIds.png"))
    values = np.array(Image.open(file))
    values[:3] = 77
    Image.fromarray(values).save(file)
    with pytest.raises(
        InputError, match=r"labelIds of val must hold 0 to 33, got 77 on 1\.17 % of"
    ):
        open_splits(city_data(city))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda values: np.where(values == 255, 19, values),
            "must be 0 to 18, or 255 for void, got 19",
        ),
        (lambda values: values[::2, ::2], "must have the size of its image, 64x128, got 32x64"),
        (lambda values: np.dstack([values] * 3), "got 3 channels"),
    ],
)
def test_train_ids_that_are_there_are_checked_like_every_label(city, cache, change, said):
    from harness.data.labels import train_id_table

    for file in (city / "gtFine").rglob("*labelIds.png"):
        values = train_id_table()[np.array(Image.open(file))]
        made = Image.fromarray(np.ascontiguousarray(change(values)).astype(np.uint8))
        made.save(str(file).replace("labelIds", "labelTrainIds"))
    with pytest.raises(InputError) as caught:
        open_splits(city_data(city))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda ids: np.where(ids == 255, 255, (ids + 1) % 19),
        lambda ids: ids[:, ::-1],
        lambda ids: np.where(ids == 2, 255, ids),
    ],
)
def test_train_ids_that_contradict_label_ids_are_refused(city, cache, change):
    """Made with another class map, or turned."""
    from harness.data.labels import train_id_table

    for file in (city / "gtFine").rglob("*labelIds.png"):
        values = change(train_id_table()[np.array(Image.open(file))])
        made = Image.fromarray(np.ascontiguousarray(values).astype(np.uint8))
        made.save(str(file).replace("labelIds", "labelTrainIds"))
    with pytest.raises(
        InputError, match=r"labelTrainIds\.png: must be the train ids of .*_gtFine_"
    ):
        open_splits(city_data(city))


def test_train_ids_may_differ_along_borders(city, cache):
    """Two programs do not paint a polygon alike."""
    from harness.data.labels import train_id_table

    for file in (city / "gtFine").rglob("*labelIds.png"):
        values = train_id_table()[np.array(Image.open(file))]
        ground = np.flatnonzero(values == 0)[:5]
        values.ravel()[ground] = 1
        Image.fromarray(values).save(str(file).replace("labelIds", "labelTrainIds"))
    open_splits(city_data(city))


def test_train_ids_that_are_right_change_nothing_but_the_fingerprint(city, cache):
    from harness.data.labels import train_id_table

    before, _ = open_splits(city_data(city))
    ids = {key: before.train_ids(key) for key in before.files}
    for file in (city / "gtFine").rglob("*labelIds.png"):
        values = train_id_table()[np.array(Image.open(file))]
        Image.fromarray(values).save(str(file).replace("labelIds", "labelTrainIds"))
    after, _ = open_splits(city_data(city))
    assert all(np.array_equal(after.train_ids(key), ids[key]) for key in ids)


def test_an_old_time_does_not_hide_a_change(city, cache):
    """One digit of a polygon file, the same length, the time of the file put back."""
    before, _ = open_splits(city_data(city))
    first = before.index.fingerprint
    file = min((city / "gtFine/train").rglob("*polygons.json"))
    status = file.stat()
    text = file.read_text()
    at = text.index("polygon") + 30
    at = next(place for place in range(at, len(text)) if text[place].isdigit())
    file.write_text(text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :])
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    after, _ = open_splits(city_data(city))
    assert after.index.fingerprint != first
