"""Polygons that annotators really set, in the formats of LabelMe, COCO and CVAT.

Their clicks are replayed, not simulated.
"""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from harness.blocks import PolygonLayout
from harness.clicks import clamp_vertices
from harness.data import files
from harness.data.annotations import Recording
from harness.data.cityscapes import ImageFiles, Split
from harness.data.labels import IGNORE
from harness.errors import InputError, one_line, shorten

_LARGEST_FILE = 1 << 30


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
            drawn: Drawing = _read(paths.polygons, read_labelme)
            return drawn
        if self._drawings is None:
            reader = read_coco if self.layout.format == "coco" else read_cvat
            self._drawings = _read(paths.polygons, reader)
        folder = self.root / self.layout.images.replace("{split}", self.name)
        relative = paths.photo.relative_to(folder).as_posix()
        for name in (relative, paths.photo.name, relative.rpartition(".")[0]):
            if name not in self._drawings:
                continue
            alike = sum(other.photo.name == paths.photo.name for other in self.files.values())
            if name != relative and alike > 1:
                raise InputError(
                    f"{paths.polygons}: must name {relative} with its folder, since {alike} images "
                    f"are called {paths.photo.name}; got {name}"
                )
            return self._drawings[name]
        raise InputError(f"{paths.polygons}: must hold the image {relative}, found none")

    def raw_labels(self, image_id: str) -> npt.NDArray[np.int32]:
        """Paint an image's class numbers, (H, W); 255 is void."""
        drawing = self.drawing(image_id)
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
    except (OSError, RecursionError, ET.ParseError) as error:
        raise InputError(f"{path}: cannot be read ({one_line(str(error))})") from error
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        raise InputError(
            f"{path}: is not of this format ({one_line(f'{type(error).__name__}: {error}', 160)})"
        ) from error


def _points(values: Any, what: str) -> npt.NDArray[np.float64]:
    found = np.asarray(values, np.float64)
    if found.size == 0:
        raise InputError(f"{what} must have a vertex, got none: its clicks are not known")
    if found.ndim != 2 or found.shape[1] != 2 or not np.isfinite(found).all():
        raise InputError(f"{what} must be a list of finite (x, y)")
    return found


def _side(value: Any) -> int:
    number = float(value)
    if not math.isfinite(number) or number != int(number) or not 1 <= number < 1 << 31:
        raise InputError(f"an image's side must be a whole number of pixels, got {shorten(value)}")
    return int(number)


def read_labelme(content: bytes) -> Drawing:
    """Read one LabelMe file: polygons and rectangles.

    Raises:
        InputError: a shape that was not clicked as one of these.
    """
    document = json.loads(content)
    shapes = []
    for number, item in enumerate(document["shapes"]):
        kind = item.get("shape_type", "polygon")
        if kind not in {"polygon", "rectangle"}:
            raise InputError(
                f"shapes[{number}] must be a polygon or a rectangle, got {shorten(kind)}: "
                "its clicks are not known"
            )
        vertices = _points(item["points"], f"shapes[{number}].points")
        if kind == "rectangle" and len(vertices) != 2:
            raise InputError(f"shapes[{number}] must have two corners, got {len(vertices)}")
        shapes.append(Shape(str(item["label"]), vertices, kind == "rectangle"))
    return Drawing(_side(document["imageHeight"]), _side(document["imageWidth"]), tuple(shapes))


def read_coco(content: bytes) -> dict[str, Drawing]:
    """Read a COCO file: the polygons of each image by its file name.

    Raises:
        InputError: run-length masks, which nobody clicked, and objects without a polygon.
    """
    document = json.loads(content)
    names = {item["id"]: str(item["name"]) for item in document["categories"]}
    by_image: dict[Any, list[Shape]] = defaultdict(list)
    for item in document["annotations"]:
        what = f"annotation {item.get('id')}"
        if not isinstance(item["segmentation"], list):
            raise InputError(f"{what} must be polygons, got a run-length mask: nobody clicked it")
        if not item["segmentation"]:
            raise InputError(f"{what} must have a polygon, got none: its clicks are not known")
        for part in item["segmentation"]:
            vertices = _points(np.asarray(part, np.float64).reshape(-1, 2), what)
            by_image[item["image_id"]].append(Shape(names[item["category_id"]], vertices))
    found: dict[str, Drawing] = {}
    for item in document["images"]:
        if item["file_name"] in found:
            raise InputError(f"images must have names of their own, got {item['file_name']} twice")
        size = _side(item["height"]), _side(item["width"])
        found[item["file_name"]] = Drawing(*size, tuple(by_image.get(item["id"], ())))
    unknown = set(by_image) - {item["id"] for item in document["images"]}
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
    if b"<!ENTITY" in content:
        raise InputError("must be plain XML without entities")
    root = ET.fromstring(content)  # noqa: S314  entities are refused above
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
            pairs = [pair.split(",") for pair in item.attrib["points"].split(";")]
            yield order, Shape(item.attrib["label"], _points(pairs, what))
        elif item.tag == "box":
            corners = [
                [item.attrib["xtl"], item.attrib["ytl"]],
                [item.attrib["xbr"], item.attrib["ybr"]],
            ]
            yield order, Shape(item.attrib["label"], _points(corners, what), is_box=True)
        else:
            raise InputError(f"{what} must be a polygon or a box: its clicks are not known")
