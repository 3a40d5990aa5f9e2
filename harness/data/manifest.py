"""What a pack held when it was made: a missing, added or changed file makes it another data set."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

from harness.files import checksum

MANIFEST = "pack.json"


def checksums(root: Path) -> dict[str, str]:
    """Return the CRC-32 of every file below a folder, by its path there."""
    return {
        path.relative_to(root).as_posix(): _crc(path)
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def _crc(path: Path) -> str:
    return f"{zlib.crc32(path.read_bytes()):08x}"


def read_manifest(root: Path) -> dict[str, str] | None:
    """Return path -> CRC-32 of a pack; None where the folder is no pack, or its list is damaged."""
    try:
        text, _, last = (root / MANIFEST).read_text(encoding="utf-8").rstrip().rpartition("\n")
        if last != checksum(text):
            return None
        files = json.loads(text)["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return {str(path): str(crc) for path, crc in files.items()}


def has_manifest(root: Path) -> bool:
    """Return whether a folder says that it is a pack."""
    return (root / MANIFEST).is_file()


def wrong_names(root: Path, split: str, manifest: dict[str, str]) -> list[str]:
    """Return which files of a split are missing from a pack, and which photographs were added."""
    folders = tuple(f"{kind}/{split}/" for kind in ("leftImg8bit", "gtFine"))
    wanted = {path for path in manifest if path.startswith(folders)}
    photos = (root / "leftImg8bit" / split).rglob("*.png")
    added = {path.relative_to(root).as_posix() for path in photos} - wanted
    missing = sorted(path for path in wanted if not (root / path).is_file())
    return [
        *(f"{root / path}: is missing from the pack" for path in missing),
        *(f"{root / path}: was not in the pack when it was made" for path in sorted(added)),
    ]


def has_changed(root: Path, path: Path, manifest: dict[str, str]) -> bool:
    """Return whether a file of a pack is not as it was made."""
    known = manifest.get(path.relative_to(root).as_posix())
    return known is not None and path.is_file() and known != _crc(path)


def is_whole(root: Path) -> bool:
    """Return whether every file of a pack is there and as it was made: all of them are read."""
    manifest = read_manifest(root)
    return manifest is not None and all(
        (root / path).is_file() and not has_changed(root, root / path, manifest)
        for path in manifest
    )
