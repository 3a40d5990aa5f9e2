"""Frozen values that pass between modules: regions, clicks, annotations, round records."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

FULL_DATA = "full-data"
"""Where the name of a strategy stands: the reference that is trained on all labels."""


@dataclass(frozen=True, slots=True, order=True)
class Region:
    """A rectangle of one image, in pixels.

    Rows [top, top + height), columns [left, left + width).
    """

    image_id: str
    top: int
    left: int
    height: int
    width: int

    @property
    def area_px(self) -> int:
        """Number of pixels."""
        return self.height * self.width

    @property
    def place(self) -> tuple[str, int, int, int, int] | tuple[str, int, int, int, int, int]:
        """What regions are told apart and sorted by: image and box."""
        return self.image_id, self.top, self.left, self.height, self.width

    @property
    def slices(self) -> tuple[slice, slice]:
        """Row and column slices into an (H, W) array."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


@dataclass(frozen=True, slots=True)
class Segment(Region):
    """A superpixel of one image: the rectangle is its bounding box.

    number: in the partition of its image into superpixels of about ``mean_px`` pixels. size_px: its
    own pixels. dominant: one click gives all of them their most frequent class.
    """

    number: int
    mean_px: int
    size_px: int
    dominant: bool = False

    @property
    def place(self) -> tuple[str, int, int, int, int, int]:
        """What superpixels are told apart and sorted by: image, bounding box and number."""
        return self.image_id, self.top, self.left, self.height, self.width, self.number

    @property
    def area_px(self) -> int:
        """Number of pixels."""
        return self.size_px


@dataclass(frozen=True, slots=True)
class Clicks:
    """What an annotator does for a region, by kind (METHOD: c_p, c_i, c_b, c_c).

    All counts >= 0.
    """

    polygon: int = 0
    intersection: int = 0
    box: int = 0
    classes: int = 0

    @property
    def billed(self) -> int:
        """c_p + c_i + c_b: what cost_B is a share of."""
        return self.polygon + self.intersection + self.box

    def __add__(self, other: Clicks) -> Clicks:
        return Clicks(
            self.polygon + other.polygon,
            self.intersection + other.intersection,
            self.box + other.box,
            self.classes + other.classes,
        )


@dataclass(frozen=True, slots=True)
class ClickTotals:
    """Clicks of a whole training set: the denominators of both cost shares (C_p and C_c)."""

    polygon: int
    classes: int

    def cost_a(self, clicks: Clicks) -> float:
        """Return (c_p + c_i + c_c) / (C_p + C_c), the share of the set's clicks; may pass 1."""
        return (clicks.polygon + clicks.intersection + clicks.classes) / (
            self.polygon + self.classes
        )

    def cost_b(self, clicks: Clicks) -> float:
        """Return (c_p + c_i + c_b) / C_p, the share that later work attributes to CEREALS.

        May pass 1.
        """
        return clicks.billed / self.polygon


@dataclass(frozen=True, slots=True)
class Candidate:
    """A scored region after non-maximum suppression; higher scores are asked for earlier."""

    region: Region
    score: float
    new_px: int
    information: float | None = None
    cost: float | None = None

    @property
    def rank_key(self) -> tuple[float | str, ...]:
        """Sort key. Choice: ties go by image id, top, left, and the number of a superpixel."""
        return -self.score, *self.region.place


@dataclass(frozen=True, slots=True)
class Annotation:
    """The oracle's answer for one region.

    labels: (height, width) uint8 train ids, 255 = void, and outside a superpixel. vertices: (n, 2)
    int32 recorded (x, y) inside the region. is_new: (height, width) bool, the pixels that are
    billed: none outside a superpixel.
    """

    region: Region
    labels: npt.NDArray[np.uint8]
    vertices: npt.NDArray[np.int32]
    is_new: npt.NDArray[np.bool_]
    clicks: Clicks


class Receipt(NamedTuple):
    """One line of a bill: a region, what was new in it, its clicks, and why it was asked for (None for the seed set)."""

    image_id: str
    top: int
    left: int
    height: int
    width: int
    new_px: int
    polygon: int
    intersection: int
    box: int
    classes: int
    score: float | None
    information: float | None
    cost: float | None

    @property
    def region(self) -> Region:
        """The region that was annotated."""
        return Region(self.image_id, self.top, self.left, self.height, self.width)

    @property
    def clicks(self) -> Clicks:
        """The clicks that were spent on it."""
        return Clicks(self.polygon, self.intersection, self.box, self.classes)


class ImageAreas(NamedTuple):
    """Class areas of one validation image in pixels, one entry per class.

    Void pixels are left out of all three.
    """

    image_id: str
    intersection: list[int]
    prediction: list[int]
    label: list[int]


class LossPoint(NamedTuple):
    """One stretch of a training: its last step, its mean loss, the learning rate at its end."""

    step: int
    loss: float
    lr: float


@dataclass(frozen=True, slots=True)
class CostQuality:
    """How well predicted clicks per window match recorded ones; None where undefined.

    mean_absolute_error: clicks per window. relative_count_error: the sum of all errors over the sum
    of all recorded clicks. reliability: (mean predicted, mean recorded) clicks in tenths of the
    windows, by rising prediction.
    """

    windows: int
    pearson: float | None
    spearman: float | None
    relative_count_error: float | None
    mean_absolute_error: float | None = None
    reliability: list[tuple[float, float]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RoundRecord:
    """One finished round: what was bought at its start, the bill so far, and how good the network became.

    cost_quality: of the cost network that this round trained, on validation images. bought_quality:
    of the one that chose this round's windows, on these windows: predicted before the oracle
    answered. budget_px: pixels that may be labelled up to this round. budget_clicks: clicks that
    may be spent up to it, in a board of equal clicks; None in one of equal pixels. segments: the
    number of each region's superpixel; None where all are rectangles.
    """

    round: int
    query: list[Receipt]
    labelled_px: int
    budget_px: int
    clicks: Clicks
    areas: list[ImageAreas]
    cost_quality: CostQuality | None
    network: str
    bought_quality: CostQuality | None = None
    budget_clicks: int | None = None
    segments: list[int] | None = None


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """One map of all placements of a window in an image, made small.

    png: base64 of a grey PNG; 0 where no window may be asked for, 1 to 255 from ``low`` to
    ``high``.
    """

    png: str
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ImageThumbnails:
    """The maps of one image. box.

    (top, left, height, width) in pixels of the image over which a map is spread: the middles of its
    windows.
    """

    image: str
    box: tuple[float, float, float, float]
    information: Thumbnail | None
    cost: Thumbnail | None
    score: Thumbnail
