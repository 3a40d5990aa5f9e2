"""Label images in every form that tools write: the right value, or one line before anything is trained."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from harness.config import load_spec
from harness.data.images import read_labels
from harness.data.masks import MaskLayout, MaskSplit
from harness.data.source import open_splits, remarks
from harness.errors import InputError
from tests.edges.conftest import CLASSES, labels_of, masks_config, write_masks
from tests.examples import examples

COLOURS = {(0, 0, 0): "background", (128, 0, 0): "cell", (0, 128, 0): "vessel"}
VOC = [0, 0, 0, 128, 0, 0, 0, 128, 0] + [0] * 759


def opened(folder, **options):
    return open_splits(load_spec(masks_config(folder, **options)).data)


def palette(labels, path):
    image = Image.fromarray(labels)
    image.putpalette(VOC)
    image.save(path)


def few_bits(bits):
    """Write a palette image of so many bits a pixel."""

    def save(labels, path):
        image = Image.fromarray(labels)
        image.putpalette(VOC[: 3 * 2**bits])
        image.save(path, bits=bits)

    return save


def in_16_bits(labels, path):
    Image.fromarray(labels.astype(np.uint16)).save(path)


def in_32_bits(labels, path):
    Image.fromarray(labels.astype(np.int32)).save(path.with_suffix(".tif"))


def as_bmp(labels, path):
    Image.fromarray(labels).save(path.with_suffix(".BMP"), format="BMP")


def with_opaque_alpha(labels, path):
    Image.merge("LA", (Image.fromarray(labels), Image.new("L", labels.shape[::-1], 255))).save(path)


@pytest.mark.parametrize(
    "save",
    [
        None,
        palette,
        few_bits(2),
        few_bits(4),
        in_16_bits,
        in_32_bits,
        as_bmp,
        with_opaque_alpha,
    ],
)
def test_every_way_to_store_the_same_numbers_is_the_same_data(tmp_path, cache, save):
    write_masks(tmp_path / "data", save=save)
    write_masks(tmp_path / "plain")
    train, val = opened(tmp_path)
    again, _ = opened(tmp_path, root="plain")
    assert train.index.fingerprint == again.index.fingerprint
    assert np.array_equal(train.train_ids("train_1"), labels_of(1))
    assert val.index.value_px == again.index.value_px or len(val.files) == 2


def test_grey_of_few_bits_is_not_spread_over_the_range(tmp_path):
    """A grey PNG of four bits holds 0 to 15; Pillow gives 0 to 255."""
    labels = (np.arange(16, dtype=np.uint8)[None].repeat(4, 0)) % 16
    for bits, factor in ((4, 17), (2, 85)):
        wanted = labels % 2**bits
        file = tmp_path / f"{bits}.png"
        write_grey_png(file, wanted, bits)
        assert np.asarray(Image.open(file)).max() == wanted.max() * factor
        assert np.array_equal(read_labels(file), wanted)


def write_grey_png(path, values, bits):
    """Write a grey PNG of 2 or 4 bits by hand."""
    import struct
    import zlib

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    height, width = values.shape
    per_byte = 8 // bits
    rows = b""
    for row in values:
        packed = bytearray()
        for start in range(0, width, per_byte):
            byte = 0
            for place, value in enumerate(row[start : start + per_byte]):
                byte |= int(value) << (8 - bits * (place + 1))
            packed.append(byte)
        rows += b"\x00" + bytes(packed)
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def colours(labels, path):
    table = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0]], np.uint8)
    Image.fromarray(table[labels]).save(path)


def test_colour_masks_are_read_by_a_table_of_colours(tmp_path, cache):
    write_masks(tmp_path / "data", save=colours)
    train, _ = opened(tmp_path, classes=COLOURS)
    assert np.array_equal(train.train_ids("train_1"), labels_of(1))
    assert train.class_names == ("background", "cell", "vessel")
    write_masks(tmp_path / "other", save=palette)
    again, _ = opened(tmp_path, root="other", classes=COLOURS)
    assert again.index.fingerprint == train.index.fingerprint


def test_a_table_of_colours_survives_the_record_of_a_run(tmp_path):
    from harness.config import ExperimentSpec

    spec = load_spec(masks_config(tmp_path, classes={"#800000": "cell", (0, 0, 0): "background"}))
    stored = spec.model_dump(mode="json")
    again = ExperimentSpec.model_validate(stored)
    assert again.data.classes == spec.data.classes == {(128, 0, 0): "cell", (0, 0, 0): "background"}


def as_jpeg(labels, path):
    Image.fromarray(labels).save(path, format="JPEG")


def with_alpha(labels, path):
    alpha = Image.new("L", labels.shape[::-1], 200)
    Image.merge("LA", (Image.fromarray(labels), alpha)).save(path)


def in_floats(labels, path):
    Image.fromarray(labels.astype(np.float32)).save(path.with_suffix(".tiff"))


def in_pages(labels, path):
    image = Image.fromarray(labels)
    image.save(path.with_suffix(".tif"), save_all=True, append_images=[image])


def negative(labels, path):
    Image.fromarray(labels.astype(np.int32) - 1).save(path.with_suffix(".tif"))


def turned(labels, path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(labels).save(path, exif=exif)


def cut_short(labels, path):
    Image.fromarray(np.random.default_rng(0).integers(0, 3, labels.shape, np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-400])


@pytest.mark.parametrize(
    ("save", "said"),
    [
        (colours, "got 3 channels"),
        (as_jpeg, "JPEG (lossy)"),
        (with_alpha, "must be opaque"),
        (in_floats, "whole numbers"),
        (in_pages, "got 2 frames or pages"),
        (negative, "must be 0 or more"),
        (turned, "EXIF orientation"),
        (cut_short, "cannot be read as an image"),
        (lambda labels, path: path.write_bytes(b""), "cannot be read as an image"),
        (lambda labels, path: Image.fromarray(labels).save(path, format="GIF"), "got GIF"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(tmp_path, cache, save, said):
    write_masks(tmp_path / "data", save=save)
    with pytest.raises(InputError) as caught:
        opened(tmp_path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "(and 3 more" in str(
        caught.value
    )  # all files of the split are listed by harness data check


def test_numbers_for_colour_masks_and_colours_for_grey_ones_are_refused(tmp_path, cache):
    write_masks(tmp_path / "data")
    with pytest.raises(InputError, match="a label image must be in colour, got Pillow's mode 'L'"):
        opened(tmp_path, classes=COLOURS)


# --------------------------------------------------------- what a decoder would change without a word

TABLE = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0]], np.uint8)


def write_colour_png(path, labels, bits):
    """Write a colour PNG of 8 or 16 bits a channel by hand."""
    import struct
    import zlib

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    wide = TABLE[labels].astype(f">u{bits // 8}")
    rows = b"".join(b"\x00" + row.tobytes() for row in wide)
    header = struct.pack(">IIBBBBB", labels.shape[1], labels.shape[0], bits, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)


def tiff(**options):
    return lambda labels, path: Image.fromarray(labels).save(path.with_suffix(".tif"), **options)


def other_compression(number):
    """Write a TIFF whose tag says another compression than that of its pixels."""

    def save(labels, path):
        file = path.with_suffix(".tif")
        Image.fromarray(labels).save(file)
        tag = b"\x03\x01\x03\x00\x01\x00\x00\x00"
        assert file.read_bytes().count(tag + b"\x01\x00") == 1
        new = tag + number.to_bytes(2, "little")
        file.write_bytes(file.read_bytes().replace(tag + b"\x01\x00", new))

    return save


def clear(entry):
    def save(labels, path):
        image = Image.fromarray(labels)
        image.putpalette(VOC)
        image.save(path, transparency=entry)

    return save


def clear_colour(labels, path):
    Image.fromarray(TABLE[labels]).save(path, transparency=(128, 0, 0))


def clear_grey(labels, path):
    Image.fromarray(labels).save(path, transparency=1)


def clear_deep_grey(labels, path):
    Image.fromarray(labels.astype(np.uint16)).save(path, transparency=1)


def signed(labels, path):
    Image.fromarray((labels - 1).astype(np.uint8)).save(path.with_suffix(".tif"), tiffinfo={339: 2})


LOSSY = [6, 7, 50001]  # old JPEG, JPEG, WebP; those that Pillow cannot open are refused by that


@pytest.mark.parametrize(
    ("save", "said"),
    [
        (tiff(compression="jpeg"), "must be stored without loss, got a TIFF of compression jpeg"),
        *((other_compression(number), "stored without loss") for number in LOSSY),
        *((tiff(tiffinfo={274: turn}), "EXIF orientation") for turn in (2, 3, 6)),
        (clear(0), "must be opaque"),
        (clear(bytes([255, 9, 255])), "must be opaque"),
        (clear_grey, "must be opaque"),
        (clear_deep_grey, "must be opaque"),
        (signed, "must be 0 or more, got -1"),
        (clear_colour, "must be opaque"),
        (
            lambda labels, path: write_colour_png(path, labels, 16),
            "must have 8 bits in each, got 16",
        ),
    ],
)
@pytest.mark.filterwarnings("error")
def test_what_a_decoder_would_change_is_refused(tmp_path, save, said):
    save(labels_of(0), tmp_path / "a.png")
    (file,) = tmp_path.iterdir()
    in_colour = save is clear_colour or said.endswith("got 16")
    with pytest.raises(InputError) as caught:
        read_labels(file, colours=in_colour)
    assert said in str(caught.value)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "save",
    [
        *(tiff(compression=name) for name in ("tiff_lzw", "tiff_adobe_deflate", "packbits")),
        tiff(tiffinfo={274: 1}),
        tiff(tiffinfo={339: 2}),
        clear(200),
        clear(bytes([255, 255, 255, 0])),
        lambda labels, path: Image.fromarray(labels).save(path, transparency=77),
    ],
)
@pytest.mark.filterwarnings("error")
def test_what_no_decoder_changes_is_read(tmp_path, save):
    save(labels_of(0), tmp_path / "a.png")
    (file,) = tmp_path.iterdir()
    assert np.array_equal(read_labels(file), labels_of(0))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "save", [clear(bytes([255] * 3 + [0])), lambda labels, path: write_colour_png(path, labels, 8)]
)
def test_colours_of_which_no_pixel_is_transparent_are_read(tmp_path, save):
    save(labels_of(0), tmp_path / "a.png")
    wide = TABLE[labels_of(0)].astype(np.int32)
    packed = (wide[..., 0] << 16) + (wide[..., 1] << 8) + wide[..., 2]
    assert np.array_equal(read_labels(tmp_path / "a.png", colours=True), packed)


def renumbered(labels, path):
    """Write the same colours under other numbers in one file."""
    order = np.array([0, 2, 1], np.uint8)
    image = Image.fromarray(order[labels])
    image.putpalette([0, 0, 0, 0, 128, 0, 128, 0, 0] + [0] * 759)
    image.save(path)


@pytest.mark.parametrize("name", ["train_2", "val_1"])
def test_palettes_that_differ_are_refused_with_both_files(tmp_path, cache, name):
    root = write_masks(tmp_path / "data", save=palette)
    file = next(root.glob(f"labels/*/{name}.png"))
    renumbered(labels_of(int(name[-1])), file)
    with pytest.raises(InputError) as caught:
        opened(tmp_path)
    said = str(caught.value)
    assert "must give an index the same colour, got 1 as #008000 here and as #800000 in" in said
    assert said.startswith(str(file))
    assert f"in {root}" in said
    assert "_0.png; " in said
    train, val = opened(tmp_path, classes=COLOURS)  # by their colours they are one table
    split = val if name == "val_1" else train
    assert np.array_equal(split.train_ids(name), labels_of(int(name[-1])))


def test_palettes_may_differ_where_no_pixel_uses_them(tmp_path, cache):
    root = write_masks(tmp_path / "data", save=palette)
    image = Image.fromarray(labels_of(0))
    image.putpalette([*VOC[:9], *range(60)])
    image.save(root / "labels/train/train_0.png")
    opened(tmp_path)


@pytest.mark.parametrize("linked", [False, True])
def test_photographs_are_not_their_own_labels(tmp_path, cache, linked):
    root = write_masks(tmp_path / "data")
    for photo in sorted((root / "images").rglob("*.png")):
        Image.fromarray(labels_of(int(photo.stem[-1]))).save(photo)
        mask = root / "labels" / photo.relative_to(root / "images")
        mask.unlink()
        mask.hardlink_to(photo)
    extra = "" if linked else "data['labels'] = 'images/{split}'"
    with pytest.raises(InputError, match="a photograph and its label image must be two files"):
        opened(tmp_path, extra=extra)


@pytest.mark.parametrize("bits", [12, 14])
def test_photographs_of_few_bits_in_16_are_said(tmp_path, cache, bits):
    root = write_masks(tmp_path / "data")
    for photo in sorted((root / "images").rglob("*.png")):
        grey = np.asarray(Image.open(photo).convert("L")).astype(np.uint16)
        Image.fromarray(grey * 2 ** (bits - 8)).save(photo)
    lines = remarks(*opened(tmp_path))
    assert [line for line in lines if line.startswith("train: no photograph has a value")]
    assert remarks(*opened(tmp_path)) == lines  # from the index


def test_dark_and_bright_photographs_are_not_said(tmp_path, cache):
    write_masks(tmp_path / "data")
    assert not [line for line in remarks(*opened(tmp_path)) if "no photograph has" in line]


# ------------------------------------------------------------------------- values against classes


def times(factor, plus=0, kind=np.uint8):
    return lambda labels, path: Image.fromarray(
        (labels.astype(int) * factor + plus).astype(kind)
    ).save(path)


def binary(labels, path):
    Image.fromarray(((labels > 0) * 255).astype(np.uint8)).save(path)


@pytest.mark.parametrize(
    ("save", "classes", "said"),
    [
        (
            binary,
            {0: "background", 1: "vessel"},
            "none holds 'vessel'; the label images hold the values 0 (",
        ),
        (binary, {1: "background", 254: "vessel"}, "got 100.0 %"),
        (
            None,
            {1: "background", 2: "cell", 3: "vessel"},
            "at most 50 % of the pixels of train may be void",
        ),
        (None, {10: "a", 11: "b"}, "got 100.0 %; the label images hold the values 0 ("),
        (times(1000, 1, np.uint16), CLASSES, "none holds 'background', 'vessel'"),
        (times(256, 0, np.uint16), CLASSES, "none holds 'cell', 'vessel'"),
        (None, {**CLASSES, 3: "nerve"}, "none holds 'nerve'"),
    ],
)
def test_classes_that_do_not_fit_the_values_are_refused(tmp_path, cache, save, classes, said):
    write_masks(tmp_path / "data", save=save)
    with pytest.raises(InputError) as caught:
        opened(tmp_path, classes=classes)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_instance_ids_above_255_are_classes_where_the_config_says_so(tmp_path, cache):
    write_masks(tmp_path / "data", save=times(1000, 1, np.uint16))
    train, _ = opened(tmp_path, classes={1: "background", 1001: "cell", 2001: "vessel"})
    assert np.array_equal(train.train_ids("train_2"), labels_of(2))
    assert set(train.index.value_px) == {1, 1001, 2001}


def test_a_one_bit_mask_has_the_values_0_and_1(tmp_path, cache):
    write_masks(tmp_path / "data", save=lambda labels, path: Image.fromarray(labels > 0).save(path))
    train, _ = opened(tmp_path, classes={0: "background", 1: "vessel"})
    assert np.array_equal(train.train_ids("train_0"), labels_of(0) > 0)


def test_what_is_void_may_be_declared(tmp_path, cache):
    write_masks(tmp_path / "data")
    two = {0: "background", 1: "cell"}
    train, _ = opened(tmp_path, classes=two)
    assert train.index.void_px == train.index.value_px[2] > 0
    opened(tmp_path, classes=two, extra="data['void'] = [2, 255]")
    with pytest.raises(InputError, match=r"declared classes and data\.void only, got 2 on \d"):
        opened(tmp_path, classes=two, extra="data['void'] = [255]")
    with pytest.raises(InputError, match=r"must be in data\.classes or in data\.void, not in both"):
        opened(tmp_path, classes=two, extra="data['void'] = [1]")


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_split_without_a_pixel_to_score_is_refused_however_much_may_be_void(
    tmp_path, cache, split
):
    def save(labels, path):
        Image.fromarray(labels * 0 + 9 if path.parent.name == split else labels).save(path)

    write_masks(tmp_path / "data", save=save)
    with pytest.raises(InputError, match=f"{split} must have a pixel of some class, all are void"):
        opened(tmp_path, extra="data['max_void_share'] = 1.0")


def test_the_class_map_is_part_of_what_the_data_are(tmp_path, cache):
    """A corrected class map never finds what the old one left behind."""
    write_masks(tmp_path / "data")
    one, _ = opened(tmp_path, classes={0: "background", 1: "cell"})
    other, _ = opened(tmp_path, classes={0: "background", 1: "cell", 2: "cell"})
    swapped, _ = opened(tmp_path, classes={1: "background", 0: "cell", 2: "cell"})
    assert len({split.index.fingerprint for split in (one, other, swapped)}) == 3


@pytest.mark.parametrize(
    "classes",
    [
        "{}",
        "{0: 'a'}",
        "{0: 'a', 1: 'a'}",
        "{0: 'a', -1: 'b'}",
        "{0: 'a', 65536: 'b'}",
        "{0: 'a', 1.5: 'b'}",
        "{0: 'a', True: 'b'}",
        "{0: 'a', 'x': 'b'}",
        "{0: 'a', (1, 2): 'b'}",
        "{0: 'a', (1, 2, 300): 'b'}",
        "{0: 'a', (1, 2, 3): 'b'}",
        "{0: 'a', 1: ' '}",
        "{0: 'a', 1: 'b\\n'}",
        "{0: 'a', 1: 7}",
        "{0: 'a', 1: None}",
        "[1, 2]",
        "{n: str(n) for n in range(255)}",
    ],
)
def test_class_maps_that_are_none_are_one_line(tmp_path, classes):
    file = masks_config(tmp_path, extra=f"data['classes'] = {classes}")
    with pytest.raises(InputError) as caught:
        load_spec(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        ("{0: 'a', 1: 'b', 1: 'c'}", "a key must stand once, got 1 twice"),
        ("{0: 'a', 1: 'b', True: 'c'}", "a key must stand once, got True twice"),
        ("{(0, 0, 0): 'a', (1, 2, 3): 'b', (1, 2, 3): 'c'}", "got (1, 2, 3) twice"),
        ("{0: 'a', 1: 'b', '1': 'c'}", "each value must stand once in classes, got 1 and '1'"),
        ("{(0, 0, 0): 'a', (128, 0, 0): 'b', '#800000': 'c'}", "got (128, 0, 0) and '#800000'"),
        ("{'#0000FF': 'a', '#0000ff': 'b', (1, 1, 1): 'c'}", "got '#0000FF' and '#0000ff'"),
    ],
)
def test_a_value_stands_once_in_a_class_map(tmp_path, classes, said):
    """Of two names for one value Python keeps the last."""
    file = masks_config(tmp_path, extra=f"data['classes'] = {classes}")
    with pytest.raises(InputError) as caught:
        load_spec(file)
    assert said in str(caught.value)
    assert str(file) in str(caught.value)
    derived = tmp_path / "derived.py"
    derived.write_text("_base_ = ['my.py']\n")
    with pytest.raises(InputError) as caught:
        load_spec(derived)
    assert said in str(caught.value)
    with pytest.raises(InputError) as caught:
        load_spec(masks_config(tmp_path), changes=[f"data.classes={classes}"])
    assert said in str(caught.value)


# ------------------------------------------------------------------------------------------- fuzz

FORMS = st.sampled_from(["L.png", "P.png", "I;16.png", "L.bmp", "I.tif", "I;16.tif", "L.tif"])


@examples(150)
@given(
    FORMS,
    hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9)),
    st.binary(min_size=768, max_size=768),
)
def test_what_is_written_is_what_is_read(tmp_path_factory, form, values, colours):
    mode, _, suffix = form.partition(".")
    file = tmp_path_factory.getbasetemp() / f"fuzz-labels.{suffix}"
    wanted = values.astype(np.int32)
    if mode == "P":
        image = Image.fromarray(values)
        image.putpalette(list(colours))
    elif mode == "L":
        image = Image.fromarray(values)
    elif mode == "I":
        wanted = wanted * 70001
        image = Image.fromarray(wanted)
    else:
        wanted = wanted * 257 % 65536
        image = Image.fromarray(wanted.astype(np.uint16))
    image.save(file)
    assert np.array_equal(read_labels(file), wanted)


@examples(150)
@given(st.integers(0, 2**31), st.floats(0, 1))
def test_any_damage_to_a_label_image_is_one_line_or_without_effect(tmp_path_factory, seed, place):
    file = tmp_path_factory.getbasetemp() / "fuzz-damage.png"
    wanted = np.random.default_rng(0).integers(0, 9, (12, 15), np.uint8)
    Image.fromarray(wanted).save(file)
    content = bytearray(file.read_bytes())
    content[int(place * (len(content) - 1))] ^= 1 + seed % 255
    file.write_bytes(content)
    try:
        found = read_labels(file)
    except InputError as error:
        assert "\n" not in str(error)
        assert str(file) in str(error)
    else:
        assert np.array_equal(found, wanted)


@examples(200)
@given(
    st.dictionaries(
        st.integers(-2, 300)
        | st.sampled_from([0, 1, 2])
        | st.text(max_size=4)
        | st.tuples(st.integers(0, 260), st.just(0), st.just(0)),
        st.text(max_size=6) | st.none(),
        max_size=4,
    )
)
def test_any_class_map_is_read_or_one_line(tmp_path_factory, classes):
    folder = tmp_path_factory.getbasetemp() / "fuzz-classes"
    if not folder.exists():
        write_masks(folder / "data", train=2, val=1)
    file = masks_config(folder, extra="")
    file.write_text(file.read_text() + f"\ndata['classes'] = {classes!a}\n")
    try:
        train, _ = open_splits(load_spec(file).data)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        declared = {value for value in classes if value in (0, 1, 2)}
        assert set(train.index.value_px) == {0, 1, 2}
        assert declared
        assert isinstance(train, MaskSplit)
        assert isinstance(train.layout, MaskLayout)
