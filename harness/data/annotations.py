"""``*_polygons.json`` files with all their oddities.

What was recorded, and which of it counts as clicks.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from harness.clicks import clamp_vertices
from harness.data.labels import find_label
from harness.errors import InputError, one_line, shorten

FARTHEST_PX = 1_000_000
"""Choice: a vertex farther from the origin than this was not clicked; painters overflow there."""


def read_json(content: str | bytes) -> Any:
    """Read JSON in which no object has a key twice: of two values one would be lost.

    Raises:
        ValueError: no JSON, or a key that stands twice.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise ValueError(f"a key must stand once, got {shorten(twice)} twice")
        return found

    return json.loads(content, object_pairs_hook=once)


@dataclass(frozen=True, slots=True)
class RecordedObject:
    """One object as its annotator left it.

    (n, 2) float vertices (x, y) in pixels, in the order of the clicks.
    """

    label: str
    vertices: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Recording:
    """All objects of one image, back to front; objects marked as deleted are left out."""

    height: int
    width: int
    objects: tuple[RecordedObject, ...]

    def vertices(self) -> npt.NDArray[np.int32]:
        """Return the (n, 2) pixel (x, y) of every recorded vertex, void and hidden objects too."""
        return clamp_vertices([item.vertices for item in self.objects], self.height, self.width)

    def visible_vertices(self, label_ids: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
        """Return only the vertices that an annotator could still see in the finished image.

        Choice: a vertex is visible when one of the 3 x 3 pixels around it has its object's label;
        an object whose label the label image cannot show (license plate, an unknown name) is not
        visible.
        """
        kept = [np.empty((0, 2), np.int32)]
        padded = np.pad(label_ids.astype(np.int16), 1, constant_values=-2)
        for item in self.objects:
            label = find_label(item.label)
            if label is None or label.label_id < 0 or len(item.vertices) == 0:
                continue
            points = clamp_vertices([item.vertices], self.height, self.width)
            around = [
                padded[points[:, 1] + dy, points[:, 0] + dx] == label.label_id
                for dy in range(3)
                for dx in range(3)
            ]
            kept.append(points[np.any(around, axis=0)])
        return np.concatenate(kept)


def read_recording(path: Path) -> Recording:
    """Read a polygon file.

    Integer and float coordinates, vertices on and outside the frame, repeated vertices, closed
    polygons, fewer than three vertices, unknown labels and an empty list of objects are all taken
    as they are.

    Raises:
        InputError: not JSON, or not of this form; one line that names the file and the object.
    """
    try:
        document = read_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({one_line(str(error))})") from error
    try:
        height, width = _whole(document["imgHeight"]), _whole(document["imgWidth"])
        if not isinstance(document["objects"], list):
            raise TypeError("objects is not a list")
        objects = tuple(
            _object(item, number)
            for number, item in enumerate(document["objects"])
            if not item.get("deleted")
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(
            f"{path}: not a polygon file ({shorten(error, 200)}); it must have imgHeight, "
            "imgWidth, and objects with label and polygon"
        ) from error
    return Recording(height, width, objects)


def _whole(value: Any) -> int:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not math.isfinite(value)
        or int(value) != value
        or value < 1
    ):
        raise ValueError(f"{shorten(value)} is not a whole number of pixels")
    return int(value)


def _object(item: dict[str, Any], number: int) -> RecordedObject:
    vertices = np.asarray(item["polygon"], dtype=np.float64)
    if vertices.size == 0:
        vertices = vertices.reshape(0, 2)
    if vertices.ndim != 2 or vertices.shape[1] != 2 or not np.isfinite(vertices).all():
        raise ValueError(f"objects[{number}].polygon is not a list of finite [x, y]")
    if np.abs(vertices).max(initial=0) > FARTHEST_PX:
        raise ValueError(f"objects[{number}].polygon is not within {FARTHEST_PX} px of the origin")
    if not isinstance(item["label"], str):
        raise TypeError(f"objects[{number}].label is not a name")
    return RecordedObject(item["label"], vertices)


def rasterise(recording: Recording) -> npt.NDArray[np.uint8]:
    """Paint the label ids of a recording: to compare with, never to learn from."""
    objects = ((item.label, item.vertices.tolist()) for item in recording.objects)
    return paint_labels(objects, recording.height, recording.width)


def paint_labels(
    objects: Iterable[tuple[str, Sequence[Sequence[float]]]], height: int, width: int
) -> npt.NDArray[np.uint8]:
    """Return the (H, W) label ids of (label, vertices) pairs, painted back to front the way cityscapesScripts paints them."""
    canvas = Image.new("L", (width, height), 0)
    pen = ImageDraw.Draw(canvas)
    for name, vertices in objects:
        label = find_label(name)
        if label is not None and label.label_id >= 0 and len(vertices) > 1:
            pen.polygon([(x, y) for x, y in vertices], fill=label.label_id)
    return np.asarray(canvas).copy()
