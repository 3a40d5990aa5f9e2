"""Photographs in any mode, depth and orientation: as a viewer shows them, or refused with one line."""

import numpy as np
import pytest
from PIL import Image

from harness.data.images import read_photo
from harness.errors import InputError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (6, 9), np.uint8)
COLOUR = RNG.integers(0, 256, (6, 9, 3), np.uint8)


def three(grey):
    return np.repeat(np.asarray(grey, np.uint8)[..., None], 3, axis=2)


def image(values, mode=None):
    made = Image.fromarray(values)
    return made if mode is None else made.convert(mode)


def palette():
    made = Image.fromarray(GREY % 4)
    made.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120] + [0] * 756)
    return made


def opaque(mode):
    made = image(COLOUR).convert(mode)
    made.putalpha(255)
    return made


def cmyk():
    """No black: 255 - ink is the colour."""
    inks = np.dstack([255 - COLOUR, np.zeros((6, 9), np.uint8)])
    return Image.frombytes("CMYK", (9, 6), inks.tobytes())


FORMS = {
    "grey": ("png", lambda: image(GREY), three(GREY)),
    "one bit": ("png", lambda: image(GREY > 99), three((GREY > 99) * 255)),
    "colour": ("png", lambda: image(COLOUR), COLOUR),
    "palette": (
        "png",
        palette,
        np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90], [100, 110, 120]])[GREY % 4],
    ),
    "grey of 16 bits": (
        "png",
        lambda: image(GREY.astype(np.uint16) * 257),
        three(GREY),
    ),
    "grey of 16 bits in a tiff": (
        "tif",
        lambda: image((GREY.astype(np.uint16) << 8) + 128),
        three(np.round(((GREY.astype(float) * 256) + 128) / 257)),
    ),
    "opaque alpha": ("png", lambda: opaque("RGB"), COLOUR),
    "opaque grey alpha": (
        "png",
        lambda: Image.merge("LA", (image(GREY), Image.new("L", (9, 6), 255))),
        three(GREY),
    ),
    "bitmap": ("bmp", lambda: image(COLOUR), COLOUR),
    "webp": ("webp", lambda: image(COLOUR), COLOUR),
    "tiff": ("tiff", lambda: image(COLOUR), COLOUR),
    "inks": ("tif", cmyk, COLOUR),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_photograph_is_what_a_viewer_shows(tmp_path, form):
    suffix, make, wanted = FORMS[form]
    file = tmp_path / f"photo.{suffix}"
    make().save(file, **({"lossless": True} if suffix == "webp" else {}))
    found = read_photo(file)
    assert found.shape == (6, 9, 3)
    assert found.dtype == np.uint8
    assert np.array_equal(found, wanted)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
def test_a_camera_that_was_held_upright_gives_an_upright_picture(tmp_path, orientation, suffix):
    """The eight orientations of EXIF, by their definition: where row 0 and column 0 are seen."""
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8, :16] = 250  # bright at the top left
    upright[:8, 16:] = 120
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),  # turned clockwise by 90 degrees it is upright
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = tmp_path / f"photo.{suffix}"
    options = {"quality": 95} if suffix == "jpg" else {"lossless": True} if suffix == "webp" else {}
    Image.fromarray(np.ascontiguousarray(stored[orientation])).save(file, exif=exif, **options)
    found = read_photo(file)
    assert found.shape == upright.shape
    assert np.abs(found.astype(int) - upright).max() <= 3


def test_sixteen_bits_of_colour_keep_their_high_bits(tmp_path):
    import cv2

    wide = COLOUR.astype(np.uint16) * 257
    file = tmp_path / "photo.png"
    cv2.imwrite(str(file), wide[..., ::-1])
    assert np.array_equal(read_photo(file), COLOUR)


def test_the_first_picture_of_a_cameras_multi_picture_file_is_the_photograph(tmp_path):
    first, second = image(np.full((8, 8, 3), 200, np.uint8)), image(np.zeros((8, 8, 3), np.uint8))
    file = tmp_path / "photo.jpg"
    first.save(file, format="MPO", save_all=True, append_images=[second])
    assert read_photo(file).min() > 190


def translucent():
    made = image(COLOUR)
    made.putalpha(Image.fromarray(np.where(GREY > 99, 255, 128).astype(np.uint8)))
    return made


def animated(file):
    image(COLOUR).save(file, save_all=True, append_images=[image(COLOUR // 2)], duration=100)


REFUSED = {
    "alpha": ("png", lambda file: translucent().save(file), "must be opaque"),
    "a transparent colour": (
        "png",
        lambda file: palette().save(file, transparency=2),
        "must be opaque",
    ),
    "a transparent grey": (
        "png",
        lambda file: image(GREY).save(file, transparency=int(GREY[0, 0])),
        "must be opaque",
    ),
    "floating point": ("tif", lambda file: image(GREY.astype(np.float32)).save(file), "mode 'F'"),
    "32 bits": ("tif", lambda file: image(GREY.astype(np.int32)).save(file), "mode 'I'"),
    "an animation": ("png", animated, "2 frames or pages"),
    "an animated webp": ("webp", animated, "2 frames or pages"),
    "a stack": ("tif", animated, "2 frames or pages"),
    "white as 0": ("tif", lambda file: image(GREY).save(file, tiffinfo={262: 0}), "WhiteIsZero"),
    "numbers below 0": (
        "tif",
        lambda file: image(GREY).save(file, tiffinfo={339: 2}),
        "signed 8-bit TIFF",
    ),
    "nothing": ("jpg", lambda file: file.write_bytes(b""), "cannot be read as an image"),
    "text": ("jpg", lambda file: file.write_text("<svg/>"), "cannot be read as an image"),
    "half of it": (
        "jpg",
        lambda file: (
            image(COLOUR).resize((90, 60)).save(file),
            file.write_bytes(file.read_bytes()[:-300]),
        ),
        "cannot be read as an image",
    ),
}


@pytest.mark.parametrize("form", REFUSED)
def test_what_cannot_be_told_is_refused(tmp_path, form):
    suffix, write, said = REFUSED[form]
    file = tmp_path / f"photo.{suffix}"
    write(file)
    with pytest.raises(InputError) as caught:
        read_photo(file)
    assert said in str(caught.value)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("times", [1, 3])
def test_a_picture_above_the_limit_is_one_line_and_no_warning(
    tmp_path, monkeypatch, recwarn, times
):
    file = tmp_path / "photo.png"
    image(COLOUR).save(file)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 54 // (2 * times))
    with pytest.raises(InputError) as caught:
        read_photo(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert times == 3 or "must have at most 27 pixels, got 9 x 6" in str(caught.value)
