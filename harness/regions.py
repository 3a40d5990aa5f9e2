"""The region engine: window sums, pool-wide scaling, non-maximum suppression, selection within a pixel budget.

Everything here is exact: maps are held as integers in float64 while they are summed, so equal
windows have equal sums, ties stay ties, and a pick cannot depend on the order in which anything was
added up (CEREALS, arXiv 1810.09726, section 3).
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from harness.types import Candidate

Window = int | tuple[int, int]
"""A square window's side, or (height, width), in pixels."""

_EXACT_BITS = 52
_BLOCK_COLUMNS = 64
"""A pick changes the maxima of the blocks of columns that it touches, not of whole rows."""
_BLOCK_VALUES = 1 << 15
"""Values of one block of rows: 256 KiB of float64."""


class Peak(NamedTuple):
    """A local maximum of a score map that survived suppression; position in pixels."""

    top: int
    left: int
    score: float


def window_size(window: Window, height: int, width: int) -> tuple[int, int]:
    """Return (height, width) of a window in pixels.

    Raises:
        ValueError: the window does not fit into a ``height`` x ``width`` map.
    """
    size = (window, window) if isinstance(window, int) else window
    if not (1 <= size[0] <= height and 1 <= size[1] <= width):
        raise ValueError(
            f"window must be from 1x1 to {height}x{width}, the size of the map, "
            f"got {size[0]}x{size[1]}"
        )
    return size


def window_sum(pixel_map: Tensor, window: Window, *, stride: int = 1) -> Tensor:
    """Sum a map under every placement of a window: CEREALS' region information (or cost) map.

    Choice: only placements inside the image, so that each region has exactly the window's number of
    pixels. Choice: values are rounded to a fixed point with 52 bits over the map's whole sum, which
    makes every sum exact.

    Args:
        pixel_map: (H, W), nats or clicks per pixel, or any integer or bool map; finite, >= 0.
        window: side in pixels, or (height, width); at most the map's size.
        stride: step between placements in pixels, >= 1.

    Returns:
        ((H - h) // stride + 1, (W - w) // stride + 1) float64; [y, x] is the region whose top-left
        pixel is (y*stride, x*stride).

    Raises:
        ValueError: window or stride out of range, a value that is negative or not finite.
    """
    rows, cols = pixel_map.shape
    height, width = window_size(window, rows, cols)
    if stride < 1:
        raise ValueError(f"stride must be 1 or more, got {stride}")
    scale = _scale(pixel_map)
    shape = (rows - height) // stride + 1, (cols - width) // stride + 1
    if scale is None:
        return torch.zeros(shape, dtype=torch.float64, device=pixel_map.device)
    if pixel_map.device.type != "cpu":
        integral = F.pad(
            torch.round(pixel_map.to(torch.float64) * scale).cumsum(0).cumsum(1), (1, 0, 1, 0)
        )
        band = integral[height::stride] - integral[: rows - height + 1 : stride]
        return (band[:, width::stride] - band[:, : cols - width + 1 : stride]) / scale
    whole = _integral(pixel_map.numpy(), scale)
    tops, bottoms = whole[: rows - height + 1 : stride], whole[height::stride]
    sums = np.empty(shape)
    for part in _row_blocks(shape[0], cols):
        strip = bottoms[part] - tops[part]
        np.subtract(strip[:, width::stride], strip[:, : cols - width + 1 : stride], out=sums[part])
        sums[part] *= 1.0 / scale
    return torch.from_numpy(sums)


def segment_sum(pixel_map: Tensor, segments: npt.NDArray[np.int32]) -> Tensor:
    """Sum a map under every superpixel, exactly as ``window_sum`` does under windows.

    Args:
        pixel_map: (H, W) as for ``window_sum``. segments: (H, W) numbers from 0 to n - 1.

    Returns:
        (1, n) float64.
    """
    scale = _scale(pixel_map)
    count = int(segments.max()) + 1
    if scale is None:
        return torch.zeros((1, count), dtype=torch.float64)
    fixed = np.rint(pixel_map.cpu().numpy().astype(np.float64) * scale)
    sums = np.bincount(segments.ravel(), weights=fixed.ravel(), minlength=count)
    return torch.from_numpy(sums * (1.0 / scale))[None]


def _scale(pixel_map: Tensor) -> float | None:
    """Return the factor that makes every sum over a map one of whole numbers; None for all zeros.

    Raises:
        ValueError: a value that is negative or not finite.
    """
    low, high = (
        (float(bound) for bound in torch.aminmax(pixel_map)) if pixel_map.numel() else (0.0, 0.0)
    )
    if not (math.isfinite(low) and math.isfinite(high)) or low < 0.0:
        raise ValueError(
            "map values must be finite and 0 or more, got one that is NaN, infinite or negative"
        )
    if high == 0.0:
        return None
    whole = not pixel_map.is_floating_point()
    rows, cols = pixel_map.shape
    bits = _EXACT_BITS - math.ceil(math.log2(high * rows * cols)) - 1
    return math.ldexp(1.0, 0 if whole else min(bits, 1000))


