"""How pixels and clicks are spread over a split, as a table and as pictures."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from harness.clicks import vertices_inside
from harness.data.annotations import RecordedObject
from harness.data.cityscapes import Split
from harness.data.labels import CLASS_NAMES, find_label
from harness.files import replacing
from harness.types import Clicks, Region

_VOID = len(CLASS_NAMES)


def _class_of(item: RecordedObject) -> int:
    label = find_label(item.label)
    return label.train_id if label is not None and label.train_id >= 0 else _VOID


def per_class(split: Split) -> pd.DataFrame:
    """Return one row per evaluated class and one for void: share of pixels, images, recorded clicks, clicks per 1000 px."""
    pixels, images, clicks = (
        np.zeros(_VOID + 1, np.int64),
        np.zeros(_VOID + 1, np.int64),
        Counter[int](),
    )
    for image_id in split.files:
        counts = np.bincount(
            np.minimum(split.train_ids(image_id), _VOID).ravel(), minlength=_VOID + 1
        )
        pixels += counts
        images += counts > 0
        recording = split.recording(image_id)
        for item in recording.objects if recording else ():
            clicks[_class_of(item)] += len(item.vertices)
    return pd.DataFrame(
        {
            "class": [*CLASS_NAMES, "void"],
            "share of pixels": np.round(pixels / pixels.sum(), 4),
            "images": images,
            "clicks": [clicks[row] for row in range(_VOID + 1)],
            "clicks per 1000 px": [
                round(1000 * clicks[row] / max(int(pixels[row]), 1), 1) for row in range(_VOID + 1)
            ],
        }
    )


def draw_clicks(split: Split, path: Path) -> None:
    """Draw clicks per class, clicks per image, and clicks against the area of each object."""
    table = per_class(split)
    areas, counts = [], []
    for image_id in split.files:
        recording = split.recording(image_id)
        for item in recording.objects if recording else ():
            x, y = item.vertices[:, 0], item.vertices[:, 1]
            areas.append(0.5 * abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))))
            counts.append(len(item.vertices))
    figure = Figure(figsize=(14, 4.5), layout="constrained")
    classes, images, objects = figure.subplots(1, 3)
    classes.barh(table["class"], table["clicks"], color="#4a7ab5")
    classes.invert_yaxis()
    classes.set_xlabel("recorded clicks")
    images.hist(
        [len(split.vertices(image_id)) for image_id in split.files], bins=30, color="#4a7ab5"
    )
    images.set_xlabel("recorded clicks of an image")
    images.set_ylabel("images")
    objects.loglog(np.maximum(areas, 1.0), counts, ".", markersize=3, alpha=0.4, color="#4a7ab5")
    objects.set_xlabel("area of an object's polygon, px")
    objects.set_ylabel("its clicks")
    for axes in (classes, images, objects):
        axes.spines[["top", "right"]].set_visible(False)
    with replacing(path) as draft:
        figure.savefig(draft, format="png", dpi=110)


def draw_receipt(split: Split, region: Region, clicks: Clicks, path: Path) -> None:
    """Draw one region on its photograph: recorded vertices, those that are billed, and where labels cross the border."""
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
        f"{region.image_id}: rows {region.top}-{region.top + region.height - 1}, columns {region.left}-{region.left + region.width - 1}",
        fontsize=10,
    )
    figure.legend(loc="outside lower center", ncols=4, fontsize=9, frameon=False)
    with replacing(path) as draft:
        figure.savefig(draft, format="png", dpi=110)


def _crossings(labels: np.ndarray, region: Region) -> np.ndarray:
    """Return the (n, 2) points (x, y) on the region's sides where the label changes; sides on the frame have none."""
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
