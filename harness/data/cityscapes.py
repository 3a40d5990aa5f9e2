"""The one reader of data in Cityscapes' layout, and the oracle over it: the ONLY reader of hidden labels.

The embedded pack and the real data set go through the same code; nothing may depend on which it is.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from harness.clicks import clamp_vertices, count_components, count_region, vertex_map, vertices_inside
from harness.data.labels import train_id_table
from harness.errors import InputError
from harness.files import write_text
from harness.pool import LabelledPool
from harness.protocols import ImageSizes
from harness.types import Annotation, ClickTotals, Region

_PHOTO_SUFFIX = "_leftImg8bit.png"
_LAYOUT = "leftImg8bit/<split>/<city>/*_leftImg8bit.png and gtFine/<split>/<city>/*_gtFine_{labelIds.png,polygons.json}"
_INDEX_VERSION = 1
_PHOTO_CACHE_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class ImageFiles:
    """The three files of one image."""

    photo: Path
    label_ids: Path
    polygons: Path


@dataclass(frozen=True, slots=True)
class Index:
    """What a full check of a split found out: sizes, click totals, and a fingerprint of every byte."""

    sizes: ImageSizes
    totals: ClickTotals
    fingerprint: str


class Split:
    """The images of ``<root>/leftImg8bit/<name>`` in the order of their ids, with their annotations.

    Raises:
        InputError: no such folder, no image in it, or an image without its annotation.
    """

    def __init__(self, root: Path, name: str, cache: Path) -> None:
        self.root, self.name, self._cache = root, name, cache
        folder = root / "leftImg8bit" / name
        if not folder.is_dir():
            raise InputError(f"data root {root}: no folder leftImg8bit/{name}; expected {_LAYOUT}")
        photos = sorted(folder.glob(f"*/*{_PHOTO_SUFFIX}"), key=lambda path: path.name)
        if not photos:
            raise InputError(f"data root {root}: no image in leftImg8bit/{name}; expected {_LAYOUT}")
        self.files = {path.name.removesuffix(_PHOTO_SUFFIX): self._files_of(path) for path in photos}
        self._photos: OrderedDict[str, npt.NDArray[np.uint8]] = OrderedDict()
        self._photo_bytes = 0

    def _files_of(self, photo: Path) -> ImageFiles:
        stem = photo.name.removesuffix(_PHOTO_SUFFIX)
        annotation = self.root / "gtFine" / self.name / photo.parent.name
        files = ImageFiles(photo, annotation / f"{stem}_gtFine_labelIds.png", annotation / f"{stem}_gtFine_polygons.json")
        for path in (files.label_ids, files.polygons):
            if not path.is_file():
                raise InputError(f"{photo}: its annotation {path} is missing; expected {_LAYOUT}")
        return files

    # ------------------------------------------------------------------------------------------------------- reading

    def photo(self, image_id: str) -> npt.NDArray[np.uint8]:
        """Return the (H, W, 3) RGB photograph; read-only, kept in memory up to a bound."""
        if image_id in self._photos:
            self._photos.move_to_end(image_id)
            return self._photos[image_id]
        pixels = _decode(self.files[image_id].photo, "RGB")
        pixels.flags.writeable = False
        self._photos[image_id] = pixels
        self._photo_bytes += pixels.nbytes
        while self._photo_bytes > _PHOTO_CACHE_BYTES and len(self._photos) > 1:
            self._photo_bytes -= self._photos.popitem(last=False)[1].nbytes
        return pixels

    def label_ids(self, image_id: str) -> npt.NDArray[np.uint8]:
        """Return the (H, W) label ids; ``labelIds.png`` is the label, polygons are for clicks only."""
        return _decode(self.files[image_id].label_ids, "L")

    def train_ids(self, image_id: str) -> npt.NDArray[np.uint8]:
        """Return the (H, W) train ids, 255 for void."""
        return np.asarray(train_id_table()[self.label_ids(image_id)])

    def vertices(self, image_id: str) -> npt.NDArray[np.int32]:
        """Return the (n, 2) pixel (x, y) of every recorded vertex, hidden and void objects too."""
        document = _read_polygons(self.files[image_id].polygons)
        return clamp_vertices([item["polygon"] for item in document["objects"]], document["imgHeight"], document["imgWidth"])

    # ------------------------------------------------------------------------------------------------------- checking

    @cached_property
    def index(self) -> Index:
        """Sizes, totals and fingerprint; every file is read and checked once, and again only after a change.

        Raises:
            InputError: a broken file, or sizes that disagree; one line that names the file.
        """
        stored = self._cache / f"index-{hashlib.sha256(f'{self.root.resolve()}/{self.name}'.encode()).hexdigest()[:16]}.json"
        stamp = self._stamp()
        found = _load_index(stored, stamp)
        if found is None:
            found = self._check()
            document = {
                "version": _INDEX_VERSION,
                "stamp": stamp,
                "sizes": found.sizes,
                "polygon": found.totals.polygon,
                "classes": found.totals.classes,
                "fingerprint": found.fingerprint,
            }
            write_text(stored, json.dumps(document))
        return found

    def _stamp(self) -> str:
        digest = hashlib.sha256()
        for image_id, files in self.files.items():
            for path in (files.photo, files.label_ids, files.polygons):
                status = path.stat()
                digest.update(f"{image_id} {path.name} {status.st_size} {status.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def _check(self) -> Index:
        with ThreadPoolExecutor(os.cpu_count()) as workers:
            rows = list(workers.map(self._check_image, self.files))
        digest = hashlib.sha256()
        for image_id, row in zip(self.files, rows, strict=True):
            digest.update(f"{image_id} {row.digest}\n".encode())
        sizes = {image_id: row.size for image_id, row in zip(self.files, rows, strict=True)}
        totals = ClickTotals(sum(row.polygon for row in rows), sum(row.classes for row in rows))
        if totals.polygon == 0:
            raise InputError(f"data root {self.root}: no polygon vertex in gtFine/{self.name}; allowed: annotations with recorded clicks")
        return Index(sizes, totals, digest.hexdigest())

    def _check_image(self, image_id: str) -> _Checked:
        files = self.files[image_id]
        photo, labels, document = _decode(files.photo, "RGB"), _decode(files.label_ids, "L"), _read_polygons(files.polygons)
        size = photo.shape[0], photo.shape[1]
        if labels.shape != size:
            raise InputError(
                f"{files.label_ids}: {labels.shape[0]}x{labels.shape[1]} px, but its image is {size[0]}x{size[1]}; allowed: the same size"
            )
        recorded = document["imgHeight"], document["imgWidth"]
        if recorded != size:
            raise InputError(
                f"{files.polygons}: imgHeight x imgWidth is {recorded[0]}x{recorded[1]}, but its image is {size[0]}x{size[1]}; allowed: the same size"
            )
        digest = hashlib.sha256()
        digest.update(photo.tobytes())
        digest.update(labels.tobytes())
        digest.update(json.dumps(document, sort_keys=True).encode())
        n_vertices = sum(len(item["polygon"]) for item in document["objects"])
        return _Checked(size, n_vertices, count_components(labels), digest.hexdigest())


@dataclass(frozen=True, slots=True)
class _Checked:
    size: tuple[int, int]
    polygon: int
    classes: int
    digest: str


def _load_index(path: Path, stamp: str) -> Index | None:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["version"] != _INDEX_VERSION or document["stamp"] != stamp:
            return None
        sizes = {image_id: (int(height), int(width)) for image_id, (height, width) in document["sizes"].items()}
        return Index(sizes, ClickTotals(int(document["polygon"]), int(document["classes"])), str(document["fingerprint"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _decode(path: Path, mode: str) -> npt.NDArray[np.uint8]:
    try:
        with Image.open(path) as image:
            image.load()
            return np.array(image if image.mode == mode else image.convert(mode), dtype=np.uint8)
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as a PNG image ({error})") from error


def _read_polygons(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error})") from error
    try:
        if int(document["imgHeight"]) != document["imgHeight"] or int(document["imgWidth"]) != document["imgWidth"]:
            raise ValueError("imgHeight and imgWidth must be whole numbers")
        for item in document["objects"]:
            str(item["label"])
            vertices = np.asarray(item["polygon"], dtype=np.float64)
            if vertices.size and (vertices.ndim != 2 or vertices.shape[1] != 2 or not np.isfinite(vertices).all()):
                raise ValueError(f"polygon of {item['label']!r} is not a list of finite [x, y]")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not a polygon file ({error!r}); allowed: imgHeight, imgWidth, objects with label and polygon") from error
    return dict(document)


class ClickOracle:
    """Replays the annotators' recorded clicks: the only one who reads the labels of the training set (CEREALS, section 4)."""

    def __init__(self, split: Split) -> None:
        self._split = split
        self.totals = split.index.totals

    def annotate(self, regions: Sequence[Region], pool: LabelledPool) -> list[Annotation]:
        """Return labels and clicks of each region; pixels that the pool holds are neither new nor billed again.

        Choice: with overlapping regions only vertices in new pixels are billed; the border is always billed in full.
        """
        answers = []
        billed: dict[str, npt.NDArray[np.bool_]] = {}
        for region in regions:
            known = billed.setdefault(region.image_id, pool.is_labelled(region.image_id))
            answers.append(self._annotate(region, ~known[region.slices]))
            known[region.slices] = True
        return answers

    def _annotate(self, region: Region, is_new: npt.NDArray[np.bool_]) -> Annotation:
        label_ids = self._split.label_ids(region.image_id)
        inside = vertices_inside(self._split.vertices(region.image_id), region)
        billed = inside[is_new[inside[:, 1] - region.top, inside[:, 0] - region.left]]
        labels = train_id_table()[label_ids[region.slices]]
        return Annotation(region, labels, inside, is_new, count_region(billed, label_ids, region))

    def click_map(self, image_id: str) -> npt.NDArray[np.int64]:
        """Return the (H, W) true polygon clicks per pixel; for strategies that are marked as bounds."""
        return vertex_map(self._split.vertices(image_id), *self._split.index.sizes[image_id])
