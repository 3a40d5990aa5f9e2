"""What a full check of a split finds out, written down so that later starts need not read the files again."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from harness.clicks import count_components
from harness.data import decoded
from harness.data.annotations import rasterise
from harness.data.images import read_labels
from harness.data.labels import IGNORE
from harness.data.manifest import has_changed
from harness.errors import InputError
from harness.files import checksum, write_text
from harness.protocols import ImageSizes
from harness.types import ClickTotals

if TYPE_CHECKING:
    from harness.data.annotations import Recording
    from harness.data.cityscapes import ImageFiles, Split

T = TypeVar("T")

Problem = str
"""One line that names a file and says what is wrong with it."""

_VERSION = 4
_MOST_VALUES = 512
_FEW_VALUES = 1 << 16
LARGEST_DISAGREEMENT = 0.10
"""Choice: polygons that, painted, differ from the labels on more pixels than this belong to another image. Real files differ on 0.5 %."""

_TELLING_SHARE = 0.001
"""Choice: a label of fewer pixels than this share may be all border."""
_DARK = 65
"""Choice: photographs without a brighter value are worth a line: 14 bits in 16 give 64 at most."""


@dataclass(frozen=True, slots=True)
class Index:
    """What a full check found.

    sizes, totals: of images and clicks. fingerprint: of every byte. vertices_per_image: least, mean
    and most. decoded: where decoded images lie, if anywhere. value_px: stored label value -> pixels
    (the most frequent ones). class_px, class_images: pixels and images of each class. digests: of
    each image's photograph, to find the same one in two splits. palette: of palette label images,
    index -> colour and a file that says so. notes: what a person should know, a line each.
    """

    sizes: ImageSizes
    totals: ClickTotals
    fingerprint: str
    vertices_per_image: tuple[int, float, int]
    unknown_labels: dict[str, int]
    decoded: Path | None
    value_px: dict[int, int]
    class_px: list[int]
    class_images: list[int]
    digests: dict[str, str]
    palette: dict[int, tuple[int, str]]
    notes: list[str]

    @property
    def total_px(self) -> int:
        """Pixels of all images."""
        return sum(height * width for height, width in self.sizes.values())

    @property
    def void_px(self) -> int:
        """Pixels in no class."""
        return self.total_px - sum(self.class_px)

    def only(self, image_ids: Sequence[str], totals: ClickTotals) -> Index:
        """Return the index of some of its images, without counts of values and classes."""
        fingerprint = hashlib.sha256(f"{self.fingerprint} {sorted(image_ids)}".encode()).hexdigest()
        return replace(
            self,
            sizes={image_id: self.sizes[image_id] for image_id in image_ids},
            totals=totals,
            fingerprint=fingerprint,
            value_px={},
            class_px=[],
            class_images=[],
        )


@dataclass(frozen=True, slots=True)
class _Checked:
    item: decoded.Decoded
    components: int
    digest: str
    photo_digest: str
    unknown: Counter[str]
    value_px: Counter[int]
    class_px: npt.NDArray[np.int64]
    palette: dict[int, int]
    brightest: int


def index_file(split: Split) -> Path:
    """Return where a split's index is kept."""
    return (
        split.cache / "indices" / f"{hashlib.sha256(split.identity.encode()).hexdigest()[:16]}.json"
    )


def _stamp(split: Split) -> str:
    digest = hashlib.sha256(f"{_VERSION}".encode())
    for image_id, files in split.files.items():
        for path in (*files.required, *([files.train_ids] if files.train_ids.is_file() else [])):
            status = path.stat()
            # a changed file whose time was put back still has another time of change
            digest.update(
                f"{image_id} {path.name} {status.st_size} {status.st_mtime_ns} "
                f"{status.st_ctime_ns}\n".encode()
            )
    return digest.hexdigest()


