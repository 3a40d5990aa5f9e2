"""Any folder of images and label images as a pool.

No polygons, so clicks are SIMULATED from the masks' contours.

Use it for CamVid, KITTI or one's own data. Every table says "simulated clicks".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from harness.blocks import MaskLayout
from harness.data import files
from harness.data.annotations import Recording
from harness.data.cityscapes import ImageFiles, Split
from harness.data.images import LABEL_SUFFIXES, PHOTO_SUFFIXES, read_labels
from harness.data.labels import IGNORE
from harness.errors import InputError, shorten


class MaskSplit(Split):
    """One split of a folder of images and masks.

    Its label ids are class numbers, its vertices simulated.

    Choice: the classes are what an annotator would outline, so two values of one class are one
    label, and all void is one label.
    """

    simulated_clicks = True

    def __init__(self, root: Path, name: str, cache: Path, layout: MaskLayout) -> None:
        self.layout = layout
        self.class_names = tuple(dict.fromkeys(layout.classes.values()))
        self.max_void_share = layout.max_void_share
        numbers = {
            _packed(value): self.class_names.index(class_name)
            for value, class_name in layout.classes.items()
        }
        self._values = np.array(sorted(numbers), np.int64)
        self._numbers = np.array([numbers[value] for value in sorted(numbers)], np.uint8)
        self._in_colour = any(isinstance(value, tuple) for value in layout.classes)
        self._void = None if layout.void is None else {_packed(value) for value in layout.void}
        super().__init__(root, name, cache)

    def _find(self) -> dict[str, ImageFiles]:
        folder = self.root / self.layout.images.replace("{split}", self.name)
        if not folder.is_dir():
            raise InputError(
                f"data root {self.root}: must hold the folder {folder.relative_to(self.root)} with "
                "the images, found none"
            )
        photos, problems, passed = files.find_photos(folder)
        place, labels = files.find_labels(self.root, self.layout.labels, self.name)
        wanted = self._listed(photos, problems)
        found: dict[str, ImageFiles] = {}
        for image_id in wanted:
            label = labels.get(image_id, [])
            if len(label) > 1:
                problems.append(
                    f"{label[0]}: an image must have one label image, got {label[1].name} beside it"
                )
            file = label[0] if label else place / f"{self._label_name(image_id)}"
            found[image_id] = ImageFiles(photos[image_id], file, file, place / "none")
        if not found and not problems:
            raise InputError(
                f"data root {self.root}: no image in {folder}; its files must end in "
                f"{', '.join(sorted(PHOTO_SUFFIXES))}"
            )
        alone = [paths[0] for key, paths in labels.items() if key not in photos]
        passed += files.said("label images without a photograph are passed over", alone, place)
        if self.layout.lists is not None:
            left = [path for key, path in photos.items() if key not in found]
            passed += files.said("photographs are not in the list of this split", left, folder)
        self.problems, self.passed_over = problems, passed
        return found

    def _pack(self) -> None:
        """Masks are no pack of this program."""

    def _label_name(self, image_id: str) -> str:
        """Return the name under which a missing label image was looked for."""
        path = image_id.replace(files.NESTED, "/")
        name = self.layout.labels.rpartition("/")[2]
        if "{stem}" not in name:
            return f"{path}.png"
        above, slash, stem = path.rpartition("/")
        return f"{above}{slash}{name.replace('{split}', self.name).replace('{stem}', stem)}"

    def _listed(self, photos: Mapping[str, Path], problems: list[str]) -> list[str]:
        """Return the ids of this split: those of its list, or all."""
        if self.layout.lists is None:
            return list(photos)
        file = self.root / self.layout.lists.replace("{split}", self.name)
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            raise InputError(
                f"{file}: must be a text file with an image a line ({error})"
            ) from error
        asked = [line.strip() for line in lines if line.strip()]
        if not asked:
            raise InputError(f"{file}: must name an image a line, got none")
        by_path = {_plain(key): key for key in photos}
        wanted: list[str] = []
        for number, line in enumerate(asked, 1):
            path = Path(line)
            with_suffix = path.suffix.lower() in PHOTO_SUFFIXES | LABEL_SUFFIXES
            key = by_path.get(str(path.with_suffix("")) if with_suffix else line)
            if key is None:
                problems.append(f"{file}:{number}: no photograph is called {shorten(line)}")
            elif key in wanted:
                problems.append(f"{file}:{number}: {shorten(line)} must stand in the list once")
            else:
                wanted.append(key)
        return sorted(wanted)

    def raw_labels(self, image_id: str) -> npt.NDArray[np.int32]:
        """Read a mask's values, (H, W), as they are stored."""
        return read_labels(self.files[image_id].label_ids, colours=self._in_colour)

    def palette(self, image_id: str) -> dict[int, int]:
        """Return the colours of a mask's indices; none where the classes are colours themselves."""
        return {} if self._in_colour else super().palette(image_id)

    def to_label_ids(self, raw: npt.NDArray[np.int32]) -> npt.NDArray[np.uint8]:
        """Map mask values to class numbers, 255 for void."""
        return self._classes_of(raw)

    def _classes_of(self, raw: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
        place = np.searchsorted(self._values, raw).clip(max=len(self._values) - 1)
        known = self._values[place] == raw
        return np.where(known, self._numbers[place], np.uint8(IGNORE)).astype(np.uint8)

    def class_of_value(self, value: int) -> int | None:
        """Return the class number of a stored value; None for void."""
        number = int(self._classes_of(np.array([value]))[0])
        return None if number == IGNORE else number

    def name_of_value(self, value: int) -> str:
        """Return a stored value as a config writes it: a number, or a colour."""
        return str(_unpacked(value)) if self._in_colour else str(value)

    def check_values(self, value_px: Mapping[int, int]) -> list[str]:
        """Return what is wrong with the values that this split's masks hold."""
        if self._void is None:
            return []
        total = sum(value_px.values())
        strange = {
            value: count
            for value, count in value_px.items()
            if value not in self._void and self.class_of_value(value) is None
        }
        return [
            f"data root {self.root}: the masks of {self.name} must hold declared classes and "
            f"data.void only, got {self.name_of_value(value)} on {100 * count / total:.2f} % of "
            "the pixels"
            for value, count in list(strange.items())[:10]
        ]

    def to_train_ids(self, label_ids: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return the label ids: they are class numbers."""
        return label_ids

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


def _packed(value: int | tuple[int, int, int]) -> int:
    """Return a value as it is stored; a colour as ``read_labels`` packs it."""
    if isinstance(value, tuple):
        red, green, blue = value
        return (red << 16) + (green << 8) + blue
    return value


def _unpacked(value: int) -> tuple[int, int, int]:
    return value >> 16, value >> 8 & 255, value & 255


def _plain(image_id: str) -> str:
    return image_id.replace(files.NESTED, "/")


def simulate_clicks(label_map: npt.NDArray[np.uint8], tolerance_px: float) -> npt.NDArray[np.int32]:
    """Return the vertices of the polygons that an annotator would draw around the components of a label map.

    Choice: each 8-connected component is one object; its outer contour is simplified
    (Douglas-Peucker) to within ``tolerance_px``. Holes are not traced: whatever fills them is an
    object of its own, in front. A border between two objects is clicked once, for the smaller one,
    which is taken to be in front; vertices of the larger one within 1.5 px + tolerance of a border
    already clicked are left out.

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
    """Compare simulated with recorded c_p per window where both exist.

    ``ratio`` is simulated over recorded, summed.
    """
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
