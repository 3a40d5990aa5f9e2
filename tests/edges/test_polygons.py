"""Polygons of LabelMe, COCO and CVAT: the same drawing in each tool's own format is the same data."""

import importlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.config import load_spec
from harness.data.cityscapes import ClickOracle
from harness.data.polygons import PolygonLayout, PolygonSplit, read_coco, read_cvat, read_labelme
from harness.data.source import find_splits, open_splits, register_dataset, remarks
from harness.errors import InputError
from harness.pool import LabelledPool
from harness.types import Region

SIZE = (48, 64)
SHAPES = [
    ("cell", [[4.0, 4.0], [30.5, 6.0], [28.0, 30.0], [5.0, 25.0]]),
    ("vessel", [[20.0, 20.0], [60.0, 22.0], [40.0, 44.0]]),
    ("dirt", [[50.0, 2.0], [62.0, 2.0], [62.0, 10.0], [50.0, 10.0]]),
]


def labelme(name):
    return {
        "version": "5.4.1",
        "flags": {},
        "shapes": [
            {"label": label, "points": points, "group_id": None, "shape_type": "polygon"}
            for label, points in SHAPES
        ],
        "imagePath": f"{name}.png",
        "imageData": None,
        "imageHeight": SIZE[0],
        "imageWidth": SIZE[1],
    }


def coco(names):
    kinds = ["cell", "vessel", "dirt"]
    return {
        "info": {"description": "toy"},
        "categories": [{"id": 10 + n, "name": kind} for n, kind in enumerate(kinds)],
        "images": [
            {"id": n, "file_name": f"{name}.png", "height": SIZE[0], "width": SIZE[1]}
            for n, name in enumerate(names)
        ],
        "annotations": [
            {
                "id": 100 * n + k,
                "image_id": n,
                "category_id": 10 + kinds.index(label),
                "iscrowd": 0,
                "segmentation": [[x for point in points for x in point]],
            }
            for n in range(len(names))
            for k, (label, points) in enumerate(SHAPES)
        ],
    }


def cvat(names):
    images = []
    for n, name in enumerate(names):
        shapes = "".join(
            f'<polygon label="{label}" source="manual" occluded="0" z_order="0" points="'
            + ";".join(f"{x:.2f},{y:.2f}" for x, y in points)
            + '"></polygon>'
            for label, points in SHAPES
        )
        images.append(
            f'<image id="{n}" name="{name}.png" width="{SIZE[1]}" height="{SIZE[0]}">{shapes}</image>'
        )
    return (
        '<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version>'
        + "".join(images)
        + "</annotations>"
    )


def write(root: Path, kind: str) -> Path:
    for number, split in enumerate(("train", "val")):
        names = [f"{split}_{n}" for n in range(3)]
        (root / "images" / split).mkdir(parents=True)
        for n, name in enumerate(names):
            pixels = np.random.default_rng([number, n]).integers(
                256, size=(*SIZE, 3), dtype=np.uint8
            )
            Image.fromarray(pixels).save(root / "images" / split / f"{name}.png")
        if kind == "labelme":
            (root / "marks" / split).mkdir(parents=True)
            for name in names:
                (root / "marks" / split / f"{name}.json").write_text(json.dumps(labelme(name)))
        elif kind == "coco":
            (root / f"marks_{split}.json").write_text(json.dumps(coco(names)))
        else:
            (root / f"marks_{split}.xml").write_text(cvat(names))
    place = {
        "labelme": "marks/{split}",
        "coco": "marks_{split}.json",
        "cvat": "marks_{split}.xml",
    }[kind]
    file = root / "mine.py"
    file.write_text(
        '_base_ = ["harness::streets_standard.py"]\n'
        f'data = dict(_delete_=True, type="polygons", format="{kind}", root=".", '
        f'images="images/{{split}}", annotations="{place}", classes=["cell", "vessel"], '
        'background="tissue")\n'
        "model = dict(decode_head=dict(_delete_=True, type='FCN8sHead', in_channels=[16, 32, 32], "
        "channels=16))\n"
        "training = dict(steps=2, steps_per_image=0, max_steps=2, crop=(32, 32))\n"
        "cost_model = dict(steps=2)\n"
        "harness = dict(window=16, stride=8, seed_images=1, images_per_round=1, rounds=1, "
        "committee=2, seeds=[0])\n"
    )
    return file


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("kind", ["labelme", "coco", "cvat"])
def test_every_format_gives_the_same_labels_and_every_recorded_click(tmp_path, kind):
    train, val = open_splits(load_spec(write(tmp_path / kind, kind)).data)
    assert train.class_names == ("tissue", "cell", "vessel")
    assert not train.simulated_clicks
    assert len(train.files) == len(val.files) == 3
    image_id = next(iter(train.files))
    labels = train.train_ids(image_id)
    assert labels[15, 12] == 1
    assert labels[25, 25] == 2  # the later shape is in front
    assert labels[5, 55] == 255  # dirt is no class: void
    assert labels[45, 2] == 0
    assert len(train.vertices(image_id)) == 4 + 3 + 4  # void and hidden vertices were clicked too
    assert train.index.totals.polygon == 3 * 11
    oracle = ClickOracle(train)
    (answer,) = oracle.annotate([Region(image_id, 0, 0, *SIZE)], LabelledPool(train.index.sizes))
    assert answer.clicks.polygon == 11
    (part,) = oracle.annotate([Region(image_id, 0, 0, 16, 32)], LabelledPool(train.index.sizes))
    assert part.clicks.polygon == 2  # (4, 4) and (30.5, 6)