def load_index(split: Split) -> Index | None:
    """Return the index of an earlier check.

    None where a file has changed since, or the decoded images are gone or damaged.
    """
    if split.problems:
        return None
    try:
        stamp = _stamp(split)
        stored, _, text = index_file(split).read_text(encoding="utf-8").partition("\n")
        if stored != checksum(text):
            return None
        document = json.loads(text)
        if document["version"] != _VERSION or document["stamp"] != stamp:
            return None
        folder = Path(document["decoded"]) if document["decoded"] else None
        if folder is not None and decoded.DecodedCache.open(folder) is None:
            return None
        low, mean, high = document["vertices_per_image"]
        return Index(
            sizes={
                image_id: (int(height), int(width))
                for image_id, (height, width) in document["sizes"].items()
            },
            totals=ClickTotals(int(document["polygon"]), int(document["classes"])),
            fingerprint=str(document["fingerprint"]),
            vertices_per_image=(int(low), float(mean), int(high)),
            unknown_labels=dict(document["unknown_labels"]),
            decoded=folder,
            value_px={int(value): int(count) for value, count in document["value_px"].items()},
            class_px=[int(count) for count in document["class_px"]],
            class_images=[int(count) for count in document["class_images"]],
            digests=dict(document["digests"]),
            palette={
                int(value): (int(colour), str(file))
                for value, (colour, file) in document["palette"].items()
            },
            notes=[str(line) for line in document["notes"]],
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def check_split(
    split: Split, *, each: Callable[[str], None] | None = None
) -> tuple[Index | None, list[Problem]]:
    """Read every file of a split once, in parallel.

    Write the index and the decoded images if all is well.

    Args:
        each: called after each image, for progress.

    Returns:
        The index (None where anything is wrong), and every problem found.
    """
    missing = [
        f"{files.photo}: its annotation {path} is missing"
        for files in split.files.values()
        for path in dict.fromkeys(files.required)
        if not path.is_file()
    ]
    own = [
        f"{files.photo}: a photograph and its label image must be two files, got one"
        for files in split.files.values()
        if files.label_ids.is_file()
        and files.photo.is_file()
        and files.photo.samefile(files.label_ids)
    ]
    problems: list[Problem] = [*split.problems, *missing, *own]
    broken = {path.partition(": its annotation")[0] for path in missing}
    image_ids = [key for key, files in split.files.items() if str(files.photo) not in broken]
    stamp = _stamp(split) if not problems else ""
    kept: dict[str, _Row] = {}
    unknown, value_px = Counter[str](), Counter[int]()
    palette: dict[int, tuple[int, str]] = {}
    brightest = 0
    class_px = np.zeros(len(split.class_names), np.int64)
    class_images = np.zeros(len(split.class_names), np.int64)
    folder = _decoded_folder(split, stamp) if not problems and _has_room(split) else None

    def checked() -> Iterator[tuple[str, decoded.Decoded]]:
        nonlocal class_px, class_images, brightest
        for image_id, result in _in_parallel(split, image_ids):
            if isinstance(result, list):
                problems.extend(result)
            else:
                height, width = result.item.label_ids.shape
                kept[image_id] = _Row(
                    (height, width),
                    len(result.item.vertices),
                    result.components,
                    result.digest,
                    result.photo_digest,
                )
                unknown.update(result.unknown)
                value_px.update(result.value_px)
                class_px += result.class_px
                class_images += result.class_px > 0
                brightest = max(brightest, result.brightest)
                file = str(split.files[image_id].label_ids)
                told = {value: (colour, file) for value, colour in result.palette.items()}
                problems.extend(other_palette(palette, told))
                palette.update({**told, **palette})
                yield image_id, result.item
            if each is not None:
                each(image_id)

    _drain(checked(), folder, problems)
    problems += _check_values(split, value_px, class_px, kept)
    notes = (_read(split.notes, problems) or []) if not problems else []
    if not problems and brightest < _DARK:
        notes.append(
            f"{split.name}: no photograph has a value above {brightest} of 255; 16 bits are scaled "
            "by 65535, and a camera's 12 or 14 bits must be spread over them before"
        )
    if not problems and sum(row.vertices for row in kept.values()) == 0:
        problems.append(
            f"data root {split.root}: annotations must hold recorded clicks, found no polygon "
            f"vertex in {split.name}"
        )
    if problems:
        return None, problems
    counts = np.array([row.vertices for row in kept.values()])
    digest = hashlib.sha256(
        "".join(f"{image_id} {row.digest}\n" for image_id, row in kept.items()).encode()
    )
    index = Index(
        sizes={image_id: row.size for image_id, row in kept.items()},
        totals=ClickTotals(int(counts.sum()), sum(row.components for row in kept.values())),
        fingerprint=digest.hexdigest(),
        vertices_per_image=(int(counts.min()), float(counts.mean()), int(counts.max())),
        unknown_labels=dict(sorted(unknown.items())),
        decoded=folder,
        value_px=dict(value_px.most_common(_MOST_VALUES)),
        class_px=class_px.tolist(),
        class_images=class_images.tolist(),
        digests={image_id: row.photo_digest for image_id, row in kept.items()},
        palette=palette,
        notes=notes,
    )
    _write(split, index, stamp)
    return index, []


def other_palette(
    known: Mapping[int, tuple[int, str]], told: Mapping[int, tuple[int, str]]
) -> list[Problem]:
    """Return whether two palettes give one index two colours: then its number is no class.

    Args:
        known, told: index -> colour and the file that says so, of the indices that pixels use.
    """
    for value, (colour, file) in told.items():
        other, first = known.get(value, (colour, file))
        if other != colour:
            return [
                f"{file}: the palettes of label images must give an index the same colour, got "
                f"{value} as #{colour:06x} here and as #{other:06x} in {first}; write colours in "
                "data.classes to read them by their colours"
            ]
    return []


class _Row(NamedTuple):
    """What is kept of each image."""

    size: tuple[int, int]
    vertices: int
    components: int
    digest: str
    photo_digest: str


def _decoded_folder(split: Split, stamp: str) -> Path:
    key = hashlib.sha256(f"{stamp} {split.identity}".encode()).hexdigest()[:16]
    return split.cache / "decoded" / key


def _check_values(
    split: Split,
    value_px: Counter[int],
    class_px: npt.NDArray[np.int64],
    kept: dict[str, _Row],
) -> list[Problem]:
    """Return what is wrong with the label values of a whole split."""
    total = sum(row.size[0] * row.size[1] for row in kept.values())
    if not total:
        return []
    problems = split.check_values(dict(value_px.most_common()))
    void = 1.0 - int(class_px.sum()) / total
    if void > split.max_void_share and not problems:
        problems.append(
            f"data root {split.root}: at most {100 * split.max_void_share:g} % of the pixels of "
            f"{split.name} may be void (data.max_void_share), got {100 * void:.1f} %; "
            f"{describe_values(split, value_px)}"
        )
    elif not class_px.any() and not problems:
        problems.append(
            f"data root {split.root}: {split.name} must have a pixel of some class, all are void; "
            f"{describe_values(split, value_px)}"
        )
    return problems


def describe_values(split: Split, value_px: Mapping[int, int], most: int = 8) -> str:
    """List the values of label images with their shares of the pixels, the largest first."""
    total = max(sum(value_px.values()), 1)
    rows = sorted(value_px.items(), key=lambda row: -row[1])
    listed = ", ".join(
        f"{split.name_of_value(value)} ({100 * count / total:.1f} %)"
        for value, count in rows[:most]
    )
    more = f" and {len(rows) - most} more" if len(rows) > most else ""
    return f"the label images hold the values {listed}{more}"


def _in_parallel(
    split: Split, image_ids: list[str]
) -> Iterator[tuple[str, _Checked | list[Problem]]]:
    """Check images with every core, a bounded number at a time, and yield them in order."""
    cores = os.cpu_count() or 1
    with ThreadPoolExecutor(cores) as workers:
        for start in range(0, len(image_ids), 4 * cores):
            batch = image_ids[start : start + 4 * cores]
            yield from zip(
                batch,
                workers.map(lambda image_id: _check_image(split, image_id), batch),
                strict=True,
            )


def _drain(
    items: Iterator[tuple[str, decoded.Decoded]], folder: Path | None, problems: list[Problem]
) -> None:
    """Go through all images, writing them to the decoded cache as long as nothing is wrong."""
    if folder is None:
        for _ in items:
            pass
        return
    writer = decoded.DecodedWriter(folder)
    try:
        for image_id, item in items:
            writer.add(image_id, item)
        if problems:
            writer.discard()
        else:
            writer.finish()
    except BaseException:
        writer.discard()
        raise


def _has_room(split: Split) -> bool:
    """Return whether the decoded split fits the limit, by the size of its first image."""
    first = next(iter(split.files))
    try:
        pixels = split.decode_photo(first).size
    except InputError:
        return False
    return decoded.make_room(
        split.cache / "decoded", len(split.files) * pixels * 4 // 3 + (1 << 20)
    )


def _check_image(split: Split, image_id: str) -> _Checked | list[Problem]:
    """Read the files of one image; return all that is wrong with them where anything is."""
    files = split.files[image_id]
    problems: list[Problem] = []
    photo = _read(lambda: split.decode_photo(image_id), problems)
    raw = _read(lambda: split.raw_labels(image_id), problems)
    recording = _read(lambda: split.recording(image_id), problems)
    given = _read(lambda: _given_train_ids(split, image_id), problems)
    if split.manifest is not None:
        problems += [
            f"{path}: has changed since the pack was made (checksum)"
            for path in dict.fromkeys(files.required)
            if has_changed(split.root, path, split.manifest)
        ]
    if problems or photo is None or raw is None:
        return problems
    labels = split.to_label_ids(raw)
    problems += _wrong_sizes(split.files[image_id], photo.shape[:2], raw, given, recording)
    if given is not None and not problems:
        problems += _other_train_ids(files, given, split.to_train_ids(labels), labels)
    if recording is not None and not problems:
        problems += _other_polygons(files, recording, labels)
    if problems:
        return problems
    vertices = _read(lambda: split.decode_vertices(image_id), problems)
    if problems or vertices is None:
        return problems
    photo_digest = hashlib.sha256(photo.tobytes())
    digest = photo_digest.copy()
    digest.update(labels.tobytes())
    digest.update(split.click_fingerprint(image_id))
    if given is not None:
        digest.update(given.tobytes())
    classes = split.to_train_ids(labels) if given is None else given
    return _Checked(
        item=decoded.Decoded(photo, labels, vertices),
        components=count_components(labels),
        digest=digest.hexdigest(),
        photo_digest=photo_digest.hexdigest()[:16],
        unknown=split.unknown_labels(image_id, recording),
        value_px=_count(raw),
        class_px=np.bincount(classes.ravel(), minlength=256)[: len(split.class_names)],
        palette=split.palette(image_id),
        brightest=int(photo.max(initial=0)),
    )


def _wrong_sizes(
    files: ImageFiles,
    size: tuple[int, ...],
    raw: npt.NDArray[np.int32],
    given: npt.NDArray[np.uint8] | None,
    recording: Recording | None,
) -> list[Problem]:
    """Return which annotations do not have the size of their image."""
    found: list[tuple[Path, tuple[int, ...]]] = [(files.label_ids, raw.shape)]
    if given is not None:
        found.append((files.train_ids, given.shape))
    if recording is not None:
        found.append((files.polygons, (recording.height, recording.width)))
    return [
        f"{path}: must have the size of its image, {size[0]}x{size[1]}, got {own[0]}x{own[1]}"
        + " (has the photograph an EXIF orientation?)" * (own == size[::-1] and own != size)
        for path, own in found
        if own != size
    ]


def _other_polygons(
    files: ImageFiles, recording: Recording, labels: npt.NDArray[np.uint8]
) -> list[Problem]:
    """Return whether polygons belong to another image: painted, they are not the labels."""
    differing = float((rasterise(recording) != labels).mean())
    if differing <= LARGEST_DISAGREEMENT:
        return []
    return [
        f"{files.polygons}: painted, its polygons must be the labels of {files.label_ids.name}, "
        f"but they differ on {100 * differing:.0f} % of the pixels"
    ]


def _other_train_ids(
    files: ImageFiles,
    given: npt.NDArray[np.uint8],
    wanted: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.uint8],
) -> list[Problem]:
    """Return whether train ids contradict label ids, in the image or for most pixels of a label.

    Borders may differ: two programs do not paint a polygon alike.
    """
    differing = given != wanted
    if not differing.any():
        return []
    all_px = np.bincount(labels.ravel(), minlength=256)
    wrong_px = np.bincount(labels[differing], minlength=256)
    is_wrong = (2 * wrong_px > all_px) & (all_px >= _TELLING_SHARE * labels.size)
    if float(differing.mean()) <= LARGEST_DISAGREEMENT and not is_wrong.any():
        return []
    worst = int(np.where(is_wrong, wrong_px, 0).argmax() if is_wrong.any() else wrong_px.argmax())
    of = differing & (labels == worst)
    return [
        f"{files.train_ids}: must be the train ids of {files.label_ids.name}, where label id "
        f"{worst} is train id {int(wanted[of][0])}, got {int(given[of][0])}; they differ on "
        f"{100 * differing.mean():.2g} % of the pixels"
    ]


