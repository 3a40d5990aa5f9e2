"""Image files to arrays: labels exactly as they are stored, photographs as a viewer shows them.

What could be read in two ways is refused with one line, never guessed.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps

from harness.errors import InputError

PHOTO_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
LABEL_SUFFIXES = frozenset({".png", ".bmp", ".tif", ".tiff"})
"""Choice: no GIF, since programs that write one renumber its palette."""

_PHOTO_FORMATS = ("PNG", "JPEG", "MPO", "BMP", "TIFF", "WEBP", "GIF")
_LABEL_FORMATS = ("PNG", "BMP", "TIFF")
_SCALED_BY = {"L;2": 85, "L;4": 17}
"""Pillow spreads grey values of two and four bits over 0 to 255; labels must have them back."""

# A picture above Pillow's limit is refused here; its warning would be a second line.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)


def read_photo(path: Path) -> npt.NDArray[np.uint8]:
    """Read a photograph as a viewer shows it: (H, W, 3) uint8 RGB.

    Its EXIF orientation is applied; grey, palette, CMYK and YCbCr pictures become RGB; 16 bits are
    scaled to 8; a camera's multi-picture JPEG gives its first picture. Colour profiles are not
    applied.

    Raises:
        InputError: a picture that is missing, broken or cut short, has several frames,
            transparency, floating-point or 32-bit values, or more pixels than Pillow's limit.
    """
    with _opened(path, _PHOTO_FORMATS) as image:
        if image.format != "MPO":
            _refuse_frames(image, path)
        _refuse_inverted_depth(image, path)
        if _is_signed_byte(image):
            raise InputError(f"{path}: a photograph must hold 0 or more, got a signed 8-bit TIFF")
        image.load()
        try:
            upright = ImageOps.exif_transpose(image)
        except Exception as error:
            raise InputError(f"{path}: its EXIF data must be readable, got {error}") from error
        return _to_rgb(upright, path)


def _to_rgb(image: Image.Image, path: Path) -> npt.NDArray[np.uint8]:
    mode = image.mode
    if mode.startswith("I;16") and "transparency" in image.info:
        raise InputError(f"{path}: a photograph must be opaque, got a transparent value")
    if mode.startswith("I;16") or (mode == "I" and image.format == "PNG"):
        values = np.asarray(image).astype(np.int64)
        grey = ((values * 255 + 32767) // 65535).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if mode not in {
        "1",
        "L",
        "P",
        "RGB",
        "RGBX",
        "CMYK",
        "YCbCr",
        "LA",
        "PA",
        "RGBA",
        "La",
        "RGBa",
    }:
        raise InputError(
            f"{path}: a photograph must have 8 or 16 bits a channel, grey or colour, got Pillow's "
            f"mode {mode!r}"
        )
    if "transparency" in image.info or mode in {"LA", "PA", "RGBA", "La", "RGBa"}:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema() != (255, 255):
            raise InputError(
                f"{path}: a photograph must be opaque, got an alpha channel that is not 255 "
                "everywhere; what lies behind it is not known"
            )
    return np.array(image.convert("RGB"), dtype=np.uint8)


def read_labels(path: Path, *, colours: bool = False) -> npt.NDArray[np.int32]:
    """Read a label image: (H, W) int32, each pixel's value as it is stored, never scaled.

    A palette image (Pascal VOC, labelme, CVAT) gives its indices, a 1-bit image 0 and 1.

    Args:
        colours: read a colour image, each pixel as 65536 R + 256 G + B; a palette image too.

    Raises:
        InputError: missing or broken; a colour image without ``colours`` and the reverse; a lossy
            format or compression, several frames, transparency, floating point, negative values,
            more than 8 bits in several channels, or an EXIF orientation, which not all readers
            apply.
    """
    with _opened(path, _LABEL_FORMATS) as image:
        _refuse_frames(image, path)
        raw = _raw_mode(image)
        _refuse_inverted_depth(image, path)
        _refuse_loss(image, path)
        _refuse_wide_channels(image, raw, path)
        # before load: Pillow turns a TIFF when it loads it, and then its tag is gone
        if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
            raise InputError(
                f"{path}: a label image must not have an EXIF orientation: some readers turn it, "
                "some do not"
            )
        image.load()
        if not _is_opaque(image, raw):
            raise InputError(f"{path}: a label image must be opaque, got transparent pixels")
        if colours:
            return _packed_colours(image, path)
        return _stored_values(image, raw, path)


def palette_of(path: Path) -> dict[int, int]:
    """Return the colour of each index that a palette image uses: index -> 65536 R + 256 G + B.

    Empty where the file is no palette image, or cannot be read.
    """
    try:
        with _opened(path, _LABEL_FORMATS) as image:
            if image.mode != "P":
                return {}
            used = np.unique(np.asarray(image)).tolist()
            table = image.getpalette("RGB") or []
    except InputError:
        return {}
    table += [0] * (768 - len(table))
    return {at: (table[3 * at] << 16) + (table[3 * at + 1] << 8) + table[3 * at + 2] for at in used}


def _packed_colours(image: Image.Image, path: Path) -> npt.NDArray[np.int32]:
    if image.mode not in {"RGB", "P", "RGBA"}:
        raise InputError(
            f"{path}: the config's classes are colours, so a label image must be in colour, got "
            f"Pillow's mode {image.mode!r}"
        )
    image.info.pop("transparency", None)  # of no pixel; Pillow would warn about it
    channels = np.asarray(image.convert("RGB"), dtype=np.int32)
    return (channels[..., 0] << 16) + (channels[..., 1] << 8) + channels[..., 2]


def _stored_values(image: Image.Image, raw: str, path: Path) -> npt.NDArray[np.int32]:
    mode, is_signed = image.mode, _is_signed_byte(image)
    if mode in {"LA", "PA"}:
        image = image.getchannel(0)
    elif mode not in {"1", "L", "P", "I"} and not mode.startswith("I;16"):
        channels = len(image.getbands())
        if channels > 1:
            raise InputError(
                f"{path}: a label image must have one channel (a class number for each pixel), got "
                f"{channels} channels ({mode}); for a colour mask write colours in the config: "
                "classes={(128, 0, 0): 'cell', ...}"
            )
        raise InputError(
            f"{path}: a label image must hold whole numbers, got Pillow's mode {mode!r}"
        )
    stored = np.array(image)
    values = (stored.view(np.int8) if is_signed else stored).astype(np.int32)
    if values.min(initial=0) < 0:
        raise InputError(f"{path}: label values must be 0 or more, got {values.min()}")
    return values // _SCALED_BY.get(raw, 1)


# ----------------------------------------------------------------------------------------- opening


@contextmanager
def _opened(path: Path, formats: tuple[str, ...]) -> Iterator[Image.Image]:
    """Open an image file; whatever a decoder raises becomes one line that names the file."""
    try:
        with Image.open(path) as image:
            if image.format not in formats:
                raise InputError(
                    f"{path}: must be one of {', '.join(formats)} whatever its suffix, got "
                    f"{image.format}" + (" (lossy)" if image.format in {"JPEG", "WEBP"} else "")
                )
            limit = Image.MAX_IMAGE_PIXELS or 0
            if image.width * image.height > limit:
                raise InputError(
                    f"{path}: must have at most {limit} pixels, got {image.width} x {image.height}"
                )
            yield image
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file") from error
    except Exception as error:  # decoders raise anything
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: cannot be read as an image ({reason})") from error


def _refuse_frames(image: Image.Image, path: Path) -> None:
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise InputError(f"{path}: must hold one picture, got {frames} frames or pages")


def _raw_mode(image: Image.Image) -> str:
    """Return how pixels are stored in the file, in Pillow's words: ``L;4`` is grey of four bits."""
    tiles = getattr(image, "tile", [])
    arguments = tiles[0][3] if tiles else ""
    first = arguments[0] if isinstance(arguments, tuple) else arguments
    return first if isinstance(first, str) else ""


