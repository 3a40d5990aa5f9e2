"""The one reader of data in Cityscapes' layout, and the oracle over it.

The ONLY reader of hidden labels.

The embedded pack and the real data set go through the same code; nothing may depend on which it is.
"""

from __future__ import annotations

import copy
import json
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from harness.clicks import (
    count_components,
    count_region,
    count_segment,
    vertex_map,
    vertices_inside,
)
from harness.data.annotations import Recording, read_recording
from harness.data.decoded import DecodedCache
from harness.data.files import (
    dead_links,
    fault_of,
    has_plain_name,
    is_hidden,
    list_files,
    said,
    shown,
    unprintable,
)
from harness.data.images import palette_of, read_labels, read_photo
from harness.data.index import Index, Problem, check_split, load_index
from harness.data.labels import (
    CLASS_NAMES,
    HIGHEST_LABEL_ID,
    IGNORE,
    find_label,
    train_id_table,
)
from harness.data.manifest import MANIFEST, has_manifest, read_manifest, wrong_names
from harness.errors import InputError, RunError
from harness.pool import LabelledPool
from harness.superpixels import Superpixels
from harness.types import Annotation, ClickTotals, Region, Segment

_PHOTO_SUFFIX = "_leftImg8bit.png"
_POLYGON_SUFFIX = "_gtFine_polygons.json"
LAYOUT = "leftImg8bit/<split>/<city>/*_leftImg8bit.png and gtFine/<split>/<city>/*_gtFine_{labelIds.png,polygons.json}"
_PHOTO_MEMORY_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class ImageFiles:
    """The files of one image; ``train_ids`` is used where it is there and derived where it is not."""

    photo: Path
    label_ids: Path
    polygons: Path
    train_ids: Path

    @property
    def required(self) -> tuple[Path, ...]:
        """The files that every image must have."""
        return self.photo, self.label_ids, self.polygons


