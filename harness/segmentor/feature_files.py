"""Features of a frozen backbone on disk: a file for each image, for all processes of a board."""

from __future__ import annotations

import hashlib
import json
import zlib
from pathlib import Path

import torch
from torch import Tensor

from harness.files import atomic_write

Features = tuple[Tensor, ...]
"""The levels of one image's features, (1, c, h, w) each."""

FEATURE_SUFFIX = ".features"
_HEADER_BYTES = 4096
_CHECKSUM_BYTES = 8
_ALIGNED_BYTES = 64


class FeatureFiles:
    """Features in one folder, mapped into memory, so that processes share one copy of them.

    A file begins with a header of 4096 bytes: eight hexadecimal digits, the CRC-32 of all that
    follows them, and a list in JSON, [dtype, shape, strides] of each level. The levels follow as
    they lie in memory, each from a multiple of 64 bytes on, as torch aligns them: what is read has
    the bits and the strides of what was made.

    Args:
        folder: belongs to one backbone with its weights, and to one data set.
        most_bytes: what this process may write.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._folder, self._left = folder, most_bytes

    def get(self, key: str) -> Features | None:
        """Return an image's features; None where they are missing or damaged.

        What is written into them stays in this process, and never reaches the file.
        """
        path = self._file(key)
        try:
            size = path.stat().st_size
            if size < _HEADER_BYTES:
                return None
            # numpy's memmap would hold a file descriptor for each image
            content = torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)
        except (OSError, RuntimeError):  # the latter is torch's for what the system refuses
            return None
        view = content.numpy().data
        if bytes(view[:_CHECKSUM_BYTES]) != _checksum(view[_CHECKSUM_BYTES:]):
            return None
        levels, start = [], _HEADER_BYTES
        for name, shape, strides in json.loads(bytes(view[_CHECKSUM_BYTES:_HEADER_BYTES])):
            dtype = getattr(torch, name)
            stop = start + torch.Size(shape).numel() * dtype.itemsize
            levels.append(content[start:stop].view(dtype).as_strided(shape, strides))
            start = _aligned(stop)
        return tuple(levels)

    def put(self, key: str, features: Features) -> bool:
        """Write an image's features, under a temporary name and then renamed.

        Returns:
            False where they are not kept: for want of room, or as views of something larger.
        """
        header = json.dumps(
            [
                [str(level.dtype).removeprefix("torch."), level.shape, level.stride()]
                for level in features
            ]
        ).encode()
        size = _HEADER_BYTES + sum(_aligned(level.nbytes) for level in features)
        if (
            size > self._left
            or len(header) > _HEADER_BYTES - _CHECKSUM_BYTES
            or any(level.untyped_storage().nbytes() != level.nbytes for level in features)
        ):
            return False
        content = bytearray(header.ljust(_HEADER_BYTES - _CHECKSUM_BYTES))
        for level in features:
            flat = level.as_strided((level.numel(),), (1,)).view(torch.uint8)
            content += flat.numpy().tobytes().ljust(_aligned(level.nbytes), b"\0")
        try:
            with atomic_write(self._file(key), sync=False) as draft:
                draft.write_bytes(_checksum(content) + content)
        except OSError:
            self._left = 0  # a disk that is full: features are made again, and no run fails
            return False
        self._left -= size
        return True

    def _file(self, key: str) -> Path:
        return self._folder / (hashlib.sha256(key.encode()).hexdigest()[:32] + FEATURE_SUFFIX)


def _checksum(content: bytearray | memoryview) -> bytes:
    return f"{zlib.crc32(content):08x}".encode()


def _aligned(size: int) -> int:
    return -(-size // _ALIGNED_BYTES) * _ALIGNED_BYTES
