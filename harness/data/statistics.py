"""How pixels and clicks are spread over a split, as a table and as pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from harness.clicks import count_all_windows, vertices_inside
from harness.data.annotations import RecordedObject
from harness.data.cityscapes import Split
from harness.data.labels import IGNORE, find_label
from harness.drawing import save
from harness.types import Clicks, Region


def _object_class(item: RecordedObject, split: Split) -> int:
    label = find_label(item.label)
    return label.train_id if label is not None and label.train_id >= 0 else len(split.class_names)


def _clicks_by_class(split: Split, image_id: str, labels: npt.NDArray[np.uint8]) -> Counter[int]:
    """Count clicks of each class, void last.

    Of recorded objects, or of labels under simulated ones.
    """
    void, counts = len(split.class_names), Counter[int]()
    recording = split.recording(image_id)
    if recording is not None:
        for item in recording.objects:
            counts[_object_class(item, split)] += len(item.vertices)
        return counts
    vertices = split.vertices(image_id)
    counts.update(np.minimum(labels[vertices[:, 1], vertices[:, 0]], void).tolist())
    return counts


def per_class(split: Split) -> pd.DataFrame:
    """Return one row per class of the data set and one for void.

    Columns: share of pixels, images, clicks (simulated ones are called so), clicks per 1000 px.
    """
    void = len(split.class_names)
    pixels, images = np.zeros(void + 1, np.int64), np.zeros(void + 1, np.int64)
    clicks = Counter[int]()
    for image_id in split.files:
        labels = np.minimum(split.train_ids(image_id), void)
        counts = np.bincount(labels.ravel(), minlength=void + 1)
        pixels += counts
        images += counts > 0
        clicks += _clicks_by_class(split, image_id, labels)
    name = "simulated clicks" if split.simulated_clicks else "clicks"
    return pd.DataFrame(
        {
            "class": [*split.class_names, "void"],
            "share of pixels": np.round(pixels / max(int(pixels.sum()), 1), 4),
            "images": images,
            name: [clicks[row] for row in range(void + 1)],
            f"{name} per 1000 px": [
                round(1000 * clicks[row] / max(int(pixels[row]), 1), 1) for row in range(void + 1)
            ],
        }
    )


def per_value(split: Split) -> pd.DataFrame:
    """Return one row per stored label value: its class, its pixels and their share."""
    index = split.index
    rows = sorted(index.value_px.items(), key=lambda row: -row[1])
    classes = [split.class_of_value(value) for value, _ in rows]
    return pd.DataFrame(
        {
            "value": [split.name_of_value(value) for value, _ in rows],
            "class": ["void" if c is None else split.class_names[c] for c in classes],
            "pixels": [count for _, count in rows],
            "share of pixels": [round(count / index.total_px, 4) for _, count in rows],
        }
    )


def per_window(split: Split, sides: Sequence[int]) -> pd.DataFrame:
    """Return what windows cost: one row per side in pixels, over all placements in all images.

    Columns: the mean of each kind of clicks and of their bill c_p + c_i + c_b, the bill's median
    and 90 % point, and the bill per pixel against that of whole images: what the cut itself costs.

    Raises:
        ValueError: a window that does not fit into an image.
    """
    totals = split.index.totals
    rows = []
    for side in sides:
        kinds, bills = np.zeros(4), Counter[int]()
        for image_id in split.files:
            vertices, labels = split.vertices(image_id), split.label_ids(image_id)
            maps = count_all_windows(vertices, labels, (side, side))
            kinds += [int(counts.sum()) for counts in maps]
            bills.update((maps.polygon + maps.intersection + maps.box).ravel().tolist())
        windows = bills.total()
        values = np.array(sorted(bills))
        below = np.cumsum([bills[value] for value in values.tolist()]) / windows
        polygon, intersection, box, classes = kinds / windows
        bill = polygon + intersection + box
        whole = totals.polygon / split.index.total_px * side**2
        rows.append(
            {
                "side": side,
                "windows": windows,
                "c_p": round(polygon, 1),
                "c_i": round(intersection, 1),
                "c_b": round(box, 1),
                "c_c": round(classes, 1),
                "bill": round(bill, 1),
                "median": int(values[np.searchsorted(below, 0.5)]),
                "90 %": int(values[np.searchsorted(below, 0.9)]),
                "against whole images": round(bill / whole, 2) if whole else float("nan"),
            }
        )
    return pd.DataFrame(rows)


def draw_clicks(split: Split, path: Path) -> None:
    """Draw clicks per class, clicks per image, and clicks against the area of each object."""
    table = per_class(split)
    clicks = table.columns[3]
    areas, counts = [], []
    for image_id in split.files:
        recording = split.recording(image_id)
        for item in recording.objects if recording else ():
            x, y = item.vertices[:, 0], item.vertices[:, 1]
            areas.append(0.5 * abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))))
            counts.append(len(item.vertices))
    figure = Figure(figsize=(14, 4.5), layout="constrained")
    classes, images, objects = figure.subplots(1, 3)
    classes.barh(table["class"], table[clicks], color="#4a7ab5")
    classes.invert_yaxis()
    classes.set_xlabel(clicks)
    images.hist(
        [len(split.vertices(image_id)) for image_id in split.files], bins=30, color="#4a7ab5"
    )
    images.set_xlabel(f"{clicks} of an image")
    images.set_ylabel("images")
    objects.loglog(np.maximum(areas, 1.0), counts, ".", markersize=3, alpha=0.4, color="#4a7ab5")
    objects.set_xlabel("area of an object's polygon, px")
    objects.set_ylabel("its clicks")
    for axes in (classes, images, objects):
        axes.spines[["top", "right"]].set_visible(False)
    save(figure, path)


_SHEET_IMAGES = 6
_SHEET_WIDTH_PX = 640
_COLOURS = mpl.colormaps["tab20"].colors  # type: ignore[attr-defined]


def draw_sheet(splits: Sequence[Split], path: Path) -> None:
    """Draw a contact sheet: images of each split, their labels over them, and their clicks.

    One look tells whether classes and orientation are right. Void is black. Images are spread
    evenly over the order of their ids, the first and the last among them; large ones are made
    smaller.
    """
    chosen = [(split, image_id) for split in splits for image_id in _spread(list(split.files))]
    figure = Figure(figsize=(15, 3.1 * len(chosen) + 1.2), layout="constrained")
    grid = figure.subplots(len(chosen), 3, squeeze=False)
    for row, (split, image_id) in zip(grid, chosen, strict=True):
        photo, labels = split.photo(image_id), split.train_ids(image_id)
        step = -(-photo.shape[1] // _SHEET_WIDTH_PX)
        photo, labels = photo[::step, ::step], labels[::step, ::step]
        vertices = split.vertices(image_id) / step
        painted = _painted(labels)
        row[0].imshow(photo)
        row[1].imshow((0.4 * photo + 0.6 * painted).astype(np.uint8))
        row[2].imshow(painted, alpha=0.55)
        row[2].plot(vertices[:, 0], vertices[:, 1], ".", color="black", markersize=3)
        kind = "simulated" if split.simulated_clicks else "recorded"
        for axes, said in zip(
            row,
            (f"{split.name}: {image_id}", "labels", f"{len(vertices)} {kind} clicks"),
            strict=True,
        ):
            axes.set_axis_off()
            axes.set_title(said, fontsize=9)
    handles = [
        Patch(color=_COLOURS[number % len(_COLOURS)], label=name)
        for number, name in enumerate(splits[0].class_names)
    ]
    figure.legend(
        handles=[*handles, Patch(color="black", label="void")],
        loc="outside upper center",
        ncols=8,
        fontsize=9,
        frameon=False,
    )
    save(figure, path, dpi=80)


def _spread(image_ids: list[str]) -> list[str]:
    places = np.linspace(0, len(image_ids) - 1, min(len(image_ids), _SHEET_IMAGES // 2))
    return [image_ids[int(place)] for place in places.round()]


def _painted(labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return (H, W, 3) colours of class numbers; void is black."""
    table = np.zeros((256, 3), np.uint8)
    table[:IGNORE] = np.resize(np.array(_COLOURS) * 255, (IGNORE, 3))
    return table[labels]


