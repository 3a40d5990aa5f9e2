"""Files that are either whole or not there."""

from __future__ import annotations

import os
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from platformdirs import user_cache_path

from harness.errors import InputError


@contextmanager
def replacing(path: Path, *, sync: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that takes its name when the block ends without an error.

    Without ``sync`` a power cut may leave damaged content under the name: for files that carry a checksum and can be made again.
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


def write_text(path: Path, text: str) -> None:
    """Write a text file under a temporary name, then rename it."""
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")


def seal(text: str) -> str:
    """Return eight hexadecimal digits that tell whether a text is still what was written: a CRC-32, against accidents alone."""
    return f"{zlib.crc32(text.encode()):08x}"


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
