"""Polygons that annotators really set, in the formats of LabelMe, COCO and CVAT.

Their clicks are replayed, not simulated.
"""

from __future__ import annotations

import math
import re
import unicodedata
import xml.etree.ElementTree as ET
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.parsers import expat

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from harness.blocks import PolygonLayout
from harness.clicks import clamp_vertices
from harness.data import files
from harness.data.annotations import FARTHEST_PX, Recording, read_json
from harness.data.cityscapes import ImageFiles, Split
from harness.data.images import size_on_disk
from harness.data.labels import IGNORE
from harness.errors import InputError, one_line, shorten

_LARGEST_FILE = 1 << 30
_ALONE = "annotations without a photograph are passed over"


@dataclass(frozen=True, slots=True)
class Shape:
    """One shape as it was clicked: (n, 2) float vertices (x, y); a box has two, its corners."""

    label: str
    vertices: npt.NDArray[np.float64]
    is_box: bool = False


@dataclass(frozen=True, slots=True)
class Drawing:
    """All shapes of one image, back to front."""

    height: int
    width: int
    shapes: tuple[Shape, ...]


class PolygonSplit(Split):
    """One split of images with recorded polygons.

    Choice: labels are the shapes painted in the file's order, the later in front (CVAT: by z_order,
    then in order). Every vertex that was recorded is a click, of hidden and of void shapes too; a
    box is two clicks.
    """

    def __init__(self, root: Path, name: str, cache: Path, layout: PolygonLayout) -> None:
        self.layout = layout
        names = [layout.background, *layout.classes] if layout.background else layout.classes
        self.class_names = tuple(dict.fromkeys(name for name in names if name))
        self.max_void_share = layout.max_void_share
        self._drawings: dict[str, Drawing] | None = None
        super().__init__(root, name, cache)

    def _find(self) -> dict[str, ImageFiles]:
        folder = self.root / self.layout.images.replace("{split}", self.name)
        place = self.root / self.layout.annotations.replace("{split}", self.name)
        if not folder.is_dir():
            raise InputError(f"data root {self.root}: must hold the folder of images {folder.name}")
        if not (place.is_dir() if self.layout.format == "labelme" else place.is_file()):
            kind = "folder" if self.layout.format == "labelme" else "file"
            raise InputError(f"data root {self.root}: must hold the {kind} of annotations {place}")
        photos, problems, passed = files.find_photos(folder)
        found: dict[str, ImageFiles] = {}
        for image_id, photo in photos.items():
            file = place
            if self.layout.format == "labelme":
                file = place / photo.relative_to(folder).with_suffix(".json")
                if not file.is_file():
                    problems.append(f"{photo}: must have the annotation {file}, found none")
            found[image_id] = ImageFiles(photo, file, file, place / "none")
        if not found and not problems:
            raise InputError(f"data root {self.root}: no image in {folder}")
        if self.layout.format == "labelme":
            used = {paths.polygons for paths in found.values()}
            alone = [
                path
                for path in files.list_files(place)
                if path.suffix.lower() == ".json"
                and path not in used
                and not files.is_hidden(path, place)
            ]
            passed += files.said(_ALONE, alone, place)
        self.problems, self.passed_over = problems, passed
        return found

    def _pack(self) -> None:
        """Polygons are no pack of this program."""

    def drawing(self, image_id: str) -> Drawing:
        """Return all shapes of an image.

        Raises:
            InputError: an annotation that cannot be read, or that was not clicked as polygons.
        """
        paths = self.files[image_id]
        if self.layout.format == "labelme":
            drawn: Drawing = _read(
                paths.polygons, lambda content: read_labelme(content, paths.photo)
            )
            return drawn
        drawings = self._all_drawings()
        relative, names = self._names_of(paths.photo)
        for name in names:
            if name not in drawings:
                continue
            alike = sum(other.photo.name == paths.photo.name for other in self.files.values())
            if name != relative and alike > 1:
                raise InputError(
                    f"{paths.polygons}: must name {relative} with its folder, since {alike} images "
                    f"are called {paths.photo.name}; got {name}"
                )
            return drawings[name]
        raise InputError(f"{paths.polygons}: must hold the image {relative}, found none")

    def _all_drawings(self) -> dict[str, Drawing]:
        """Read the one file of COCO or CVAT, once."""
        if self._drawings is None:
            reader = read_coco if self.layout.format == "coco" else read_cvat
            self._drawings = _read(next(iter(self.files.values())).polygons, reader)
        return self._drawings

    def _names_of(self, photo: Path) -> tuple[str, tuple[str, ...]]:
        """Return a photograph's path below its folder, and by which names a file may call it."""
        folder = self.root / self.layout.images.replace("{split}", self.name)
        relative = photo.relative_to(folder).as_posix()
        return relative, (relative, photo.name, relative.rpartition(".")[0])

    def notes(self) -> list[str]:
        """Say which images of a COCO or CVAT file have no photograph."""
        if self.layout.format == "labelme":
            return []
        used = {name for paths in self.files.values() for name in self._names_of(paths.photo)[1]}
        alone = [name for name in self._all_drawings() if name not in used]
        if not alone:
            return []
        file = next(iter(self.files.values())).polygons
        return [f"{file}: {len(alone)} {_ALONE}, such as {one_line(alone[0], 100)}"]

    def unknown_labels(self, image_id: str, recording: Recording | None) -> Counter[str]:
        """Count the shapes of an image whose label is no class: they are void."""
        del recording
        labels = (shape.label for shape in self.drawing(image_id).shapes)
        return Counter(label for label in labels if label not in self.class_names)

    def raw_labels(self, image_id: str) -> npt.NDArray[np.int32]:
        """Paint an image's class numbers, (H, W); 255 is void."""
        drawing = self.drawing(image_id)
        size, photo = (drawing.height, drawing.width), size_on_disk(self.files[image_id].photo)
        if size not in (photo, photo[::-1]):  # a photograph may be turned by its EXIF data
            raise InputError(
                f"{self.files[image_id].polygons}: must have the size of its image, "
                f"{photo[0]}x{photo[1]}, got {size[0]}x{size[1]}"
            )
        start = IGNORE
        if self.layout.background is not None:
            start = self.class_names.index(self.layout.background)
        canvas = Image.new("L", (drawing.width, drawing.height), start)
        pen = ImageDraw.Draw(canvas)
        for shape in drawing.shapes:
            known = shape.label in self.class_names
            fill = self.class_names.index(shape.label) if known else IGNORE
            points = [(float(x), float(y)) for x, y in shape.vertices]
            if shape.is_box:
                (left, top), (right, bottom) = points
                box = [min(left, right), min(top, bottom), max(left, right), max(top, bottom)]
                pen.rectangle(box, fill=fill)
            elif len(points) > 1:
                pen.polygon(points, fill=fill)
        return np.asarray(canvas).astype(np.int32)

    def palette(self, image_id: str) -> dict[int, int]:
        """Return nothing: labels are painted."""
        del image_id
        return {}

    def to_label_ids(self, raw: npt.NDArray[np.int32]) -> npt.NDArray[np.uint8]:
        """Return the class numbers: they are the label ids."""
        return raw.astype(np.uint8)

    def to_train_ids(self, label_ids: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return the label ids: they are class numbers."""
        return label_ids

    def class_of_value(self, value: int) -> int | None:
        """Return the class number of a painted value; None for void."""
        return value if value < len(self.class_names) else None

    def name_of_value(self, value: int) -> str:
        """Return what a painted value stands for."""
        return self.class_names[value] if value < len(self.class_names) else "void"

    def check_values(self, value_px: Any) -> list[str]:
        """Return nothing: what is painted is right by itself."""
        del value_px
        return []

    def recording(self, image_id: str) -> Recording | None:
        """There is no file in Cityscapes' form."""
        del image_id
        return None

    def decode_vertices(self, image_id: str) -> npt.NDArray[np.int32]:
        """Return the pixel (x, y) of every recorded vertex."""
        drawing = self.drawing(image_id)
        parts = [shape.vertices for shape in drawing.shapes]
        return clamp_vertices(parts, drawing.height, drawing.width)

    def click_fingerprint(self, image_id: str) -> bytes:
        """Return what identifies an image's clicks."""
        return b"".join(
            shape.label.encode() + shape.vertices.tobytes()
            for shape in self.drawing(image_id).shapes
        )

    @property
    def identity(self) -> str:
        """What tells this reading from another one of the same files."""
        return f"{self.root.resolve()}/{self.name}/polygons/{self.layout}"


def _read(path: Path, reader: Callable[[bytes], Any]) -> Any:
    """Read an annotation file; whatever is wrong with it is one line that names it."""
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise InputError(f"{path}: must be at most {_LARGEST_FILE >> 30} GiB")
        return reader(path.read_bytes())
    except InputError as error:
        raise InputError(
            f"{path}: {error}" if str(path) not in str(error) else str(error)
        ) from error
    except (OSError, RecursionError, ET.ParseError, expat.ExpatError) as error:
        raise InputError(f"{path}: cannot be read ({one_line(str(error))})") from error
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(
            f"{path}: is not of this format ({one_line(f'{type(error).__name__}: {error}', 160)})"
        ) from error


def _points(values: Any, what: str) -> npt.NDArray[np.float64]:
    given = np.asarray(values)
    if given.size == 0:
        raise InputError(f"{what} must have a vertex, got none: its clicks are not known")
    if given.dtype.kind not in "iuf":
        raise InputError(f"{what} must be a list of finite (x, y), got {shorten(given.tolist())}")
    found = given.astype(np.float64)
    if found.ndim != 2 or found.shape[1] != 2 or not np.isfinite(found).all():
        raise InputError(f"{what} must be a list of finite (x, y)")
    if np.abs(found).max() > FARTHEST_PX:
        raise InputError(
            f"{what} must be within {FARTHEST_PX} px of the origin, got {np.abs(found).max():g}"
        )
    return found


def _list(document: Any, key: str) -> list[Any]:
    found = document[key]
    if not isinstance(found, list):
        raise InputError(f"{key} must be a list, got {shorten(found)}")
    return found


def _label(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise InputError(f"{what} must have a label that is a text, got {shorten(value)}")
    return value


def _id(value: Any, what: str) -> int | str:
    """Return an id: to Python ``true`` and 1.0 are the number 1 too."""
    if type(value) is not int and type(value) is not str:
        raise InputError(f"{what} must be a whole number or a text, got {shorten(value)}")
    return value


def _by_id(items: list[Any], what: str) -> dict[int | str, Any]:
    found: dict[int | str, Any] = {}
    for item in items:
        number = _id(item["id"], f"an id of {what}")
        if number in found:
            raise InputError(f"{what} must have ids of their own, got {shorten(number)} twice")
        found[number] = item
    return found


def _side(value: Any) -> int:
    number = float(value)
    if not math.isfinite(number) or number != int(number) or not 1 <= number < 1 << 31:
        raise InputError(f"an image's side must be a whole number of pixels, got {shorten(value)}")
    return int(number)


def read_labelme(content: bytes, photo: Path | None = None) -> Drawing:
    """Read one LabelMe file: polygons and rectangles.

    Args:
        photo: whose shapes they must be, where the file says whose they are.

    Raises:
        InputError: a shape that was not clicked as one of these, or shapes of another photograph.
    """
    document = read_json(content)
    named = document.get("imagePath")
    if photo is not None and named is not None:
        name = re.split(r"[\\/]", _label(named, "imagePath"))[-1]
        if name and _stem(name) != _stem(photo.name):
            raise InputError(f"imagePath must be the photograph {photo.name}, got {shorten(name)}")
    shapes = []
    for number, item in enumerate(_list(document, "shapes")):
        kind = item.get("shape_type", "polygon")
        if kind not in {"polygon", "rectangle"}:
            raise InputError(
                f"shapes[{number}] must be a polygon or a rectangle, got {shorten(kind)}: "
                "its clicks are not known"
            )
        vertices = _points(item["points"], f"shapes[{number}].points")
        if kind == "rectangle" and len(vertices) != 2:
            raise InputError(f"shapes[{number}] must have two corners, got {len(vertices)}")
        label = _label(item["label"], f"shapes[{number}]")
        shapes.append(Shape(label, vertices, kind == "rectangle"))
    return Drawing(_side(document["imageHeight"]), _side(document["imageWidth"]), tuple(shapes))


def _stem(name: str) -> str:
    """Return a name without suffix, as file systems compare names: any case, any Unicode form."""
    return unicodedata.normalize("NFC", Path(name).stem).casefold()


def read_coco(content: bytes) -> dict[str, Drawing]:
    """Read a COCO file: the polygons of each image by its file name.

    Raises:
        InputError: run-length masks, which nobody clicked, and objects without a polygon.
    """
    document = read_json(content)
    categories = _by_id(_list(document, "categories"), "categories")
    names = {key: _label(item["name"], f"category {key}") for key, item in categories.items()}
    images = _by_id(_list(document, "images"), "images")
    by_image: dict[int | str, list[Shape]] = defaultdict(list)
    for item in _list(document, "annotations"):
        what = f"annotation {item.get('id')}"
        if not isinstance(item["segmentation"], list):
            raise InputError(f"{what} must be polygons, got a run-length mask: nobody clicked it")
        if not item["segmentation"]:
            raise InputError(f"{what} must have a polygon, got none: its clicks are not known")
        for part in item["segmentation"]:
            vertices = _points(np.asarray(part).reshape(-1, 2), what)
            category = _id(item["category_id"], f"{what}: category_id")
            image = _id(item["image_id"], f"{what}: image_id")
            by_image[image].append(Shape(names[category], vertices))
    found: dict[str, Drawing] = {}
    for number, item in images.items():
        if item["file_name"] in found:
            raise InputError(f"images must have names of their own, got {item['file_name']} twice")
        size = _side(item["height"]), _side(item["width"])
        found[item["file_name"]] = Drawing(*size, tuple(by_image.get(number, ())))
    unknown = set(by_image) - set(images)
    if unknown:
        raise InputError(
            f"annotations must be of an image of the file, got image_id {unknown.pop()}"
        )
    return found


def read_cvat(content: bytes) -> dict[str, Drawing]:
    """Read a file of CVAT for images 1.1: polygons and boxes of each image by its name.

    Raises:
        InputError: a shape of another kind, a turned box, or a document with entities.
    """
    _refuse_entities(content)
    root = ET.fromstring(content)  # noqa: S314  entities are refused above
    if next(root.iter("track"), None) is not None:
        raise InputError("must be CVAT for images 1.1, got a <track>: that is a video's")
    found: dict[str, Drawing] = {}
    for image in root.iter("image"):
        name = image.attrib["name"]
        if name in found:
            raise InputError(f"images must have names of their own, got {shorten(name)} twice")
        shapes = sorted(_cvat_shapes(image), key=lambda item: item[0])
        size = _side(image.attrib["height"]), _side(image.attrib["width"])
        found[name] = Drawing(*size, tuple(shape for _, shape in shapes))
    if not found:
        raise InputError("must be CVAT for images 1.1: there is no <image> in it")
    return found


def _refuse_entities(content: bytes) -> None:
    """Refuse a document that declares entities, in whatever encoding it is."""

    def refuse(*_: object) -> None:
        raise InputError("must be plain XML without entities")

    parser = expat.ParserCreate()
    parser.EntityDeclHandler = refuse
    parser.Parse(content, True)


def _floats(texts: list[str]) -> list[float]:
    return [float(text) for text in texts]


def _cvat_shapes(image: ET.Element) -> Iterator[tuple[int, Shape]]:
    for item in image:
        if item.tag == "tag":
            continue
        what = f"image {image.attrib['name']}: <{item.tag}>"
        order = int(item.attrib.get("z_order", 0))
        if float(item.attrib.get("rotation", 0)) % 360 != 0:
            turned = shorten(item.attrib["rotation"])
            raise InputError(
                f"{what} must not be turned, got rotation {turned}: draw it as polygon"
            )
        if item.attrib.get("outside", "0") != "0":
            raise InputError(f"{what} must be inside the image, got outside: that is a video's")
        if item.tag == "polygon":
            pairs = [_floats(pair.split(",")) for pair in item.attrib["points"].split(";")]
            yield order, Shape(item.attrib["label"], _points(pairs, what))
        elif item.tag == "box":
            corners = [
                _floats([item.attrib["xtl"], item.attrib["ytl"]]),
                _floats([item.attrib["xbr"], item.attrib["ybr"]]),
            ]
            yield order, Shape(item.attrib["label"], _points(corners, what), is_box=True)
        else:
            raise InputError(f"{what} must be a polygon or a box: its clicks are not known")
