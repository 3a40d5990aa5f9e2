"""What a full check of a split finds out, written down so that later starts need not read the files again."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.clicks import count_components
from harness.data import decoded
from harness.data.annotations import rasterise
from harness.data.labels import find_label
from harness.errors import InputError
from harness.files import write_text
from harness.protocols import ImageSizes
from harness.types import ClickTotals

if TYPE_CHECKING:
    from harness.data.cityscapes import Split

Problem = str
"""One line that names a file and says what is wrong with it."""

_VERSION = 2
LARGEST_DISAGREEMENT = 0.10
"""Choice: polygons that, painted, differ from the labels on more pixels than this belong to another image. Real files differ on 0.5 %."""


@dataclass(frozen=True, slots=True)
class Index:
    """Sizes, click totals, a fingerprint of every byte; the spread of vertices per image; where decoded images lie, if anywhere."""

    sizes: ImageSizes
    totals: ClickTotals
    fingerprint: str
    vertices_per_image: tuple[int, float, int]
    unknown_labels: dict[str, int]
    decoded: Path | None

    def only(self, image_ids: Sequence[str], totals: ClickTotals) -> Index:
        """Return the index of some of its images."""
        fingerprint = hashlib.sha256(f"{self.fingerprint} {sorted(image_ids)}".encode()).hexdigest()
        return replace(
            self,
            sizes={image_id: self.sizes[image_id] for image_id in image_ids},
            totals=totals,
            fingerprint=fingerprint,
        )


@dataclass(frozen=True, slots=True)
class _Checked:
    item: decoded.Decoded
    classes: int
    digest: str
    unknown: Counter[str]


def index_file(split: Split) -> Path:
    """Return where a split's index is kept."""
    return (
        split.cache / "indices" / f"{hashlib.sha256(split.identity.encode()).hexdigest()[:16]}.json"
    )


def _stamp(split: Split) -> str:
    digest = hashlib.sha256(f"{_VERSION}".encode())
    for image_id, files in split.files.items():
        for path in (*files.required, *([files.train_ids] if files.train_ids.is_file() else [])):
            try:
                status = path.stat()
            except OSError as error:
                raise InputError(
                    f"{files.photo}: its annotation {path} is missing; expected an annotation for each image"
                ) from error
            digest.update(
                f"{image_id} {path.name} {status.st_size} {status.st_mtime_ns}\n".encode()
            )
    return digest.hexdigest()


