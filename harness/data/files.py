"""Which files of a folder are images, which are passed over, and why."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from string import Formatter

from harness.data.images import LABEL_SUFFIXES, PHOTO_SUFFIXES
from harness.errors import InputError, shorten

NESTED = "__"
"""Stands for the separators in the id of an image that lies in a sub-folder."""


def list_files(folder: Path) -> list[Path]:
    """List all that is no folder below a folder, sorted, through links too, each folder once.

    Raises:
        InputError: a folder that cannot be listed, but for hidden ones.
    """
    found: list[Path] = []
    seen: set[str] = set()

    def refuse(error: OSError) -> None:
        place = Path(str(error.filename))
        if not is_hidden(place, folder):
            raise InputError(
                f"{shown(place)}: a folder of data must be listable, got {error.strerror}"
            ) from error

    for place, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        found += [Path(place) / name for name in names]
    return sorted(found)


def fault_of(path: Path) -> str | None:
    """Return why a name in a folder is no file that can be read, or None."""
    if path.is_file():
        return None
    return "a link to nothing" if path.is_symlink() else "no regular file"


def is_hidden(path: Path, folder: Path) -> bool:
    """Return whether a file or a folder on the way to it has a name that begins with a dot."""
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def has_plain_name(path: Path, folder: Path) -> bool:
    """Return whether a file and the folders on the way to it have names that can be shown.

    That is UTF-8, without control characters.
    """
    name = path.relative_to(folder).as_posix()
    return name.isprintable() and "\\" not in name


def shown(path: Path) -> str:
    """Return a path as a message may show it, whatever its bytes are."""
    return str(path) if str(path).isprintable() else ascii(str(path))[1:-1]


def dead_links(paths: Iterable[Path]) -> list[str]:
    """Return a problem for each link to nothing: what it stood for is missing."""
    return [
        f"{shown(path)}: must lead to a file or a folder, got a link to nothing"
        for path in paths
        if path.is_symlink() and not path.exists()
    ]


def unprintable(path: Path, folder: Path) -> str:
    """Say that a file's name, or that of a folder on the way to it, cannot be shown."""
    return f"{folder}: a file name must be printable, got {str(path.relative_to(folder))!a}"


def said(kind: str, paths: Iterable[Path], folder: Path) -> list[str]:
    """Say in one line how many files of a kind there are, with the first of them."""
    listed = list(paths)
    if not listed:
        return []
    first = ascii(str(listed[0].relative_to(folder)))[1:-1]
    return [f"{folder}: {len(listed)} {kind}, such as {first}"]


def find_photos(folder: Path) -> tuple[dict[str, Path], list[str], list[str]]:
    """Find the photographs below a folder.

    Returns:
        Id -> file, in the order of the ids; problems; what was passed over, a line each kind. The
        id is the path without its suffix, ``site/a.jpg`` is ``site__a``.
    """
    files = list_files(folder)
    hidden = [path for path in files if is_hidden(path, folder)]
    seen = [path for path in files if not is_hidden(path, folder)]
    others = [path for path in seen if path.suffix.lower() not in PHOTO_SUFFIXES]
    photos: dict[str, Path] = {}
    problems = dead_links(others)
    for path in seen:
        if path.suffix.lower() not in PHOTO_SUFFIXES:
            continue
        if fault := fault_of(path):
            problems.append(f"{shown(path)}: must be a photograph, got {fault}")
            continue
        if not has_plain_name(path, folder):
            problems.append(unprintable(path, folder))
            continue
        key = id_of(path, folder)
        if key in photos:
            problems.append(
                f"{path}: two photographs must not share a name, got {photos[key].name} beside it"
            )
        photos.setdefault(key, path)
    passed = said("files that are no photographs are passed over", others, folder)
    passed += said("hidden files are passed over", hidden, folder)
    return dict(sorted(photos.items())), problems, passed


def id_of(path: Path, folder: Path) -> str:
    """Return the id of a file: its path below the folder without the suffix."""
    return NESTED.join(path.relative_to(folder).with_suffix("").parts)


def find_labels(root: Path, pattern: str, split: str) -> tuple[Path, dict[str, list[Path]]]:
    """Find label images: a folder, or a pattern such as ``annot/{split}/{stem}_L.png``.

    Returns:
        The folder, and id -> files (one, if all is well); the id is made as for photographs.
    """
    filled = pattern.replace("{split}", split)
    place, _, name = filled.rpartition("/") if "{stem}" in filled else (filled, "", "")
    folder = root / place
    matcher = None
    if name:
        before, _, after = name.partition("{stem}")
        matcher = re.compile(f"{re.escape(before)}(.+){re.escape(after)}", re.IGNORECASE)
    found: dict[str, list[Path]] = {}
    for path in list_files(folder) if folder.is_dir() else ():
        if is_hidden(path, folder) or fault_of(path):
            continue
        if matcher is None:
            if path.suffix.lower() in LABEL_SUFFIXES:
                found.setdefault(id_of(path, folder), []).append(path)
        elif match := matcher.fullmatch(path.name):
            key = NESTED.join([*path.relative_to(folder).parent.parts, match[1]])
            found.setdefault(key, []).append(path)
    return folder, found


def pattern_fault(pattern: str, allowed: set[str]) -> str | None:
    """Return what is wrong with a folder or file pattern, or None."""
    try:
        parts = list(Formatter().parse(pattern))
    except ValueError as error:
        return f"must be a path with {{split}}, got {shorten(pattern)} ({error})"
    fields = {field for _, field, _, _ in parts if field is not None}
    if not fields <= allowed or any(spec or turned for _, field, spec, turned in parts if field):
        named = " and ".join(f"{{{name}}}" for name in sorted(allowed))
        return f"may hold {named} and no other placeholder, got {shorten(pattern)}"
    steps = pattern.split("/")
    if not pattern.strip() or pattern.startswith("/") or ".." in steps or not pattern.isprintable():
        return f"must be a path below the data root, got {shorten(pattern)}"
    if ("{stem}" in pattern and steps[-1].count("{stem}") != 1) or "{stem}" in "/".join(steps[:-1]):
        return f"must hold {{stem}} once, in the file's name, got {shorten(pattern)}"
    return None
