"""Any folder of images and label PNGs as a pool: no polygons, so clicks are SIMULATED from the masks' contours.

Use it for CamVid, KITTI or one's own data. Every table says "simulated clicks".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from harness.data.annotations import Recording
from harness.data.cityscapes import ImageFiles, Split
from harness.data.labels import IGNORE
from harness.errors import InputError

DEFAULT_TOLERANCE_PX = 1.0
_IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}


@dataclass(frozen=True, slots=True)
class MaskLayout:
    """Where images and masks lie, and what a mask's values mean.

    images, labels: folders below the root, with ``{split}``; an image and its mask share the file name up to the suffix.
    classes: mask value -> class name; all other values are void. tolerance_px: of the simulated polygons.
    """

    images: str
    labels: str
    classes: Mapping[int, str]
    tolerance_px: float = DEFAULT_TOLERANCE_PX


class MaskSplit(Split):
    """One split of a folder of images and masks. Its label ids are the masks' values, its vertices are simulated."""

    simulated_clicks = True

    def __init__(self, root: Path, name: str, cache: Path, layout: MaskLayout) -> None:
        self.layout = layout
        self.class_names = tuple(dict.fromkeys(layout.classes.values()))
        self._table = np.full(256, IGNORE, np.uint8)
        for value, class_name in layout.classes.items():
            self._table[value] = self.class_names.index(class_name)
        super().__init__(root, name, cache)

    def _find(self) -> dict[str, ImageFiles]:
        images, labels = (
            self.root / pattern.format(split=self.name)
            for pattern in (self.layout.images, self.layout.labels)
        )
        if not images.is_dir():
            raise InputError(
                f"data root {self.root}: no folder {images}; allowed: a folder of images"
            )
        photos = sorted(path for path in images.iterdir() if path.suffix.lower() in _IMAGE_SUFFIXES)
        if not photos:
            raise InputError(
                f"data root {self.root}: no image in {images}; allowed: {', '.join(sorted(_IMAGE_SUFFIXES))}"
            )
        nowhere = labels / "nowhere"
        return {
            path.stem: ImageFiles(
                path, labels / f"{path.stem}.png", labels / f"{path.stem}.png", nowhere
            )
            for path in photos
        }

    def to_train_ids(self, label_ids: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Map mask values to class numbers, 255 for void."""
        return np.asarray(self._table[label_ids])

    def recording(self, image_id: str) -> Recording | None:
        """Nobody recorded anything."""
        del image_id
        return None

    def decode_vertices(self, image_id: str) -> npt.NDArray[np.int32]:
        """Return the simulated clicks."""
        return simulate_clicks(self.decode_label_ids(image_id), self.layout.tolerance_px)

    def click_fingerprint(self, image_id: str) -> bytes:
        """Return what identifies an image's clicks."""
        return self.decode_vertices(image_id).tobytes()

    @property
    def identity(self) -> str:
        """What tells this reading from another one of the same files."""
        return f"{self.root.resolve()}/{self.name}/masks/{self.layout}"


def simulate_clicks(label_map: npt.NDArray[np.uint8], tolerance_px: float) -> npt.NDArray[np.int32]:
    """Return the vertices of the polygons that an annotator would draw around the components of a label map.

    Choice: each 8-connected component is one object; its outer contour is simplified (Douglas-Peucker) to within
    ``tolerance_px``. Holes are not traced: whatever fills them is an object of its own, in front. A border between two
    objects is clicked once, for the smaller one, which is taken to be in front; vertices of the larger one within
    1.5 px + tolerance of a border already clicked are left out.

    Args:
        label_map: (H, W) labels, void values too.
        tolerance_px: > 0.

    Returns:
        (n, 2) int32 pixel (x, y).
    """
    contours: list[tuple[int, npt.NDArray[np.int32]]] = []
    for value in np.unique(label_map):
        count, components, stats, _ = cv2.connectedComponentsWithStats(
            (label_map == value).view(np.uint8), connectivity=8
        )
        for number in range(1, count):
            x, y, width, height, area = (int(entry) for entry in stats[number])
            crop = (components[y : y + height, x : x + width] == number).view(np.uint8)
            outer, _ = cv2.findContours(
                crop, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE, offset=(x, y)
            )
            contours += [(area, np.asarray(points[:, 0], np.int32)) for points in outer]
    return _click_once(contours, label_map.shape, tolerance_px)


def _click_once(
    contours: list[tuple[int, npt.NDArray[np.int32]]], shape: tuple[int, ...], tolerance_px: float
) -> npt.NDArray[np.int32]:
    """Simplify contours, the smallest object first, leaving out vertices on borders that are already drawn."""
    drawn = np.zeros((shape[0], shape[1]), np.uint8)
    reach = int(np.ceil(1.5 + tolerance_px))
    kept = [np.empty((0, 2), np.int32)]
    for _, contour in sorted(contours, key=lambda item: item[0]):
        vertices = cv2.approxPolyDP(contour[:, None], tolerance_px, closed=True)[:, 0]
        kept.append(vertices[drawn[vertices[:, 1], vertices[:, 0]] == 0].astype(np.int32))
        cv2.polylines(drawn, [vertices[:, None]], isClosed=True, color=1, thickness=2 * reach - 1)
    return np.concatenate(kept)


@dataclass(frozen=True, slots=True)
class Calibration:
    """How well simulated clicks per window match recorded ones, over windows that tile all images of a split."""

    tolerance_px: float
    windows: int
    correlation: float
    ratio: float


def calibrate(split: Split, tolerances: tuple[float, ...], window_px: int) -> list[Calibration]:
    """Compare simulated with recorded c_p per window where both exist; ``ratio`` is simulated over recorded, summed."""
    recorded = [
        _tiles(split.vertices(image_id), split.index.sizes[image_id], window_px)
        for image_id in split.files
    ]
    rows = []
    for tolerance in tolerances:
        simulated = [
            _tiles(
                simulate_clicks(split.label_ids(image_id), tolerance),
                split.index.sizes[image_id],
                window_px,
            )
            for image_id in split.files
        ]
        ours, truth = np.concatenate(simulated), np.concatenate(recorded)
        rows.append(
            Calibration(
                tolerance,
                len(truth),
                float(np.corrcoef(ours, truth)[0, 1]),
                float(ours.sum() / truth.sum()),
            )
        )
    return rows


def _tiles(
    vertices: npt.NDArray[np.int32], size: tuple[int, int], window_px: int
) -> npt.NDArray[np.int64]:
    rows, cols = size[0] // window_px, size[1] // window_px
    inside = (
        vertices[(vertices[:, 1] < rows * window_px) & (vertices[:, 0] < cols * window_px)]
        // window_px
    )
    return np.bincount(inside[:, 1] * cols + inside[:, 0], minlength=rows * cols)