def test_all_formats_are_one_data_set(tmp_path):
    digests = set()
    for kind in ("labelme", "coco", "cvat"):
        train, _ = open_splits(load_spec(write(tmp_path / kind, kind)).data)
        digests.add(train.index.fingerprint)
    assert len(digests) == 1


BROKEN = {
    "a circle": (
        "labelme",
        lambda d: d["shapes"][0].update(shape_type="circle"),
        "must be a polygon or a rectangle",
    ),
    "no points": ("labelme", lambda d: d["shapes"][0].pop("points"), "is not of this format"),
    "a number that is none": (
        "labelme",
        lambda d: d["shapes"][0]["points"].append([float("nan"), 1.0]),
        "list of finite",
    ),
    "another size": (
        "labelme",
        lambda d: d.update(imageWidth=63),
        "must have the size of its image",
    ),
    "run-length masks": (
        "coco",
        lambda d: d["annotations"][0].update(segmentation={"counts": "x", "size": [1, 1]}),
        "got a run-length mask: nobody clicked it",
    ),
    "an object with its box alone": (
        "coco",
        lambda d: d["annotations"][0].update(segmentation=[], bbox=[2, 2, 8, 8]),
        "must have a polygon, got none: its clicks are not known",
    ),
    "an object with a polygon of nothing": (
        "coco",
        lambda d: d["annotations"][0].update(segmentation=[[]]),
        "must have a vertex, got none: its clicks are not known",
    ),
    "a shape of nothing": (
        "labelme",
        lambda d: d["shapes"][0].update(points=[]),
        "must have a vertex, got none: its clicks are not known",
    ),
    "an image that is not there": ("coco", lambda d: d["images"].pop(0), "must be of an image"),
    "a category that is not there": (
        "coco",
        lambda d: d["annotations"][0].update(category_id=99),
        "is not of this format",
    ),
    "shapes that are no list": ("labelme", lambda d: d.update(shapes={}), "shapes must be a list"),
    "shapes of another photograph": (
        "labelme",
        lambda d: d.update(imagePath="..\\images\\other.png"),
        "imagePath must be the photograph train_",
    ),
    "a label of nothing": (
        "labelme",
        lambda d: d["shapes"][0].update(label=None),
        "must have a label that is a text, got None",
    ),
    "coordinates in words": (
        "labelme",
        lambda d: d["shapes"][0].update(points=[["1", "2"], ["3", "4"], ["5", "1"]]),
        "must be a list of finite (x, y), got",
    ),
    "a vertex far away": (
        "labelme",
        lambda d: d["shapes"][0]["points"].append([3e9, 1.0]),
        "must be within 1000000 px of the origin, got 3e+09",
    ),
    "a size that fits no memory": (
        "labelme",
        lambda d: d.update(imageWidth=2_000_000_000, imageHeight=2_000_000_000),
        "must have the size of its image, 48x64, got 2000000000x2000000000",
    ),
    "annotations that are no list": (
        "coco",
        lambda d: d.update(annotations={}),
        "annotations must be a list",
    ),
    "one id for two images": (
        "coco",
        lambda d: d["images"][1].update(id=0),
        "images must have ids of their own, got 0 twice",
    ),
    "one id for two categories": (
        "coco",
        lambda d: d["categories"][1].update(id=10),
        "categories must have ids of their own, got 10 twice",
    ),
    "true for an image": (
        "coco",
        lambda d: d["annotations"][0].update(image_id=True),
        "image_id must be a whole number or a text, got True",
    ),
    "1.0 for a category": (
        "coco",
        lambda d: d["categories"][0].update(id=1.0),
        "an id of categories must be a whole number or a text, got 1.0",
    ),
    "a category without a name": (
        "coco",
        lambda d: d["categories"][0].update(name=None),
        "category 10 must have a label that is a text, got None",
    ),
    "one name twice": (
        "coco",
        lambda d: d["images"].append(dict(d["images"][0], id=77)),
        "must have names of their own",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_was_not_clicked_or_does_not_fit_is_one_line(tmp_path, what):
    kind, damage, said = BROKEN[what]
    config = write(tmp_path / kind, kind)
    file = next(
        (tmp_path / kind).glob("marks/train/*.json" if kind == "labelme" else "marks_train*")
    )
    document = json.loads(file.read_text())
    damage(document)
    file.write_text(json.dumps(document))
    with pytest.raises(InputError) as caught:
        open_splits(load_spec(config).data)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("<annotations></annotations>", "there is no <image>"),
        ("<annotations><image", "cannot be read"),
        (
            cvat(["train_0"]).replace("<annotations>", '<annotations><track id="0"/>'),
            "got a <track>: that is a video's",
        ),
        (
            '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE a [<!ENTITY x "y">]><annotations/>',
            "without entities",
        ),
        ('<?xml version="1.0" encoding="none-such"?><annotations/>', "marks_train.xml"),
        ('<!DOCTYPE a [<!ENTITY x "y">]><annotations/>', "without entities"),
        (
            cvat(["train_0"]).replace("<polygon", "<mask").replace("</polygon>", "</mask>"),
            "polygon or a box",
        ),
        (cvat(["train_0"]), "must hold the image train_1.png"),
        (
            cvat(["train_0"]).replace("<polygon", '<polygon rotation="30.5"', 1),
            "must not be turned, got rotation .30.5.",
        ),
        (
            cvat(["train_0"]).replace("<polygon", '<polygon outside="1"', 1),
            "must be inside the image",
        ),
    ],
)
def test_a_cvat_file_that_cannot_be_used_is_one_line(tmp_path, content, said):
    config = write(tmp_path / "cvat", "cvat")
    encoding = "utf-16" if "utf-16" in content else "utf-8"
    (tmp_path / "cvat/marks_train.xml").write_text(content, encoding=encoding)
    with pytest.raises(InputError, match=said):
        open_splits(load_spec(config).data)