class Split:
    """The images of ``<root>/leftImg8bit/<name>`` in the order of their ids, with their annotations.

    Args:
        cache: where index and decoded images are kept.
        visible_only: count only the vertices that can be seen in the finished image.

    Raises:
        InputError: no such folder, or no image in it.
    """

    class_names: tuple[str, ...] = CLASS_NAMES
    simulated_clicks = False
    max_void_share = 0.5
    """Choice: a split with more void than this was read with the wrong table.

    Cityscapes has a tenth.
    """

    def __init__(self, root: Path, name: str, cache: Path, *, visible_only: bool = False) -> None:
        self.root, self.name, self.cache, self.visible_only = root, name, cache, visible_only
        self.problems: list[str] = []
        self.passed_over: list[str] = []
        self.files = self._find()
        self.manifest = self._pack()
        self._photos: OrderedDict[str, npt.NDArray[np.uint8]] = OrderedDict()
        self._photo_bytes = 0
        self._lock = threading.Lock()

    def _find(self) -> dict[str, ImageFiles]:
        folder = self.root / "leftImg8bit" / self.name
        if not folder.is_dir():
            raise InputError(
                f"data root {self.root}: no folder leftImg8bit/{self.name}; expected {LAYOUT}"
            )
        files = list_files(folder)
        photos = [
            path
            for path in sorted(files, key=lambda path: path.name)
            if path.name.endswith(_PHOTO_SUFFIX)
            and not path.name.startswith(".")
            and len(path.relative_to(folder).parts) == 2
        ]
        if not photos:
            raise InputError(
                f"data root {self.root}: no image in leftImg8bit/{self.name}; expected {LAYOUT}"
            )
        found: dict[str, ImageFiles] = {}
        for path in photos:
            stem = path.name.removesuffix(_PHOTO_SUFFIX)
            if fault := fault_of(path):
                self.problems.append(f"{shown(path)}: must be a photograph, got {fault}")
            elif not has_plain_name(path, folder):
                self.problems.append(unprintable(path, folder))
            elif stem in found:
                self.problems.append(
                    f"{path}: two photographs must not share a name, got {found[stem].photo}"
                )
            else:
                found[stem] = self._files_of(path)
        left = sorted(set(files) - set(photos))
        self.problems += dead_links(path for path in left if not is_hidden(path, folder))
        self.passed_over = said(f"files are passed over: not <city>/*{_PHOTO_SUFFIX}", left, folder)
        annotated = self.root / "gtFine" / self.name
        alone = [
            path
            for path in (list_files(annotated) if annotated.is_dir() else ())
            if path.name.endswith(_POLYGON_SUFFIX)
            and path.name.removesuffix(_POLYGON_SUFFIX) not in found
        ]
        self.passed_over += said(
            "annotations without a photograph are passed over", alone, annotated
        )
        return found

    def _pack(self) -> dict[str, str] | None:
        """Return what the folder held when it was made, where it is a pack of this program."""
        if not has_manifest(self.root):
            return None
        manifest = read_manifest(self.root)
        if manifest is None:
            self.problems.append(
                f"{self.root / MANIFEST}: must list the files of the pack with their checksums; "
                "make the pack again, or delete this file if the folder is data of your own"
            )
            return None
        self.problems += wrong_names(self.root, self.name, manifest)
        return manifest

    def _files_of(self, photo: Path) -> ImageFiles:
        stem = photo.name.removesuffix(_PHOTO_SUFFIX)
        annotation = self.root / "gtFine" / self.name / photo.parent.name
        return ImageFiles(
            photo,
            annotation / f"{stem}_gtFine_labelIds.png",
            annotation / f"{stem}_gtFine_polygons.json",
            annotation / f"{stem}_gtFine_labelTrainIds.png",
        )

    # -------------------------------------------------------------------------------------- reading

    def photo(self, image_id: str) -> npt.NDArray[np.uint8]:
        """Return the (H, W, 3) RGB photograph, read-only.

        From the decoded cache, or decoded and kept in bounded memory.
        """
        cached = self._decoded.photo(image_id) if self._decoded else None
        if cached is not None:
            return cached
        with self._lock:
            if image_id in self._photos:
                self._photos.move_to_end(image_id)
                return self._photos[image_id]
        pixels = self.decode_photo(image_id)
        pixels.flags.writeable = False
        with self._lock:
            if image_id not in self._photos:
                self._photo_bytes += pixels.nbytes
            self._photos[image_id] = pixels
            while self._photo_bytes > _PHOTO_MEMORY_BYTES and len(self._photos) > 1:
                self._photo_bytes -= self._photos.popitem(last=False)[1].nbytes
        return pixels

    def label_ids(self, image_id: str) -> npt.NDArray[np.uint8]:
        """Return the (H, W) label ids.

        ``labelIds.png`` is the label, polygons are for clicks only.
        """
        cached = self._decoded.label_ids(image_id) if self._decoded else None
        return self.decode_label_ids(image_id) if cached is None else cached

    def train_ids(self, image_id: str) -> npt.NDArray[np.uint8]:
        """Return the (H, W) train ids, 255 for void.

        From ``labelTrainIds.png`` where there is one.
        """
        given = self.files[image_id].train_ids
        if given.is_file():
            return read_labels(given).astype(np.uint8)
        return np.asarray(self.to_train_ids(self.label_ids(image_id)))

    def to_train_ids(self, label_ids: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Map label ids to train ids."""
        return np.asarray(train_id_table()[label_ids])

    def vertices(self, image_id: str) -> npt.NDArray[np.int32]:
        """Return the (n, 2) pixel (x, y) of every recorded vertex, hidden and void objects too (unless ``visible_only``)."""
        cached = self._decoded.vertices(image_id) if self._decoded else None
        return self.decode_vertices(image_id) if cached is None else cached

    # ---------------------------------------------------------------- decoding, for index and cache
    # for index and cache

    def decode_photo(self, image_id: str) -> npt.NDArray[np.uint8]:
        """Decode the photograph."""
        return read_photo(self.files[image_id].photo)

    def decode_label_ids(self, image_id: str) -> npt.NDArray[np.uint8]:
        """Decode the label ids."""
        return self.to_label_ids(self.raw_labels(image_id))

    def raw_labels(self, image_id: str) -> npt.NDArray[np.int32]:
        """Read the (H, W) values of the label image, as they are stored."""
        return read_labels(self.files[image_id].label_ids)

    def to_label_ids(self, raw: npt.NDArray[np.int32]) -> npt.NDArray[np.uint8]:
        """Map stored values to label ids: here they are the same.

        Others than the table's are void.
        """
        return np.where(raw > HIGHEST_LABEL_ID, 0, raw).astype(np.uint8)

    def class_of_value(self, value: int) -> int | None:
        """Return the class number of a stored value; None for void."""
        number = int(train_id_table()[value]) if value <= HIGHEST_LABEL_ID else IGNORE
        return None if number == IGNORE else number

    def name_of_value(self, value: int) -> str:
        """Return a stored value as a person knows it."""
        return str(value)

    def check_values(self, value_px: Mapping[int, int]) -> list[str]:
        """Return what is wrong with the values that this split's label images hold."""
        total = sum(value_px.values())
        return [
            f"data root {self.root}: labelIds of {self.name} must hold 0 to {HIGHEST_LABEL_ID}, "
            f"got {value} on {100 * count / total:.2f} % of the pixels"
            for value, count in value_px.items()
            if value > HIGHEST_LABEL_ID
        ][:10]

    def recording(self, image_id: str) -> Recording | None:
        """Read the polygon file."""
        return read_recording(self.files[image_id].polygons)

    def notes(self) -> list[str]:
        """Return what a person should know about the annotations as a whole, a line each."""
        return []

    def unknown_labels(self, image_id: str, recording: Recording | None) -> Counter[str]:
        """Count the objects of an image, as they were recorded, whose label is not in the table."""
        del image_id
        objects = recording.objects if recording is not None else ()
        return Counter(item.label for item in objects if find_label(item.label) is None)

    def palette(self, image_id: str) -> dict[int, int]:
        """Return the colours of the indices that a label image uses; of a palette image alone."""
        return palette_of(self.files[image_id].label_ids)

    def decode_vertices(self, image_id: str) -> npt.NDArray[np.int32]:
        """Read the vertices that count as clicks."""
        recording = read_recording(self.files[image_id].polygons)
        return (
            recording.visible_vertices(self.decode_label_ids(image_id))
            if self.visible_only
            else recording.vertices()
        )

    def click_fingerprint(self, image_id: str) -> bytes:
        """Return what identifies an image's clicks, whatever the white space of its file."""
        document = json.loads(self.files[image_id].polygons.read_text(encoding="utf-8"))
        return json.dumps(document, sort_keys=True).encode() + (
            b"visible only" if self.visible_only else b""
        )

    # ------------------------------------------------------------------------------------- checking

    @property
    def identity(self) -> str:
        """What tells this split's click counts from those of another reading of the same files."""
        return f"{self.root.resolve()}/{self.name}/visible_only={self.visible_only}"

    @cached_property
    def index(self) -> Index:
        """Sizes, totals and fingerprint.

        Every file is read and checked once, and again only after a change.

        Raises:
            InputError: a broken file, or sizes that disagree; one line that names the first one.
        """
        found = load_index(self)
        if found is None:
            found, problems = check_split(self)
            if problems:
                more = (
                    f" (and {len(problems) - 1} more; harness data check lists them)"
                    if len(problems) > 1
                    else ""
                )
                raise InputError(f"{problems[0]}{more}")
            if found is None:
                raise InputError(f"data root {self.root}: {self.name} cannot be indexed")
        return found

    def check(
        self, *, each: Callable[[str], None] | None = None
    ) -> tuple[Index | None, list[Problem]]:
        """Read every file again, whatever was indexed before.

        Return what was found and everything that is wrong.
        """
        found, problems = check_split(self, each=each)
        self.__dict__.pop("index", None)
        self.__dict__.pop("_decoded", None)
        return found, problems

    @property
    def cities(self) -> dict[str, list[str]]:
        """Return the image ids of each city, by name."""
        found: dict[str, list[str]] = {}
        for image_id, files in self.files.items():
            found.setdefault(files.photo.parent.name, []).append(image_id)
        return dict(sorted(found.items()))

    def only(self, image_ids: Iterable[str]) -> Self:
        """Return the split of some of its images, with their own totals and fingerprint.

        Files and caches are shared.
        """
        kept = set(image_ids)
        part = copy.copy(self)
        part.files = {image_id: files for image_id, files in self.files.items() if image_id in kept}
        part.__dict__["index"] = self.index.only(
            list(part.files),
            ClickTotals(
                sum(len(self.vertices(image_id)) for image_id in part.files),
                sum(count_components(self.label_ids(image_id)) for image_id in part.files),
            ),
        )
        return part

    @cached_property
    def _decoded(self) -> DecodedCache | None:
        return DecodedCache.open(self.index.decoded) if self.index.decoded else None


class ClickOracle:
    """Replays the annotators' recorded clicks.

    The only one who reads the labels of the training set (CEREALS, section 4).
    """

    def __init__(self, split: Split, superpixels: Superpixels | None = None) -> None:
        self._split, self._superpixels = split, superpixels
        self.totals = split.index.totals

    def over(self, split: Split) -> Self:
        """Return the same annotators over another split."""
        other = copy.copy(self)
        other._split, other.totals = split, split.index.totals  # noqa: SLF001
        return other

    def annotate(self, regions: Sequence[Region], pool: LabelledPool) -> list[Annotation]:
        """Return labels and clicks of each region.

        Pixels that the pool holds are neither new nor billed again.

        Choice: with overlapping regions only vertices in new pixels are billed; the border is
        always billed in full.
        """
        answers = []
        billed: dict[str, npt.NDArray[np.bool_]] = {}
        for region in regions:
            if region.image_id not in billed:
                billed[region.image_id] = pool.is_labelled(region.image_id).copy()
            known = billed[region.image_id]
            is_new = ~known[region.slices]
            if isinstance(region, Segment):
                answer = self._annotate_segment(region, is_new)
            else:
                answer = self._annotate(region, is_new)
            known[region.slices] |= answer.is_new
            answers.append(answer)
        return answers

    def _labels_of(self, image_id: str) -> npt.NDArray[np.uint8]:
        """Return the (H, W) train ids that the annotators give."""
        return self._split.train_ids(image_id)

    def _annotate_segment(self, region: Segment, is_new: npt.NDArray[np.bool_]) -> Annotation:
        """Label one superpixel: its inside as a window's, or all of it by its most frequent class.

        Choice: void is a class like the others for that, and the lower number wins a tie.
        """
        if self._superpixels is None:
            raise RunError("superpixels need photographs, and this oracle has none")
        segments = self._superpixels.of(region.image_id, region.mean_px)
        inside = segments[region.slices] == region.number
        is_new &= inside
        labels = np.full(inside.shape, IGNORE, np.uint8)
        labels[inside] = self._labels_of(region.image_id)[region.slices][inside]
        vertices = self._split.vertices(region.image_id)
        if region.dominant:  # its one click is on no vertex
            labels[inside] = np.bincount(labels[inside]).argmax()
            vertices = vertices[:0]
        near = vertices_inside(vertices, region)
        near = near[inside[near[:, 1] - region.top, near[:, 0] - region.left]]
        billed = near[is_new[near[:, 1] - region.top, near[:, 0] - region.left]]
        label_ids = self._split.label_ids(region.image_id)
        return Annotation(
            region, labels, near, is_new, count_segment(billed, label_ids, segments, region)
        )

    def _annotate(self, region: Region, is_new: npt.NDArray[np.bool_]) -> Annotation:
        label_ids = self._split.label_ids(region.image_id)
        inside = vertices_inside(self._split.vertices(region.image_id), region)
        billed = inside[is_new[inside[:, 1] - region.top, inside[:, 0] - region.left]]
        labels = self._labels_of(region.image_id)[
            region.slices
        ].copy()  # a view would keep the whole image alive
        return Annotation(region, labels, inside, is_new, count_region(billed, label_ids, region))

    def click_map(self, image_id: str) -> npt.NDArray[np.int64]:
        """Return the (H, W) true polygon clicks per pixel.

        For strategies that are marked as bounds.
        """
        return vertex_map(self._split.vertices(image_id), *self._split.index.sizes[image_id])
