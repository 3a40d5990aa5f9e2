"""Files written atomically, and deleted by name alone."""

from __future__ import annotations

import os
import platform
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from platformdirs import user_cache_path

from harness.errors import InputError


@contextmanager
def atomic_write(path: Path, *, sync: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that takes its name when the block ends without an error.

    Without ``sync`` a power cut may leave damaged content under the name: for files that carry a
    checksum and can be made again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    os.close(handle)
    draft = Path(name)
    try:
        yield draft
        if sync:
            with draft.open("rb+") as stream:
                os.fsync(stream.fileno())
        draft.chmod(0o644)
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


_DRAFT = re.compile(r"\.(.+)-[a-z0-9_]{8}")
"""The name of a file that ``atomic_write`` had not finished, and of what it was to become."""


def is_own(name: str, names: re.Pattern[str]) -> bool:
    """Return whether a file is ours by its name: one of ``names``, or a draft of one."""
    draft = _DRAFT.fullmatch(name)
    return bool(names.fullmatch(name) or (draft and names.fullmatch(draft[1])))


def remove_own(folder: Path, names: re.Pattern[str]) -> list[Path]:
    """Delete the files below a folder that this program wrote, by their names, and no others.

    Links are never followed nor deleted. A folder goes when this call has emptied it.

    Args:
        names: of our files; drafts of them are ours too.

    Returns:
        What was left: files of others, links, folders that hold some.
    """
    if folder.is_symlink():
        return [folder]
    if not folder.is_dir():
        return []
    left: list[Path] = []
    for path in sorted(folder.iterdir()):
        if path.is_symlink():
            left.append(path)
        elif path.is_dir():
            left += remove_own(path, names)
        elif is_own(path.name, names):
            path.unlink(missing_ok=True)
        else:
            left.append(path)
    if not left:
        with suppress(OSError):  # another process may have written into it just now
            folder.rmdir()
    return left


@contextmanager
def draft_folder(parent: Path, name: str) -> Iterator[Path]:
    """Yield a new hidden folder beside what it will become; it is gone at the end, unless renamed.

    Its name says which process made it, so that those of dead processes can be told and deleted.
    """
    parent.mkdir(parents=True, exist_ok=True)
    sweep_drafts(parent)
    draft = new_draft(parent, name)
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def new_draft(parent: Path, name: str) -> Path:
    """Return a new hidden folder whose name says which process made it."""
    return Path(tempfile.mkdtemp(prefix=f".{name}-{_ME}-{os.getpid()}-", dir=parent))


_ME = re.sub(r"[^A-Za-z0-9]", "_", platform.node()) or "host"
_FOLDER_DRAFT = re.compile(rf"\..+-{_ME}-(\d+)-[a-z0-9_]{{8}}")


def sweep_drafts(parent: Path) -> None:
    """Delete the draft folders of processes of this machine that are gone."""
    for path in parent.iterdir():
        match = _FOLDER_DRAFT.fullmatch(path.name)
        if match and path.is_dir() and not path.is_symlink() and not _is_alive(int(match[1])):
            shutil.rmtree(path, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def write_text(path: Path, text: str) -> None:
    """Write a text file under a temporary name, then rename it."""
    with atomic_write(path) as draft:
        draft.write_text(text, encoding="utf-8")


def checksum(text: str) -> str:
    """Return eight hexadecimal digits by which a text is known to be what was written.

    A CRC-32, against accidents alone.
    """
    return f"{zlib.crc32(text.encode()):08x}"


def can_be_written(path: Path, *, new_folders: bool = False) -> bool:
    """Return whether a file can be written at a path, where there may be one already.

    Args:
        new_folders: folders above it that are missing will be made.
    """
    folder = path.absolute().parent
    if new_folders:
        folder = next(above for above in (folder, *folder.parents) if above.exists())
    return not path.is_dir() and folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def cache_folder() -> Path:
    """Return the user's cache folder of this program; ``HARNESS_CACHE`` names another.

    Raises:
        InputError: it is a file, or cannot be made or written.
    """
    override = os.environ.get("HARNESS_CACHE")
    folder = Path(override) if override else user_cache_path("harness", appauthor=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"the cache {folder} must be a folder that can be written ({error.strerror}); "
            "HARNESS_CACHE names another"
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"the cache {folder} must be writable; HARNESS_CACHE names another")
    return folder