@pytest.mark.parametrize("path", ["TRAIN_0.JPG", "../images/train/train_0.png", "a\\train_0.png"])
def test_labelme_s_paths_to_the_same_photograph_are_read(tmp_path, path):
    config = write(tmp_path / "labelme", "labelme")
    file = tmp_path / "labelme/marks/train/train_0.json"
    file.write_text(json.dumps({**labelme("train_0"), "imagePath": path}))
    open_splits(load_spec(config).data)


def test_a_key_that_stands_twice_is_refused(tmp_path):
    """Of two lists of shapes one would be lost."""
    config = write(tmp_path / "labelme", "labelme")
    file = tmp_path / "labelme/marks/train/train_0.json"
    file.write_text('{"shapes": [],' + json.dumps(labelme("train_0"))[1:])
    with pytest.raises(InputError, match="a key must stand once, got 'shapes' twice"):
        open_splits(load_spec(config).data)


@pytest.mark.parametrize("kind", ["labelme", "coco", "cvat"])
def test_what_is_void_or_without_a_photograph_is_said(tmp_path, kind):
    config = write(tmp_path / kind, kind)
    (tmp_path / kind / "images/train/train_2.png").unlink()
    splits = open_splits(load_spec(config).data)
    for _ in range(2):  # the second time from the index
        said = remarks(*splits)
        assert "train: shapes of no class are void: 'dirt' (2)" in said
        (line,) = [line for line in said if "annotations without a photograph" in line]
        assert ": 1 annotations" in line
        assert "such as train_2" in line
        splits = open_splits(load_spec(config).data)


@pytest.mark.parametrize("kind", ["coco", "cvat"])
def test_one_annotation_does_not_serve_two_photographs_of_one_name(tmp_path, kind):
    config = write(tmp_path / kind, kind)
    photo = next((tmp_path / kind / "images/train").glob("train_0.*"))
    for folder in ("a", "b"):
        (photo.parent / folder).mkdir()
        (photo.parent / folder / photo.name).write_bytes(photo.read_bytes())
    photo.unlink()
    with pytest.raises(
        InputError, match=r"must name a/train_0.png with its folder, since 2 images"
    ):
        open_splits(load_spec(config).data)
    (photo.parent / "b" / photo.name).unlink()
    open_splits(load_spec(config).data)  # one image of the name: it is found without its folder