def draw_receipt(split: Split, region: Region, clicks: Clicks, path: Path) -> None:
    """Draw one region on its photograph.

    Recorded vertices, those that are billed, and where labels cross the border.
    """
    photo, labels = split.photo(region.image_id), split.label_ids(region.image_id)
    vertices = split.vertices(region.image_id)
    billed = vertices_inside(vertices, region)
    figure = Figure(figsize=(12, 5.4), layout="constrained")
    axes = figure.subplots()
    axes.imshow(photo)
    axes.plot(
        vertices[:, 0],
        vertices[:, 1],
        "o",
        color="white",
        markersize=2.6,
        markeredgecolor="0.3",
        markeredgewidth=0.4,
        label="recorded vertices",
    )
    axes.plot(
        billed[:, 0],
        billed[:, 1],
        "o",
        color="#ff8c1a",
        markersize=4,
        markeredgecolor="black",
        markeredgewidth=0.4,
        label=f"billed: c_p = {clicks.polygon}",
    )
    crossings = _crossings(labels, region)
    axes.plot(
        crossings[:, 0],
        crossings[:, 1],
        "x",
        color="#ff2fd6",
        markersize=6,
        markeredgewidth=1.5,
        label=f"labels change on the border: c_i = {clicks.intersection}",
    )
    axes.add_patch(
        Rectangle(
            (region.left - 0.5, region.top - 0.5),
            region.width,
            region.height,
            fill=False,
            edgecolor="yellow",
            linewidth=1.6,
            label=f"region: c_b = {clicks.box}, c_c = {clicks.classes} components",
        )
    )
    axes.set_axis_off()
    axes.set_title(
        f"{region.image_id}: rows {region.top}-{region.top + region.height - 1}, columns "
        f"{region.left}-{region.left + region.width - 1}",
        fontsize=10,
    )
    figure.legend(loc="outside lower center", ncols=4, fontsize=9, frameon=False)
    save(figure, path)


def _crossings(labels: np.ndarray, region: Region) -> np.ndarray:
    """Return the (n, 2) points (x, y) on the region's sides where the label changes.

    Sides on the frame have none.
    """
    bottom, right = region.top + region.height - 1, region.left + region.width - 1
    points = [np.empty((0, 2))]
    for row, counts in ((region.top, region.top > 0), (bottom, bottom < labels.shape[0] - 1)):
        if counts:
            at = (
                np.flatnonzero(np.diff(labels[row, region.left : right + 1].astype(int)))
                + region.left
                + 0.5
            )
            points.append(np.stack([at, np.full(len(at), float(row))], axis=1))
    for column, counts in ((region.left, region.left > 0), (right, right < labels.shape[1] - 1)):
        if counts:
            at = (
                np.flatnonzero(np.diff(labels[region.top : bottom + 1, column].astype(int)))
                + region.top
                + 0.5
            )
            points.append(np.stack([np.full(len(at), float(column)), at], axis=1))
    return np.concatenate(points)
