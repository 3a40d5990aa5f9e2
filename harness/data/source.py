"""Where a board's data comes from: the embedded pack, made once per user, or a folder that the user names."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock

from harness.blocks import CityscapesData, MasksData, StreetsData
from harness.data.cityscapes import Split
from harness.data.masks import MaskLayout, MaskSplit
from harness.data.streets.pack import PackSpec, make_pack
from harness.files import cache_folder


def pack_spec(data: StreetsData) -> PackSpec:
    """Return the pack that a config asks for."""
    return PackSpec(data.height, data.width, data.train, data.val, data.seed, data.redundancy)


def data_root(data: StreetsData | CityscapesData | MasksData) -> Path:
    """Return the folder of a board's data; the embedded pack is made in the user's cache folder, once, under a lock."""
    if not isinstance(data, StreetsData):
        return Path(data.root or "")
    spec = pack_spec(data)
    packs = cache_folder() / "packs"
    packs.mkdir(parents=True, exist_ok=True)
    with FileLock(packs / f"{spec.name}.lock"):
        if not (packs / spec.name / "pack.json").is_file():
            make_pack(spec, packs / spec.name)
    return packs / spec.name


def open_splits(data: StreetsData | CityscapesData | MasksData) -> tuple[Split, Split]:
    """Return the training and the validation split.

    Raises:
        InputError: data that is missing or incomplete.
    """
    root, cache = data_root(data), cache_folder()
    if isinstance(data, MasksData):
        layout = MaskLayout(data.images, data.labels, data.classes, data.tolerance_px)
        return MaskSplit(root, data.train_split, cache, layout), MaskSplit(
            root, data.val_split, cache, layout
        )
    train, val = (
        (data.train_split, data.val_split) if isinstance(data, CityscapesData) else ("train", "val")
    )
    return Split(root, train, cache, visible_only=data.visible_only), Split(
        root, val, cache, visible_only=data.visible_only
    )
