"""Region maps: which ones a strategy needs, how one is made, and where it is kept between the two passes of acquisition."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from harness.clicks import BOX_CLICKS, count_border_crossings, outline_crossings
from harness.errors import RunError
from harness.files import atomic_write
from harness.logits import Logits
from harness.pool import LabelledPool
from harness.protocols import Learn, Measure, Oracle, Predictor, Strategy, function_name
from harness.regions import Window, segment_sum, window_sum
from harness.superpixels import Segments, Superpixels
from harness.types import Segment
from harness.views import View


@dataclass(frozen=True, slots=True)
class QueryRules:
    """The same for every strategy of a board.

    Window side and stride in pixels, overlap rule, committee size E. superpixels: of the data's
    photographs, for strategies that ask for them.
    """

    window_px: int
    stride_px: int = 1
    allow_overlap: bool = False
    committee: int = 20
    superpixels: Superpixels | None = field(default=None, repr=False, compare=False)

    def superpixel_px(self, strategy: Strategy) -> int:
        """Return the mean size of a strategy's superpixels; 0 where it asks for rectangles."""
        if strategy.superpixels is None:
            return 0
        return strategy.superpixels.px or max(1, self.window_px**2 // 4)

    def segments(self, image_id: str, px: int) -> Segments:
        """Return an image's superpixels of about so many pixels each."""
        return self._superpixels.of(image_id, px)

    def superpixels_of(self, strategy: Strategy, image_id: str) -> list[Segment]:
        """Return all superpixels that a strategy may ask for in an image, by their number."""
        if strategy.superpixels is None:
            return []
        px, dominant = self.superpixel_px(strategy), strategy.superpixels.dominant
        return [
            Segment(image_id, top, left, height, width, number, px, size, dominant)
            for number, (top, left, height, width, size) in enumerate(
                self._superpixels.boxes(image_id, px).tolist()
            )
        ]

    @property
    def _superpixels(self) -> Superpixels:
        if self.superpixels is None:
            raise RunError("superpixels need photographs, and these rules have none")
        return self.superpixels

    def window(self, strategy: Strategy, size: tuple[int, int]) -> Window:
        """Return the window of a strategy in an image of ``size``."""
        return size if strategy.whole_image else self.window_px


@dataclass(frozen=True, slots=True)
class MapRequest:
    """One region map that a strategy needs of every open image.

    Equal requests of two strategies are one.
    """

    measure: Measure | None
    cost: str
    n_passes: int
    whole_image: bool
    code: str = ""
    superpixel_px: int = 0
    learn: Learn | None = None

    @property
    def needs_network(self) -> bool:
        """Whether it takes a prediction; the true clicks do not."""
        return self.cost != "oracle"

    @property
    def key(self) -> str:
        """The name of this map in a cache."""
        what = (
            f"{self.cost}-cost"
            if self.measure is None
            else f"{function_name(self.measure)}-{self.n_passes}"
        )
        if self.learn is not None:
            what = f"{what}-{function_name(self.learn)}"
        own = f"-{hashlib.sha256(self.code.encode()).hexdigest()[:8]}" if self.code else ""
        shape = f"superpixel{self.superpixel_px}" if self.superpixel_px else "window"
        return f"{what}-{'image' if self.whole_image else shape}{own}"


@dataclass(frozen=True, slots=True)
class Requests:
    """The region maps that one strategy needs; ``further`` by name."""

    information: MapRequest | None
    cost: MapRequest | None
    further: tuple[tuple[str, MapRequest], ...] = ()

    def __iter__(self) -> Iterator[MapRequest]:
        first = [request for request in (self.information, self.cost) if request is not None]
        return iter([*first, *(request for _, request in self.further)])


def requests_of(strategy: Strategy, rules: QueryRules) -> Requests:
    """List the region maps that a strategy needs."""
    n_passes, px = strategy.n_passes or rules.committee, rules.superpixel_px(strategy)

    def of(measure: Measure) -> MapRequest:
        return MapRequest(
            measure,
            "",
            n_passes,
            strategy.whole_image,
            strategy.code,
            px,
            strategy.learn,
        )

    cost: MapRequest | None = None
    if strategy.clicks is not None:
        cost = replace(of(strategy.clicks), cost=strategy.cost, n_passes=1)
    elif strategy.cost in {"predicted", "whole", "oracle"}:
        cost = MapRequest(None, strategy.cost, 1, strategy.whole_image, superpixel_px=px)
    return Requests(
        None if strategy.measure is None else of(strategy.measure),
        cost,
        tuple((name, of(measure)) for name, measure in strategy.maps.items()),
    )


@dataclass(frozen=True, slots=True)
class MapSource:
    """Where region maps come from: what is labelled, the networks, the true clicks, the rules."""

    pool: LabelledPool
    predictor: Predictor | None
    oracle: Oracle
    rules: QueryRules
    _learned: dict[Learn, object] = field(default_factory=dict, repr=False, compare=False)

    def learned(self, learn: Learn) -> object:
        """Return what a strategy learns from the images that are labelled in full: once."""
        if learn not in self._learned:
            image_ids = self.pool.full_ids
            self._network.expect(image_ids)
            self._learned[learn] = learn(
                (self._view(image_id, 1), self.pool.labels(image_id)) for image_id in image_ids
            )
        return self._learned[learn]

    @property
    def _network(self) -> Predictor:
        if self.predictor is None:
            raise ValueError("predictor must be the networks of the last round, got None")
        return self.predictor

    def _view(self, image_id: str, n_passes: int) -> View:
        return replace(
            self._network.predict(image_id, n_passes),
            labelled=lambda: self.pool.is_labelled(image_id).copy(),
            class_counts=self.pool.class_counts.copy,
        )

    def region_map(self, request: MapRequest, image_id: str) -> Tensor:
        """Return the window sums of one image, over pixels that are not labelled.

        Raises:
            RunError: NaN, infinite or negative values; the message names the image.
        """
        pixels, besides = self._pixel_map(request, image_id)
        if self.pool.labelled_px_of(image_id):
            pixels = pixels * torch.from_numpy(~self.pool.is_labelled(image_id)).to(pixels.device)
        window = self.pool.sizes[image_id] if request.whole_image else self.rules.window_px
        try:
            if request.superpixel_px:
                segments = self.rules.segments(image_id, request.superpixel_px)
                sums = segment_sum(pixels, segments)
            else:
                sums = window_sum(pixels, window, stride=self.rules.stride_px).cpu()
        except (ValueError, OverflowError) as error:
            raise RunError(f"image {image_id}: {request.key} map: {error}") from error
        return sums if besides is None else sums + besides

    def _pixel_map(self, request: MapRequest, image_id: str) -> tuple[Tensor, Tensor | None]:
        """Return what is summed over each window, and what else each window costs."""
        if request.cost == "oracle":
            return torch.from_numpy(self.oracle.click_map(image_id)), None
        learned = None if request.learn is None else self.learned(request.learn)
        prediction = replace(self._view(image_id, request.n_passes), learned=learned)
        if request.measure is not None:
            pixels = request.measure(prediction)
            check_tensor(pixels, self.pool.sizes[image_id], f"image {image_id}: {request.key}")
            return pixels.detach(), None
        if prediction.cost_map is None:
            raise ValueError("the networks must have a cost head, got some that predict no cost")
        besides = request.cost == "whole" and not request.whole_image
        return prediction.cost_map, self._besides(prediction, image_id, request.superpixel_px) if (
            besides
        ) else None

    def _besides(self, prediction: View, image_id: str, superpixel_px: int) -> Tensor:
        """Return what a window costs besides its vertices.

        Label changes along its sides on the predicted label map, and its box.

        Choice: METHOD's cost_B without its divisor. A whole image has neither, and a superpixel has
        no box; class clicks are left out as in cost_B.
        """
        scores = next(iter(prediction.passes))
        winners = scores.winners() if isinstance(scores, Logits) else scores.argmax(0)
        if superpixel_px:
            segments = self.rules.segments(image_id, superpixel_px)
            crossings = outline_crossings(winners.cpu().numpy(), segments)
            return torch.from_numpy(crossings.astype(np.float64))[None]
        window = (self.rules.window_px, self.rules.window_px)
        crossings = count_border_crossings(
            winners.cpu().numpy(), window, stride=self.rules.stride_px
        )
        box = 0 if window == self.pool.sizes[image_id] else BOX_CLICKS
        return torch.from_numpy(crossings + float(box))

    def forbidden(
        self, image_id: str, *, whole_image: bool, superpixel_px: int = 0
    ) -> Tensor | None:
        """Return which placements may not be asked for.

        None where all may: an image without labels takes no work.
        """
        if not self.pool.labelled_px_of(image_id):
            return None
        if superpixel_px:
            segments = self.rules.segments(image_id, superpixel_px)
            unlabelled = segment_sum(torch.from_numpy(~self.pool.is_labelled(image_id)), segments)
            whole = torch.from_numpy(np.bincount(segments.ravel()))
            return unlabelled == 0 if self.rules.allow_overlap else unlabelled < whole
        new_px, window = self.new_px(image_id, whole_image=whole_image)
        return new_px == 0 if self.rules.allow_overlap else new_px < window[0] * window[1]

    def new_px(self, image_id: str, *, whole_image: bool) -> tuple[Tensor, tuple[int, int]]:
        """Return the number of unlabelled pixels of each placement, and the window's (height, width)."""
        window = (
            self.pool.sizes[image_id]
            if whole_image
            else (self.rules.window_px, self.rules.window_px)
        )
        return window_sum(
            torch.from_numpy(~self.pool.is_labelled(image_id)), window, stride=self.rules.stride_px
        ), window


def check_tensor(found: object, shape: tuple[int, ...], what: str) -> None:
    """Refuse what is not the map that was asked for: nothing is broadcast, cropped or converted.

    Raises:
        RunError: no torch tensor, another shape, or no floating-point or whole numbers.
    """
    if not isinstance(found, Tensor):
        raise RunError(f"{what} must be a torch tensor, got {type(found).__name__}")
    if tuple(found.shape) != tuple(shape):
        raise RunError(f"{what} must have the shape {tuple(shape)}, got {tuple(found.shape)}")
    if found.dtype == torch.bool or found.dtype.is_complex:
        raise RunError(f"{what} must hold real numbers, got {found.dtype}")


class MemoryMaps:
    """A map cache that forgets everything with the process.

    Beyond ``limit_bytes`` it keeps bounds only.
    """

    def __init__(self, limit_bytes: int = 1 << 30) -> None:
        self._maps: dict[str, Tensor] = {}
        self._bounds: dict[str, tuple[float, float]] = {}
        self._left = limit_bytes

    def bounds(self, key: str) -> tuple[float, float] | None:
        """Return a map's bounds, or None before it was made."""
        return self._bounds.get(key)

    def get(self, key: str) -> Tensor | None:
        """Return a stored map, or None where it was not kept."""
        return self._maps.get(key)

    def put(self, key: str, region_map: Tensor, bounds: tuple[float, float]) -> None:
        """Store bounds and, if there is room, the map."""
        self._bounds[key] = bounds
        if region_map.nbytes <= self._left:
            self._left -= region_map.nbytes
            self._maps[key] = region_map


_HEADER = struct.Struct("<4sIIIdd")
_CHECKSUM = struct.Struct("<I")
_START = _HEADER.size + _CHECKSUM.size
_MAGIC = b"HMP2"


def _read_header(content: bytes | bytearray) -> tuple[int, int, int, float, float] | None:
    """Return rows, columns, checksum of the body and bounds; None where the header is damaged."""
    header = bytes(content[: _HEADER.size])
    if len(content) < _START or _CHECKSUM.unpack_from(content, _HEADER.size)[0] != zlib.crc32(
        header
    ):
        return None
    magic, rows, cols, checksum, low, high = _HEADER.unpack(header)
    return (rows, cols, checksum, low, high) if magic == _MAGIC else None


class DiskMaps:
    """Region maps in one folder, a file each: shared by processes.

    An interrupted pass goes on at the missing image.

    Bounds are always kept. A map is kept while the folder holds less than ``limit_bytes``; the
    others are made again in pass 2.
    """

    def __init__(self, folder: Path, limit_bytes: int | None = None) -> None:
        self._folder, self._limit = folder, limit_bytes
        self._used: int | None = None

    def bounds(self, key: str) -> tuple[float, float] | None:
        """Return a map's bounds, or None before it was made."""
        try:
            with self._file(key).open("rb") as stream:
                header = _read_header(stream.read(_START))
        except OSError:
            return None
        return None if header is None else header[3:]

    def get(self, key: str) -> Tensor | None:
        """Return a stored map; None where it was not kept, or is damaged."""
        try:
            content = bytearray(self._file(key).read_bytes())
        except OSError:
            return None
        header, body = _read_header(content), memoryview(content)[_START:]
        if (
            header is None
            or header[0] == 0
            or len(body) != 8 * header[0] * header[1]
            or zlib.crc32(body) != header[2]
        ):
            return None
        return torch.from_numpy(
            np.frombuffer(content, np.float64, offset=_START).reshape(header[:2])
        )

    def put(self, key: str, region_map: Tensor, bounds: tuple[float, float]) -> None:
        """Store bounds and, if there is room, the map: under a temporary name, then renamed."""
        rows, cols = region_map.shape
        kept = self._limit is None or self._in_use() + 8 * rows * cols <= self._limit
        body = np.ascontiguousarray(region_map.numpy()).data if kept else memoryview(b"")
        self._used = self._in_use() + body.nbytes
        with atomic_write(self._file(key), sync=False) as draft, draft.open("wb") as stream:
            header = _HEADER.pack(_MAGIC, rows if kept else 0, cols, zlib.crc32(body), *bounds)
            stream.write(header + _CHECKSUM.pack(zlib.crc32(header)))
            stream.write(body)

    def _in_use(self) -> int:
        if self._used is None:
            self._used = sum(file.stat().st_size for file in self._folder.rglob("*.map"))
        return self._used

    def _file(self, key: str) -> Path:
        return self._folder / f"{key}.map"


MapCache = MemoryMaps | DiskMaps
"""Keeps what pass 1 found out for pass 2: each map's bounds always, the map while there is room."""
