"""All run files of a board in one compressed file, which ``harness publish`` reads like a folder."""

from __future__ import annotations

import hashlib
import io
import lzma
import re
import tarfile
from collections.abc import Mapping
from pathlib import Path

from harness.errors import InputError
from harness.files import atomic_write, cache_folder, draft_folder

ARCHIVE = "runs.tar.xz"
_MEMBER = re.compile(
    r"runs/[^/]+/seed-\d+/(run\.json|rounds\.jsonl|chain\.jsonl|timings\.jsonl|losses\.jsonl|"
    r"maps-\d+\.json|origin\.txt)"
)
_MOST_BYTES = 4 << 30
"""Choice: a board of more than 4 GiB is published as a folder."""


def write_archive(runs: Path, path: Path) -> int:
    """Pack the run files below a folder; the same files give the same bytes.

    Returns:
        How many files are in it.

    Raises:
        InputError: no run file.
    """
    files = run_files(runs)
    if not files:
        raise InputError(f"{runs}: must be a folder with runs of harness bench, found none")
    pack(files, path)
    return len(files)


def run_files(runs: Path) -> dict[str, bytes | Path]:
    """Return the run files below a folder by their names in an archive."""
    found = ((str(file.relative_to(runs)), file) for file in (runs / "runs").glob("*/seed-*/*"))
    return {name: file for name, file in found if _MEMBER.fullmatch(name)}


def pack(files: Mapping[str, bytes | Path], path: Path) -> None:
    """Write an archive of files by their names: each is read where it lies, or given as bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as draft, tarfile.open(draft, "w:xz", preset=9) as archive:
        for name, file in sorted(files.items()):
            content = file.read_bytes() if isinstance(file, Path) else file
            member = tarfile.TarInfo(name)  # no time, no owner: nothing of this machine
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def unpacked(folder: Path) -> Path:
    """Return where the runs of a folder lie: there, or in the cache where it holds an archive.

    Raises:
        InputError: an archive that is damaged, too large, or holds something else than run files.
    """
    archive = folder / ARCHIVE
    if (folder / "runs").is_dir() or not archive.is_file():
        return folder
    with archive.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()[:32]
    place = cache_folder() / "boards" / digest
    if not place.is_dir():
        with draft_folder(place.parent, "board") as draft:
            _extract(archive, draft / "board")
            try:
                (draft / "board").rename(place)
            except OSError:
                if not place.is_dir():  # another process was faster
                    raise
    return place


def _extract(archive: Path, to: Path) -> None:
    left = _MOST_BYTES
    try:
        with tarfile.open(archive, "r:xz") as members:
            for member in members:
                left -= member.size
                if not member.isreg() or not _MEMBER.fullmatch(member.name) or left < 0:
                    raise InputError(
                        f"{archive}: must hold run files of at most {_MOST_BYTES >> 30} GiB alone, "
                        f"got {member.name!r}"
                    )
                content = members.extractfile(member)
                target = to / member.name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content.read() if content else b"")
    except (tarfile.TarError, lzma.LZMAError, EOFError, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise InputError(f"{archive}: cannot be read ({type(error).__name__}: {error})") from error