def test_boxes_are_two_clicks_and_cvat_s_order_is_kept():
    drawing = read_cvat(
        b'<annotations><image id="0" name="a.png" width="20" height="10">'
        b'<box label="front" z_order="5" xtl="2" ytl="1" xbr="8" ybr="6"/>'
        b'<polygon label="back" z_order="1" points="0,0;19,0;19,9;0,9"/><tag label="night"/>'
        b"</image></annotations>"
    )["a.png"]
    assert [shape.label for shape in drawing.shapes] == ["back", "front"]
    assert [len(shape.vertices) for shape in drawing.shapes] == [4, 2]
    document = labelme("a")
    document["shapes"] = [{"label": "cell", "points": [[2, 1], [8, 6]], "shape_type": "rectangle"}]
    assert read_labelme(json.dumps(document).encode()).shapes[0].is_box
    several = coco(["a"])
    several["annotations"][0]["segmentation"] *= 2
    assert len(read_coco(json.dumps(several).encode())["a.png"].shapes) == 4


def test_files_that_are_missing_are_named(tmp_path):
    config = write(tmp_path / "labelme", "labelme")
    gone = next((tmp_path / "labelme/marks/train").glob("*.json"))
    gone.unlink()
    with pytest.raises(InputError, match="must have the annotation"):
        open_splits(load_spec(config).data)
    layout = PolygonLayout(
        format="coco", images="images/{split}", annotations="nowhere.json", classes=("a", "b")
    )
    with pytest.raises(InputError, match="must hold the file of annotations"):
        PolygonSplit(tmp_path / "labelme", "train", tmp_path / "cache", layout)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["labelme", "coco", "cvat"])
def test_a_board_runs_on_recorded_polygons(tmp_path, kind, monkeypatch):
    from typer.testing import CliRunner

    from harness.cli.main import app

    config = write(tmp_path / kind, kind)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(
        app,
        [
            *("bench", "--config", str(config), "--workers", "1", "--out", "out"),
            *("--strategies", "random-region,cereals-g2-entropy"),
        ],
    )
    assert done.exit_code == 0, done.output
    assert "SIMULATED" not in done.output


# ------------------------------------------------------------------------------------------------- registry


def test_an_unknown_type_lists_those_that_there_are(tmp_path):
    (tmp_path / "mine.py").write_text(
        '_base_ = ["harness::streets.py"]\ndata = dict(_delete_=True, type="nothing", depth=3)\n'
    )
    with pytest.raises(
        InputError, match=r"data\.type must be one of .*polygons, streets, got 'nothing'"
    ):
        load_spec(tmp_path / "mine.py")


def test_a_plug_in_that_gives_no_splits_is_one_line(tmp_path):
    register_dataset("toy-broken")(lambda _cache, **options: options)
    (tmp_path / "mine.py").write_text(
        '_base_ = ["harness::streets.py"]\ndata = dict(_delete_=True, type="toy-broken", depth=3)\n'
    )
    spec = load_spec(tmp_path / "mine.py")
    with pytest.raises(InputError, match="must give two splits"):
        find_splits(spec.data)
    other = spec.model_copy(update={"data": spec.data.model_copy(update={"depth": 4})})
    assert other.digest() != spec.digest()


@pytest.mark.parametrize("val", [(0, "a", 2, "b"), (0, "b"), (0, "a", 1, "b"), (0, "b", 1, "c")])
def test_a_plug_in_s_splits_must_have_the_same_classes(tmp_path, val):
    """The numbers that a network learned would be other classes' where it is scored."""
    from harness.data.masks import MaskLayout, MaskSplit
    from tests.edges.conftest import write_masks

    root = write_masks(tmp_path / "data", train=2, val=2)

    def opened(cache, numbers):
        tables = {"train": {0: "b", 1: "a"}, "val": dict(zip(val[::2], val[1::2], strict=True))}
        return tuple(
            MaskSplit(
                root,
                name,
                cache,
                MaskLayout.model_construct(
                    images="images/{split}", labels="labels/{split}", classes=table
                ),
            )
            for name, table in tables.items()
        )

    register_dataset("toy-classes")(opened)
    (tmp_path / "mine.py").write_text(
        '_base_ = ["harness::streets.py"]\n'
        'data = dict(_delete_=True, type="toy-classes", numbers=3)\n'
    )
    with pytest.raises(InputError, match=r"of the same classes in the same order, got .*'b', 'a'"):
        find_splits(load_spec(tmp_path / "mine.py").data)