_PHOTOMETRIC = 262
_WHITE_IS_ZERO = 0


def _refuse_inverted_depth(image: Image.Image, path: Path) -> None:
    """Refuse a TIFF whose zero is white: Pillow turns 8 bits around, and leaves 16 as they are."""
    tags = getattr(image, "tag_v2", None)
    if tags is not None and tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        raise InputError(f"{path}: a TIFF must not store white as 0 (WhiteIsZero): save it again")


_BITS, _COMPRESSION, _SAMPLE_FORMAT = 258, 259, 339
_SIGNED = 2
_LOSSLESS = frozenset({1, 2, 3, 4, 5, 8, 32771, 32773, 32946, 34925, 50000})
"""Compressions of a TIFF that keep every value: none, CCITT, LZW, Deflate, PackBits, LZMA, Zstd."""


def _tag(image: Image.Image, number: int, default: int) -> tuple[int, ...]:
    """Return the values of a TIFF's tag, or the default: in other formats too."""
    found = getattr(image, "tag_v2", {}).get(number, default)
    return found if isinstance(found, tuple) else (found,)


def _refuse_loss(image: Image.Image, path: Path) -> None:
    (compression,) = _tag(image, _COMPRESSION, 1)
    if compression not in _LOSSLESS:
        name = image.info.get("compression", compression)
        raise InputError(
            f"{path}: a label image must be stored without loss, got a TIFF of compression {name}"
        )


def _refuse_wide_channels(image: Image.Image, raw: str, path: Path) -> None:
    """Refuse several channels of more than 8 bits: Pillow gives their high bytes alone."""
    if len(image.getbands()) > 1 and (";16" in raw or max(_tag(image, _BITS, 8)) > 8):
        raise InputError(
            f"{path}: a label image of several channels must have 8 bits in each, got 16"
        )


def _is_signed_byte(image: Image.Image) -> bool:
    """Return whether a TIFF stores numbers from -128 to 127, which Pillow gives as 0 to 255."""
    return image.mode == "L" and _SIGNED in _tag(image, _SAMPLE_FORMAT, 1)


def _is_opaque(image: Image.Image, raw: str) -> bool:
    """Return whether no pixel of a loaded image is transparent, by its alpha or its one colour."""
    if "A" in image.getbands():
        return image.getchannel("A").getextrema() == (255, 255)
    clear = image.info.get("transparency")
    if clear is None:
        return True
    if isinstance(clear, bytes):  # the alpha of each entry of a palette
        alpha = np.full(256, 255, np.uint8)
        alpha[: len(clear)] = np.frombuffer(clear, np.uint8)
        return bool((alpha[np.asarray(image)] == 255).all())
    is_clear = np.asarray(image) == np.array(clear) * _SCALED_BY.get(raw, 1)
    return not (is_clear.all(axis=2) if is_clear.ndim == 3 else is_clear).any()


def size_on_disk(path: Path) -> tuple[int, int]:
    """Return (height, width) as the file stores them, before any orientation is applied."""
    with _opened(path, _PHOTO_FORMATS) as image:
        return image.height, image.width
