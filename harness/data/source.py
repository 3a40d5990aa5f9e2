"""Where a board's data comes from: the embedded pack, made once per user, or a folder that the user names."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock

from harness.config import CityscapesData, StreetsData
from harness.data.cityscapes import Split
from harness.data.streets.pack import PackSpec, make_pack
from harness.files import cache_folder


def pack_spec(data: StreetsData) -> PackSpec:
    """Return the pack that a config asks for."""
    return PackSpec(data.height, data.width, data.train, data.val, data.seed, data.redundancy)


def data_root(data: StreetsData | CityscapesData) -> Path:
    """Return the folder of a board's data; the embedded pack is made in the user's cache folder, once, under a lock."""
    if isinstance(data, CityscapesData):
        return Path(data.root or "")
    spec = pack_spec(data)
    packs = cache_folder() / "packs"
    packs.mkdir(parents=True, exist_ok=True)
    with FileLock(packs / f"{spec.name}.lock"):
        if not (packs / spec.name / "pack.json").is_file():
            make_pack(spec, packs / spec.name)
    return packs / spec.name


def open_splits(data: StreetsData | CityscapesData) -> tuple[Split, Split]:
    """Return the training and the validation split.

    Raises:
        InputError: data that is missing or incomplete.
    """
    root, cache = data_root(data), cache_folder() / "indices"
    names = (data.train_split, data.val_split) if isinstance(data, CityscapesData) else ("train", "val")
    return Split(root, names[0], cache), Split(root, names[1], cache)