def load_index(split: Split) -> Index | None:
    """Return the index of an earlier check, unless a file has changed since or the decoded images are gone or damaged."""
    stamp = _stamp(split)
    try:
        document = json.loads(index_file(split).read_text(encoding="utf-8"))
        if document["version"] != _VERSION or document["stamp"] != stamp:
            return None
        folder = Path(document["decoded"]) if document["decoded"] else None
        if folder is not None and decoded.DecodedCache.open(folder) is None:
            return None
        low, mean, high = document["vertices_per_image"]
        return Index(
            sizes={
                image_id: (int(height), int(width))
                for image_id, (height, width) in document["sizes"].items()
            },
            totals=ClickTotals(int(document["polygon"]), int(document["classes"])),
            fingerprint=str(document["fingerprint"]),
            vertices_per_image=(int(low), float(mean), int(high)),
            unknown_labels=dict(document["unknown_labels"]),
            decoded=folder,
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def check_split(
    split: Split, *, each: Callable[[str], None] | None = None
) -> tuple[Index | None, list[Problem]]:
    """Read every file of a split once, in parallel; write the index and the decoded images if all is well.

    Args:
        each: called after each image, for progress.

    Returns:
        The index (None where anything is wrong), and every problem found.
    """
    missing = [
        f"{files.photo}: its annotation {path} is missing"
        for files in split.files.values()
        for path in files.required
        if not path.is_file()
    ]
    if missing:
        return None, missing
    stamp = _stamp(split)
    problems: list[Problem] = []
    rows: dict[str, tuple[tuple[int, int], int, int, str]] = {}
    unknown: Counter[str] = Counter()
    folder = (
        split.cache
        / "decoded"
        / hashlib.sha256(f"{stamp} {split.identity}".encode()).hexdigest()[:16]
        if _has_room(split)
        else None
    )

    def checked() -> Iterator[tuple[str, decoded.Decoded]]:
        for image_id, result in _in_parallel(split):
            if isinstance(result, str):
                problems.append(result)
            else:
                height, width = result.item.label_ids.shape
                rows[image_id] = (
                    (height, width),
                    len(result.item.vertices),
                    result.classes,
                    result.digest,
                )
                unknown.update(result.unknown)
                yield image_id, result.item
            if each is not None:
                each(image_id)

    _drain(checked(), folder, problems)
    if not problems and sum(row[1] for row in rows.values()) == 0:
        problems.append(
            f"data root {split.root}: no polygon vertex in {split.name}; allowed: annotations with recorded clicks"
        )
    if problems:
        return None, problems
    counts = np.array([row[1] for row in rows.values()])
    digest = hashlib.sha256(
        "".join(f"{image_id} {row[3]}\n" for image_id, row in rows.items()).encode()
    )
    index = Index(
        sizes={image_id: row[0] for image_id, row in rows.items()},
        totals=ClickTotals(int(counts.sum()), sum(row[2] for row in rows.values())),
        fingerprint=digest.hexdigest(),
        vertices_per_image=(int(counts.min()), float(counts.mean()), int(counts.max())),
        unknown_labels=dict(sorted(unknown.items())),
        decoded=folder,
    )
    _write(split, index, stamp)
    return index, []


def _in_parallel(split: Split) -> Iterator[tuple[str, _Checked | Problem]]:
    """Check all images with every core, a bounded number at a time, and yield them in order."""
    image_ids = list(split.files)
    cores = os.cpu_count() or 1
    with ThreadPoolExecutor(cores) as workers:
        for start in range(0, len(image_ids), 4 * cores):
            batch = image_ids[start : start + 4 * cores]
            yield from zip(
                batch,
                workers.map(lambda image_id: _check_image(split, image_id), batch),
                strict=True,
            )


def _drain(
    items: Iterator[tuple[str, decoded.Decoded]], folder: Path | None, problems: list[Problem]
) -> None:
    """Go through all images, writing them to the decoded cache as long as nothing is wrong."""
    if folder is None:
        for _ in items:
            pass
        return
    writer = decoded.DecodedWriter(folder)
    try:
        for image_id, item in items:
            writer.add(image_id, item)
        if problems:
            writer.discard()
        else:
            writer.finish()
    except BaseException:
        writer.discard()
        raise


def _has_room(split: Split) -> bool:
    """Say whether the decoded split fits the limit; judged by the size of its first image."""
    first = next(iter(split.files))
    try:
        pixels = split.decode_photo(first).size
    except InputError:
        return False
    return decoded.make_room(
        split.cache / "decoded", len(split.files) * pixels * 4 // 3 + (1 << 20)
    )


def _check_image(split: Split, image_id: str) -> _Checked | Problem:
    files = split.files[image_id]
    try:
        photo, labels, recording = (
            split.decode_photo(image_id),
            split.decode_label_ids(image_id),
            split.recording(image_id),
        )
        vertices = split.decode_vertices(image_id)
    except InputError as error:
        return str(error)
    size = photo.shape[0], photo.shape[1]
    if labels.shape != size:
        return f"{files.label_ids}: {labels.shape[0]}x{labels.shape[1]} px, but its image is {size[0]}x{size[1]}; allowed: the same size"
    unknown: Counter[str] = Counter()
    if recording is not None:
        if (recording.height, recording.width) != size:
            return f"{files.polygons}: imgHeight x imgWidth is {recording.height}x{recording.width}, but its image is {size[0]}x{size[1]}; allowed: the same size"
        differing = float((rasterise(recording) != labels).mean())
        if differing > LARGEST_DISAGREEMENT:
            return f"{files.polygons}: painted, its polygons differ from {files.label_ids.name} on {100 * differing:.0f} % of the pixels; allowed: polygons and labels of the same image"
        unknown.update(item.label for item in recording.objects if find_label(item.label) is None)
    digest = hashlib.sha256()
    digest.update(photo.tobytes())
    digest.update(labels.tobytes())
    digest.update(split.click_fingerprint(image_id))
    if files.train_ids.is_file():
        digest.update(split.train_ids(image_id).tobytes())
    return _Checked(
        decoded.Decoded(photo, labels, vertices),
        count_components(labels),
        digest.hexdigest(),
        unknown,
    )


def _write(split: Split, index: Index, stamp: str) -> None:
    document = {
        "version": _VERSION,
        "stamp": stamp,
        "sizes": index.sizes,
        "polygon": index.totals.polygon,
        "classes": index.totals.classes,
        "fingerprint": index.fingerprint,
        "vertices_per_image": index.vertices_per_image,
        "unknown_labels": index.unknown_labels,
        "decoded": None if index.decoded is None else str(index.decoded),
    }
    write_text(index_file(split), json.dumps(document))
