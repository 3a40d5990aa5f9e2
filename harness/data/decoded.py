"""Decoded photographs, labels and vertices of one split in memory-mapped files.

Built once, shared by all runs and workers.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from harness.errors import InputError, shorten
from harness.files import checksum, new_draft, remove_own, sweep_drafts

LIMIT_VARIABLE = "HARNESS_CACHE_GIB"
DEFAULT_LIMIT_GIB = 64.0
_MOST_GIB = 1e6
_VERSION = 2
_SPARE_BYTES = 2 << 30
_OWN = re.compile(r"catalogue\.json|(photos|labels|vertices)\.raw")


class Decoded(NamedTuple):
    """One image: (H, W, 3) uint8, (H, W) uint8 label ids, (n, 2) int32 clamped vertices (x, y)."""

    photo: npt.NDArray[np.uint8]
    label_ids: npt.NDArray[np.uint8]
    vertices: npt.NDArray[np.int32]


@dataclass(slots=True)
class _Entry:
    shape: tuple[int, int]
    vertices: int
    offsets: tuple[int, int, int]
    crc32: tuple[int, int, int]


@dataclass(slots=True)
class _Catalogue:
    version: int = _VERSION
    entries: dict[str, _Entry] = field(default_factory=dict)


class DecodedCache:
    """Read access to one folder of decoded images.

    Every array is checked against its CRC-32 when it is first used.
    """

    FILES = ("photos.raw", "labels.raw", "vertices.raw")

    def __init__(self, folder: Path, catalogue: _Catalogue) -> None:
        self._folder, self._catalogue = folder, catalogue
        self._maps = [_map(folder / name) for name in self.FILES]
        self._sound: set[tuple[str, int]] = set()

    @classmethod
    def open(cls, folder: Path) -> DecodedCache | None:
        """Open a cache; None where there is none, or a part of it is missing or too short."""
        try:
            text = (folder / "catalogue.json").read_text(encoding="utf-8")
            stored, _, text = text.partition("\n")
            document = json.loads(text)
            if stored != checksum(text) or document["version"] != _VERSION:
                return None
            entries = {
                key: _Entry(
                    tuple(row["shape"]),
                    int(row["vertices"]),
                    tuple(row["offsets"]),
                    tuple(row["crc32"]),
                )
                for key, row in document["entries"].items()
            }
            sizes = [(folder / name).stat().st_size for name in cls.FILES]
            if sizes != document["sizes"]:
                return None
            os.utime(folder / "catalogue.json")
            return cls(folder, _Catalogue(_VERSION, entries))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def photo(self, image_id: str) -> npt.NDArray[np.uint8] | None:
        """Return a read-only (H, W, 3) view of the file; None where it is damaged."""
        entry = self._catalogue.entries[image_id]
        data = self._read(image_id, 0, 3 * entry.shape[0] * entry.shape[1])
        return None if data is None else data.reshape(*entry.shape, 3)

    def label_ids(self, image_id: str) -> npt.NDArray[np.uint8] | None:
        """Return a read-only (H, W) view; None where it is damaged."""
        entry = self._catalogue.entries[image_id]
        data = self._read(image_id, 1, entry.shape[0] * entry.shape[1])
        return None if data is None else data.reshape(entry.shape)

    def vertices(self, image_id: str) -> npt.NDArray[np.int32] | None:
        """Return a read-only (n, 2) view; None where it is damaged."""
        entry = self._catalogue.entries[image_id]
        data = self._read(image_id, 2, 8 * entry.vertices)
        return None if data is None else data.view(np.int32).reshape(-1, 2)

    def _read(self, image_id: str, kind: int, length: int) -> npt.NDArray[np.uint8] | None:
        entry = self._catalogue.entries[image_id]
        data = self._maps[kind][entry.offsets[kind] : entry.offsets[kind] + length]
        if (image_id, kind) not in self._sound:
            if zlib.crc32(data.tobytes()) != entry.crc32[kind]:
                # the next start finds no catalogue and builds the cache again; this one decodes the
                # image itself
                (self._folder / "catalogue.json").unlink(missing_ok=True)
                return None
            self._sound.add((image_id, kind))
        return data


def _map(path: Path) -> npt.NDArray[np.uint8]:
    return np.memmap(path, np.uint8, "r") if path.stat().st_size else np.empty(0, np.uint8)


class DecodedWriter:
    """Writes a cache while a split is being checked; it gets its name when it is complete."""

    def __init__(self, folder: Path) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        sweep_drafts(folder.parent)
        self._folder = folder
        self._draft = new_draft(folder.parent, folder.name)
        self._streams = [(self._draft / name).open("wb") for name in DecodedCache.FILES]
        self._catalogue = _Catalogue()

    def add(self, image_id: str, item: Decoded) -> None:
        """Append one image."""
        arrays = [np.ascontiguousarray(part) for part in item]
        photos, labels, vertices = (stream.tell() for stream in self._streams)
        for stream, array in zip(self._streams, arrays, strict=True):
            stream.write(array.tobytes())
        crc_photo, crc_labels, crc_vertices = (zlib.crc32(array.tobytes()) for array in arrays)
        height, width = item.label_ids.shape
        self._catalogue.entries[image_id] = _Entry(
            shape=(height, width),
            vertices=len(item.vertices),
            offsets=(photos, labels, vertices),
            crc32=(crc_photo, crc_labels, crc_vertices),
        )

    def finish(self) -> None:
        """Sync all files and give the cache its name."""
        sizes = []
        for stream in self._streams:
            stream.flush()
            os.fsync(stream.fileno())
            sizes.append(stream.tell())
            stream.close()
        document: dict[str, Any] = {
            "version": _VERSION,
            "sizes": sizes,
            "entries": {key: asdict(row) for key, row in self._catalogue.entries.items()},
        }
        text = json.dumps(document)
        (self._draft / "catalogue.json").write_text(f"{checksum(text)}\n{text}", encoding="utf-8")
        remove_own(self._folder, _OWN)
        os.replace(self._draft, self._folder)

    def discard(self) -> None:
        """Leave nothing behind."""
        for stream in self._streams:
            stream.close()
        shutil.rmtree(self._draft, ignore_errors=True)


def limit_bytes() -> int:
    """Return how much disk all decoded caches may take: HARNESS_CACHE_GIB, or 64 GiB.

    0 switches them off.

    Raises:
        InputError: the variable is no number from 0 on.
    """
    text = os.environ.get(LIMIT_VARIABLE, "")
    try:
        gib = float(text) if text.strip() else DEFAULT_LIMIT_GIB
    except ValueError:
        gib = math.nan
    if not 0.0 <= gib <= _MOST_GIB:
        raise InputError(f"{LIMIT_VARIABLE} must be from 0 to {_MOST_GIB:g}, got {shorten(text)}")
    return int(gib * (1 << 30))


def make_room(parent: Path, needed: int) -> bool:
    """Delete the least recently used caches until ``needed`` bytes fit the limit.

    False where they never will.
    """
    if needed > limit_bytes():
        return False
    parent.mkdir(parents=True, exist_ok=True)
    caches = sorted(
        (folder for folder in parent.iterdir() if (folder / "catalogue.json").is_file()),
        key=lambda folder: (folder / "catalogue.json").stat().st_mtime,
    )
    sizes = {folder: _size(folder) for folder in caches}
    while caches and sum(sizes[folder] for folder in caches) + needed > limit_bytes():
        remove_own(caches.pop(0), _OWN)
    return shutil.disk_usage(parent).free - needed > _SPARE_BYTES


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())