def test_the_documented_mmseg_data_set_is_read_as_mmseg_reads_it(tmp_path, monkeypatch):
    """An ADE20K-like folder through the example's file: reduce_zero_label, classes, sizes."""
    from harness import segmentor  # noqa: F401  (imports mmseg quietly)

    examples = Path(__file__).parent.parent.parent / "docs" / "examples"
    monkeypatch.syspath_prepend(str(examples))
    for split in ("training", "validation"):
        for folder in ("images", "annotations"):
            (tmp_path / "ade" / folder / split).mkdir(parents=True)
        for n in range(2):
            rng = np.random.default_rng([n, split == "training"])
            photo = rng.integers(256, size=(40, 50, 3), dtype=np.uint8)
            Image.fromarray(photo).save(tmp_path / f"ade/images/{split}/{split}{n}.jpg")
            mask = np.arange(40 * 50, dtype=np.int64).reshape(40, 50) % 151
            Image.fromarray(mask.astype(np.uint8)).save(
                tmp_path / f"ade/annotations/{split}/{split}{n}.png"
            )
    block = (
        'dict(type="ADE20KDataset", data_root="ade", '
        'data_prefix=dict(img_path="images/{0}", seg_map_path="annotations/{0}"))'
    )
    (tmp_path / "mine.py").write_text(
        '_base_ = ["harness::streets.py"]\n'
        'custom_imports = dict(imports=["mmseg_dataset"])\n'
        f'data = dict(_delete_=True, type="mmseg", train={block.format("training")}, '
        f"val={block.format('validation')})\n"
    )
    monkeypatch.chdir(tmp_path)
    train, val = open_splits(load_spec(tmp_path / "mine.py").data)
    assert len(train.class_names) == 150
    assert (train.simulated_clicks, len(train.files), len(val.files)) == (True, 2, 2)
    labels = train.train_ids("training0")
    assert labels[0, 0] == 255  # 0 is void there
    assert labels[0, 1] == 0
    assert labels.max() == 255
    shutil.rmtree(tmp_path / "ade")


@pytest.fixture
def mmseg_split(tmp_path, monkeypatch):
    """Return what opens a folder of masks through the documented data set class."""
    from harness import segmentor  # noqa: F401  (imports mmseg quietly)
    from tests.edges.conftest import write_masks

    examples = Path(__file__).parent.parent.parent / "docs" / "examples"
    monkeypatch.syspath_prepend(str(examples))
    from mmseg.registry import DATASETS

    if "ThreeOfTests" not in DATASETS:
        from mmseg.datasets import BaseSegDataset

        table = {"classes": ("background", "cell", "vessel"), "palette": [[0] * 3] * 3}

        class ThreeOfTests(BaseSegDataset):
            METAINFO = table

        DATASETS.register_module(module=ThreeOfTests)
    root = write_masks(tmp_path / "data")

    def opened(**options):
        module = importlib.import_module("mmseg_dataset")

        config = {
            "type": "ThreeOfTests",
            "data_root": str(root),
            "img_suffix": ".png",
            "data_prefix": {"img_path": "images/train", "seg_map_path": "labels/train"},
        }
        return module.MMSegSplit({**config, **options}, "train", tmp_path / "cache")

    return root, opened


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, [0, 1, 2]),
        ({"metainfo": {"classes": ("vessel", "cell")}}, [255, 1, 0]),
        ({"metainfo": {"classes": ("vessel", "background", "cell")}}, [1, 2, 0]),
        ({"reduce_zero_label": True, "metainfo": {"classes": ("cell", "background")}}, [255, 1, 0]),
        ({"ignore_index": 0}, [255, 0, 1]),
    ],
)
def test_a_class_subset_of_mmseg_is_read_by_its_own_table(mmseg_split, options, wanted):
    from tests.edges.conftest import labels_of

    _, opened = mmseg_split
    split = opened(**options)
    wanted_labels = np.array(wanted, np.uint8)[labels_of(1)]
    assert np.array_equal(split.decode_label_ids("train_1"), wanted_labels)
    if "metainfo" in options and "reduce_zero_label" not in options:
        assert split.class_names == options["metainfo"]["classes"]


def test_images_of_one_name_in_nested_folders_of_mmseg_are_all_there(mmseg_split):
    root, opened = mmseg_split
    for kind in ("images", "labels"):
        for number, site in enumerate("AB"):
            (root / kind / "train" / site).mkdir()
            (root / kind / f"train/train_{number}.png").rename(root / kind / f"train/{site}/0.png")
    split = opened()
    assert list(split.files) == ["A__0", "B__0", "train_2", "train_3"]
    assert not np.array_equal(split.train_ids("A__0"), split.train_ids("B__0"))
