"""Where a board's data comes from.

The embedded pack, made once per user, or a folder that the user names.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

from filelock import FileLock

from harness.blocks import CityscapesData, MasksData, OtherData, PolygonsData, StreetsData
from harness.data.cityscapes import Split
from harness.data.files import shown
from harness.data.index import Problem, describe_values, other_palette
from harness.data.manifest import is_whole, read_manifest, wrong_names
from harness.data.masks import MaskSplit
from harness.data.polygons import PolygonSplit
from harness.data.streets.pack import PackSpec, make_pack
from harness.errors import InputError, one_line, shorten
from harness.files import cache_folder

Data = StreetsData | CityscapesData | MasksData | PolygonsData | OtherData

Opener = Callable[..., tuple[Split, Split]]
"""(cache folder, options of the data block) -> training and validation split."""

ENTRY_POINT_GROUP = "harness.datasets"
_REGISTERED: dict[str, Opener] = {}


def register_dataset(name: str) -> Callable[[Opener], Opener]:
    """Register what opens the data sets of a type: ``opener(cache, **options)``.

    It returns two splits, mostly of a class derived from ``harness.data.masks.MaskSplit`` or
    ``Split``. Packages register theirs as entry points of the group ``harness.datasets``, a module
    of your own through ``custom_imports``.

    Raises:
        InputError: a type that is there already.
    """

    def keep(opener: Opener) -> Opener:
        known = _REGISTERED.get(name)
        if known is not None and known.__module__ != opener.__module__:
            raise InputError(f"the data type {name!r} is registered already")
        _REGISTERED[name] = opener
        return opener

    return keep


def _opener(name: str) -> Opener:
    points = {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
    if name not in _REGISTERED and name in points:
        try:
            _REGISTERED[name] = points[name].load()
        except Exception as error:
            said = one_line(f"{type(error).__name__}: {error}")
            raise InputError(f"the data type {name!r} cannot be loaded ({said})") from error
    if name not in _REGISTERED:
        known = sorted({"streets", "cityscapes", "masks", "polygons", *_REGISTERED, *points})
        raise InputError(f"data.type must be one of {', '.join(known)}, got {shorten(name)}")
    return _REGISTERED[name]


def check_type(data: Data) -> None:
    """Refuse a type of data that nobody has registered.

    Raises:
        InputError: with those that there are.
    """
    if isinstance(data, OtherData):
        _opener(data.type)


def _open_other(data: OtherData, cache: Path) -> tuple[Split, Split]:
    opener = _opener(data.type)
    try:
        made = opener(cache, **data.options)
    except InputError:
        raise
    except Exception as error:
        said = one_line(f"{type(error).__name__}: {error}")
        raise InputError(f"the data type {data.type!r} cannot be opened ({said})") from error
    pair = isinstance(made, tuple) and len(made) == 2
    if not pair or not all(isinstance(part, Split) for part in made):
        raise InputError(f"the data type {data.type!r} must give two splits, got {shorten(made)}")
    train, val = (tuple(part.class_names) for part in made)
    if train != val:
        raise InputError(
            f"the data type {data.type!r} must give two splits of the same classes in the same "
            f"order, got {shorten(train)} in train and {shorten(val)} in val"
        )
    return made


def pack_spec(data: StreetsData) -> PackSpec:
    """Return the pack that a config asks for."""
    return PackSpec(data.height, data.width, data.train, data.val, data.seed, data.redundancy)


def data_root(data: Data) -> Path:
    """Return the folder of a board's data.

    The embedded pack is made in the user's cache folder, once, under a lock.
    """
    if isinstance(data, OtherData):
        return Path()
    if not isinstance(data, StreetsData):
        return Path(data.root or "")
    spec = pack_spec(data)
    packs = cache_folder() / "packs"
    packs.mkdir(parents=True, exist_ok=True)
    root = packs / spec.name
    with FileLock(packs / f"{spec.name}.lock"):
        if root.exists() and not _has_all_names(root):
            _put_away(root, "a file is missing, or it is of an older version of this program")
        if not root.exists():
            make_pack(spec, root)
    return root


def _has_all_names(root: Path) -> bool:
    manifest = read_manifest(root)
    if manifest is None:
        return False
    return not any(wrong_names(root, split, manifest) for split in ("train", "val"))


def _put_away(root: Path, why: str) -> None:
    """Give a damaged embedded pack another name, so that it is made again.

    Nothing of it is lost.
    """
    aside = next(
        path
        for path in (
            root.with_name(f"{root.name}.damaged-{number}") for number in itertools.count(1)
        )
        if not path.exists()
    )
    root.rename(aside)
    print(
        f"harness: {root}: is damaged ({why}); it is made again, the old one is now {aside.name}",
        file=sys.stderr,
    )


def find_splits(data: Data) -> tuple[Split, Split]:
    """Find the files of the training and the validation split; nothing is read yet.

    Raises:
        InputError: a folder is missing or holds no image.
    """
    root, cache = data_root(data), cache_folder()
    if not str(root).isprintable():
        raise InputError(f"data root {shown(root)}: its name must be printable")
    if isinstance(data, OtherData):
        return _open_other(data, cache)
    if isinstance(data, StreetsData):
        names = "train", "val"
    else:
        names = data.train_split, data.val_split

    def opened(name: str) -> Split:
        if isinstance(data, MasksData):
            return MaskSplit(root, name, cache, data)
        if isinstance(data, PolygonsData):
            return PolygonSplit(root, name, cache, data)
        split = Split(root, name, cache, visible_only=data.visible_only)
        if isinstance(data, CityscapesData):
            split.max_void_share = data.max_void_share
        return split

    return opened(names[0]), opened(names[1])


def open_splits(data: Data) -> tuple[Split, Split]:
    """Return the training and the validation split, checked: every file is read, once per change.

    Raises:
        InputError: data that is missing, incomplete, or cannot be what the config says it is.
    """
    train, val = find_splits(data)
    try:
        for split in (train, val):
            _ = split.index  # reads and checks every file, or finds that it was done
    except InputError as error:
        if not isinstance(data, StreetsData) or is_whole(train.root):
            raise
        with FileLock(train.root.with_name(f"{train.root.name}.lock")):
            _put_away(train.root, str(error))
        train, val = find_splits(data)
    problems = [*same_files(train, val), *check_classes(train, val), *same_palettes(train, val)]
    if problems:
        more = f" (and {len(problems) - 1} more; harness data check lists them)"
        raise InputError(f"{problems[0]}{more if len(problems) > 1 else ''}")
    return train, val


def same_files(train: Split, val: Split) -> list[Problem]:
    """Return whether training and validation images are the same files."""
    places = {files.photo.resolve() for files in train.files.values()}
    shared = [files.photo for files in val.files.values() if files.photo.resolve() in places]
    if not shared:
        return []
    return [
        f"data root {train.root}: train and val must not share an image, got {len(shared)} in "
        f"both, such as {shared[0]}"
    ]


def same_palettes(train: Split, val: Split) -> list[Problem]:
    """Return whether palettes of training and validation label images contradict each other."""
    return other_palette(train.index.palette, val.index.palette)


def check_classes(train: Split, val: Split) -> list[Problem]:
    """Return which declared classes no label image holds; where classes are declared by a config.

    Choice: a class that only one split holds is a remark: rare classes do that.
    """
    if not isinstance(train, MaskSplit | PolygonSplit):
        return []
    held = [sum(pair) for pair in zip(train.index.class_px, val.index.class_px, strict=True)]
    absent = [name for name, count in zip(train.class_names, held, strict=True) if not count]
    if not absent:
        return []
    value_px = dict(train.index.value_px)
    for value, count in val.index.value_px.items():
        value_px[value] = value_px.get(value, 0) + count
    names = ", ".join(repr(name) for name in absent)
    return [
        f"data root {train.root}: each class of data.classes must be in some label image, but none "
        f"holds {names}; {describe_values(train, value_px)}"
    ]


def remarks(train: Split, val: Split) -> list[str]:
    """Return what a person should know about data that can be read: a line each."""
    lines = [*train.passed_over, *val.passed_over]
    for split in (train, val):
        index = split.index
        lines += index.notes
        if index.unknown_labels and isinstance(split, PolygonSplit):
            named = ", ".join(
                f"{shorten(name, 40)} ({count})" for name, count in index.unknown_labels.items()
            )
            lines.append(f"{split.name}: shapes of no class are void: {one_line(named, 300)}")
        absent = [
            name for name, count in zip(split.class_names, index.class_px, strict=True) if not count
        ]
        if absent:
            lines.append(f"{split.name} holds no pixel of the class {', '.join(absent)}")
        void = index.void_px / index.total_px
        if void > _MUCH_VOID:
            lines.append(f"{split.name}: {100 * void:.1f} % of the pixels are void")
    photos = {digest: key for key, digest in train.index.digests.items()}
    twice = [(photos[digest], key) for key, digest in val.index.digests.items() if digest in photos]
    if twice:
        lines.append(
            f"{len(twice)} photographs are in train and in val, such as {twice[0][0]} and "
            f"{twice[0][1]}: results on val are too good"
        )
    return lines


_MUCH_VOID = 0.25
"""Choice: more void than that is worth a line; Cityscapes has a tenth."""
