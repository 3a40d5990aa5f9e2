"""Write the embedded pack ``streets`` in the layout that Cityscapes ships, once, into a folder."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from harness.data.annotations import paint_labels
from harness.data.manifest import checksums
from harness.data.streets.render import Recorded, photograph, polygons_json, record
from harness.data.streets.scene import build_street
from harness.data.streets.street import Camera, CityLook, Paint, city_look
from harness.errors import InputError
from harness.files import checksum, draft_folder

GENERATOR_VERSION = 1
"""Part of a pack's name: raise it whenever the same parameters give other bytes."""

CITIES = {
    "train": (
        "ahornau",
        "birkfeld",
        "eschental",
        "fichtach",
        "lindenau",
        "ulmenried",
        "weidenhof",
        "buchenau",
    ),
    "val": ("tannheim", "erlenbad", "kiefersee"),
}
STEP_AHEAD_M = 0.8
_FRAMES_APART = 19


@dataclass(frozen=True, slots=True)
class PackSpec:
    """All that determines a pack, byte for byte.

    ``redundancy`` is the number of near-duplicate frames of one sequence.
    """

    height: int = 128
    width: int = 256
    train: int = 120
    val: int = 40
    seed: int = 0
    redundancy: int = 1

    def __post_init__(self) -> None:
        for name, low, high in (
            ("height", 32, 4096),
            ("width", 32, 8192),
            ("train", 1, 100_000),
            ("val", 1, 100_000),
            ("redundancy", 1, 1000),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"pack {name} must be from {low} to {high}, got {value}")
        if self.seed < 0:
            raise InputError(f"pack seed must be 0 or more, got {self.seed}")
        if not 1.0 <= self.width / self.height <= 4.0:
            raise InputError(
                f"pack width must be 1 to 4 times the height, got a size of "
                f"{self.height}x{self.width}"
            )

    @property
    def name(self) -> str:
        """The name of the folder that holds this pack."""
        return f"streets-v{GENERATOR_VERSION}-{self.height}x{self.width}-train{self.train}-val{self.val}-seed{self.seed}-redundancy{self.redundancy}"


@dataclass(frozen=True, slots=True)
class Frame:
    """One image of the pack with its annotation."""

    split: str
    city: str
    stem: str
    photo: np.ndarray
    recorded: list[Recorded]
    label_ids: np.ndarray


def generate(spec: PackSpec, split: str) -> Iterator[Frame]:
    """Yield the frames of one split, city by city."""
    count = spec.train if split == "train" else spec.val
    cities = CITIES[split]
    split_key = 0 if split == "train" else 1
    for index in range(count):
        city_key = index * len(cities) // count
        city = cities[city_key]
        in_city = index - -(-city_key * count // len(cities))
        sequence, frame = divmod(in_city, spec.redundancy)
        look = city_look(_rng(spec.seed, split_key, city_key), spec.width / spec.height)
        street = build_street(_rng(spec.seed, split_key, city_key, sequence, 0), look)
        moment = _rng(spec.seed, split_key, city_key, sequence, 1, frame)
        camera = Camera(spec.width / spec.height, float(moment.normal(0.0, 0.35)))
        paints = list(street.paints(camera, frame * STEP_AHEAD_M, moment))
        stem = f"{city}_{sequence:06d}_{frame * _FRAMES_APART + _FRAMES_APART:06d}"
        yield _develop(spec, split, city, stem, paints, look, moment)


def _develop(
    spec: PackSpec,
    split: str,
    city: str,
    stem: str,
    paints: list[Paint],
    look: CityLook,
    moment: np.random.Generator,
) -> Frame:
    flaws, light = moment.spawn(2)
    recorded = record(paints, spec.height, spec.width, flaws)
    return Frame(
        split=split,
        city=city,
        stem=stem,
        photo=photograph(paints, look, spec.height, spec.width, light),
        recorded=recorded,
        label_ids=paint_labels(
            ((item.label, item.polygon) for item in recorded), spec.height, spec.width
        ),
    )


def _rng(seed: int, *keys: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence([seed, *keys]))


def write_frame(root: Path, frame: Frame) -> None:
    """Write one frame's three files below ``root``."""
    images = root / "leftImg8bit" / frame.split / frame.city
    annotations = root / "gtFine" / frame.split / frame.city
    images.mkdir(parents=True, exist_ok=True)
    annotations.mkdir(parents=True, exist_ok=True)
    height, width = frame.label_ids.shape
    Image.fromarray(frame.photo).save(images / f"{frame.stem}_leftImg8bit.png", compress_level=3)
    Image.fromarray(frame.label_ids).save(
        annotations / f"{frame.stem}_gtFine_labelIds.png", compress_level=6
    )
    document = json.dumps(polygons_json(frame.recorded, height, width), indent=1)
    (annotations / f"{frame.stem}_gtFine_polygons.json").write_text(document, encoding="utf-8")


def make_pack(spec: PackSpec, out: Path) -> Path:
    """Write the whole pack into the new folder ``out``.

    Complete under its final name, or not there at all.

    Raises:
        InputError: ``out`` exists and is not an empty folder, or cannot be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(
            f"{out} exists and is not an empty folder; choose a new folder for the pack"
        )
    with draft_folder(out.parent, out.name) as draft:
        for split in CITIES:
            for frame in generate(spec, split):
                write_frame(draft, frame)
        document = {
            "pack": "streets",
            "version": GENERATOR_VERSION,
            **asdict(spec),
            "files": checksums(draft),
        }
        text = json.dumps(document, indent=1)
        (draft / "pack.json").write_text(f"{text}\n{checksum(text)}\n", encoding="utf-8")
        draft.chmod(0o755)
        os.replace(draft, out)
    return out