def _read(read: Callable[[], T], problems: list[Problem]) -> T | None:
    """Return what is read, or None with one more problem."""
    try:
        return read()
    except InputError as error:
        if str(error) not in problems:
            problems.append(str(error))
        return None


def _given_train_ids(split: Split, image_id: str) -> npt.NDArray[np.uint8] | None:
    """Read ``labelTrainIds.png`` where there is one; its values are class numbers or 255.

    Raises:
        InputError: other values.
    """
    file = split.files[image_id].train_ids
    if not file.is_file():
        return None
    stored = read_labels(file)
    known = len(split.class_names)
    strange = stored[(stored >= known) & (stored != IGNORE)]
    if strange.size:
        share = 100 * strange.size / stored.size
        raise InputError(
            f"{file}: train ids must be 0 to {known - 1}, or {IGNORE} for void, got "
            f"{int(strange[0])} ({share:.2f} % of the pixels are others)"
        )
    return stored.astype(np.uint8)


def _count(raw: npt.NDArray[np.int32]) -> Counter[int]:
    """Count the pixels of each stored value."""
    if raw.size and int(raw.max()) < _FEW_VALUES:
        counts = np.bincount(raw.ravel())
        return Counter({int(value): int(counts[value]) for value in np.flatnonzero(counts)})
    values, counts = np.unique(raw, return_counts=True)
    return Counter(dict(zip(values.tolist(), counts.tolist(), strict=True)))


def _write(split: Split, index: Index, stamp: str) -> None:
    document = {
        "version": _VERSION,
        "stamp": stamp,
        "sizes": index.sizes,
        "polygon": index.totals.polygon,
        "classes": index.totals.classes,
        "fingerprint": index.fingerprint,
        "vertices_per_image": index.vertices_per_image,
        "unknown_labels": index.unknown_labels,
        "value_px": index.value_px,
        "class_px": index.class_px,
        "class_images": index.class_images,
        "digests": index.digests,
        "palette": index.palette,
        "notes": index.notes,
        "decoded": None if index.decoded is None else str(index.decoded),
    }
    text = json.dumps(document)
    write_text(index_file(split), f"{checksum(text)}\n{text}")