def _integral(values: npt.NDArray[Any], scale: float) -> npt.NDArray[np.float64]:
    """Return the (H + 1, W + 1) integral image of the values in fixed point.

    Every entry is a whole number below 2**53.
    """
    if values.dtype == np.bool_:
        return np.asarray(
            cv2.integral(np.ascontiguousarray(values).view(np.uint8), sdepth=cv2.CV_64F)
        )
    fixed = np.empty(values.shape)
    for part in _row_blocks(*values.shape):
        np.rint(np.multiply(values[part], scale, dtype=np.float64), out=fixed[part])
    return np.asarray(cv2.integral(fixed))


def _row_blocks(rows: int, cols: int) -> Iterator[slice]:
    """Cut rows into blocks that stay in a core's cache."""
    step = max(1, _BLOCK_VALUES // cols)
    for top in range(0, rows, step):
        yield slice(top, min(top + step, rows))


def rescale(region_map: Tensor, low: float, high: float) -> Tensor:
    """Scale a region map linearly so that the pool's ``low`` becomes 0 and the pool's ``high`` becomes 1.

    Choice: a constant pool (low == high) scales to 0.

    Raises:
        ValueError: low > high, or a bound that is not finite.
    """
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ValueError(
            f"bounds to scale from must be finite, with low <= high, got [{low}, {high}]"
        )
    if low == high:
        return torch.zeros_like(region_map, dtype=torch.float64)
    return (region_map.to(torch.float64) - low).div_(high - low)  # in place: one new map, not two


ROBUST_SHARES = 0.01, 0.99
"""Choice: the percentiles of a pool's costs that a robust scale calls 0 and 1."""


class CostDistribution:
    """A pool's costs, and where another cost lies among them.

    Choice: the paper scales linearly between the pool's smallest and largest cost, so that one
    dear region can push all others towards 0. Two other scales do not depend on single regions;
    a third is that of ``ConditionalCosts``.

    Args:
        values: costs of the regions that may be asked for, in any order; at least one, finite.
    """

    def __init__(self, values: npt.NDArray[np.float64]) -> None:
        if not values.size or not np.isfinite(values).all():
            raise ValueError("costs must be finite numbers, one or more")
        self._ordered = np.sort(values)
        low, high = np.quantile(self._ordered, ROBUST_SHARES)
        self._low, self._high = float(low), float(high)

    def robust(self, costs: Tensor) -> Tensor:
        """Scale linearly from the 1st to the 99th percentile; what lies beyond is 0 or 1."""
        if self._low == self._high:
            return (costs > self._high).to(torch.float64)
        return rescale(costs, self._low, self._high).clamp_(0.0, 1.0)

    def rank(self, costs: Tensor) -> Tensor:
        """Return the share of the pool's regions that cost less, in [0, 1]; equal costs are equal."""
        return torch.from_numpy(_share_below(costs.numpy(), self._ordered))


LIKE_INFORMATION = 20
"""Choice: a cost is compared within a twentieth of the pool, cut by information."""


class ConditionalCosts:
    """A pool's costs among regions of like information.

    Regions that promise much are dear, so a cost ranked over the whole pool takes away from those
    that teach most. Ranked among regions of like information, it only decides between equals.

    Choice: the pool is cut at the quantiles of information into parts of equal size; regions of
    equal information are never parted.

    Args:
        information, costs: of the regions that may be asked for, in the same order, any order; at
            least one, finite.
    """

    def __init__(
        self, information: npt.NDArray[np.float64], costs: npt.NDArray[np.float64]
    ) -> None:
        if information.shape != costs.shape or not costs.size:
            raise ValueError("each cost needs its information, one or more")
        if not (np.isfinite(information).all() and np.isfinite(costs).all()):
            raise ValueError("costs and information must be finite numbers")
        first = np.arange(1, LIKE_INFORMATION) * information.size // LIKE_INFORMATION
        self._edges = np.unique(np.sort(information)[first])
        part = self._part(information)
        self._costs = [np.sort(costs[part == one]) for one in range(len(self._edges) + 1)]

    def _part(self, information: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
        return np.searchsorted(self._edges, information, side="right")

    def rank(self, costs: Tensor, information: Tensor) -> Tensor:
        """Return the share of regions of like information that cost less, in [0, 1].

        Args:
            costs, information: of the same shape; information beyond the pool's counts with the
                part at that end.
        """
        asked, parts = costs.numpy(), self._part(information.numpy())
        found = np.zeros(asked.shape)
        for number, ordered in enumerate(self._costs):
            if ordered.size:
                among = parts == number
                found[among] = _share_below(asked[among], ordered)
        return torch.from_numpy(found)


def _share_below(
    values: npt.NDArray[np.float64], ordered: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    return np.searchsorted(ordered, values, side="left") / ordered.size


def non_maximum_suppression(
    scores: Tensor,
    window: Window,
    *,
    stride: int = 1,
    limit: int | None = None,
    floor: float = -math.inf,
) -> list[Peak]:
    """Take the best placement, drop every placement that shares a pixel with it, and go on.

    One image's candidates.

    Choice: windows that share no pixel do not suppress each other (IoU threshold 0). Suppressed or
    forbidden placements are -inf, never 0. Ties go to the smaller top, then the smaller left.

    Args:
        scores: (h, w) fused scores of the placements; -inf forbids one.
        window: side in pixels, or (height, width).
        stride: step between placements in pixels.
        limit: stop after that many peaks.
        floor: stop at the first peak below this score (an image that cannot place a candidate any
            more).

    Returns:
        Peaks by falling score.

    Raises:
        ValueError: a score is NaN or +inf.
    """
    grid = np.array(scores.detach().cpu().numpy(), dtype=np.float64)
    height, width = (window, window) if isinstance(window, int) else window
    reach_y, reach_x = -(-height // stride) - 1, -(-width // stride) - 1
    starts = np.arange(0, grid.shape[1], _BLOCK_COLUMNS)
    blocks = np.maximum.reduceat(grid, starts, axis=1)
    best = blocks.max(axis=1)
    if np.isnan(best).any() or np.isposinf(best).any():
        raise ValueError(
            "scores must be finite, or -inf for a forbidden placement, got one that is NaN or +inf"
        )
    peaks: list[Peak] = []
    while limit is None or len(peaks) < limit:
        y = int(best.argmax())
        score = float(best[y])
        if score == -math.inf or score < floor:
            break
        x = int(grid[y].argmax())
        peaks.append(Peak(y * stride, x * stride, score))
        rows = slice(max(0, y - reach_y), y + reach_y + 1)
        left, right = max(0, x - reach_x), min(x + reach_x + 1, grid.shape[1])
        grid[rows, left:right] = -math.inf
        touched = slice(left // _BLOCK_COLUMNS, (right - 1) // _BLOCK_COLUMNS + 1)
        around = grid[rows, starts[touched.start] : touched.stop * _BLOCK_COLUMNS]
        blocks[rows, touched] = np.maximum.reduceat(
            around, starts[touched] - starts[touched.start], axis=1
        )
        best[rows] = blocks[rows].max(axis=1)
    return peaks


class RunningBest:
    """The best candidates seen so far over all images that together fill a budget of pixels.

    The lowest of their scores is the floor under which no candidate can enter the query.
    """

    def __init__(self, budget_px: int) -> None:
        self._budget, self._held = budget_px, 0
        self._heap: list[tuple[float, int]] = []

    @property
    def floor(self) -> float:
        """Scores below this cannot enter the query; equal ones still can, by the tie rule."""
        if self._budget <= 0:
            return math.inf
        return self._heap[0][0] if self._held >= self._budget else -math.inf

    def add(self, score: float, px: int) -> None:
        """Take one more candidate into account."""
        if self._budget <= 0:
            return
        heapq.heappush(self._heap, (score, px))
        self._held += px
        while self._held - self._heap[0][1] >= self._budget:
            self._held -= heapq.heappop(self._heap)[1]


def select_within_budget(candidates: Iterable[Candidate], budget_px: int) -> list[Candidate]:
    """Ask for the best candidates over all images whose new pixels fit the budget.

    Choice: the query ends at the first candidate that does not fit; what is left of the budget is
    the caller's to carry to the next round, so a strategy's cumulative pixels stay within one
    window of its budget.

    Args:
        candidates: of any image, in any order; ties go by image id, top, left.
        budget_px: new pixels allowed, >= 0.

    Returns:
        The query by falling score.
    """
    return take_within_budget(sorted(candidates, key=lambda item: item.rank_key), budget_px)


def take_within_budget(candidates: Iterable[Candidate], budget_px: int) -> list[Candidate]:
    """Return the first candidates, in the order given, whose new pixels fit the budget."""
    query: list[Candidate] = []
    left_px = budget_px
    for candidate in candidates:
        if candidate.new_px > left_px:
            break
        query.append(candidate)
        left_px -= candidate.new_px
    return query
