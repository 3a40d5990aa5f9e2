"""How pixels and clicks are spread over the classes of a split."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pandas as pd

from harness.data.cityscapes import Split
from harness.data.labels import CLASS_NAMES, find_label


def per_class(split: Split) -> pd.DataFrame:
    """Return one row per evaluated class and one for void: share of pixels, images, recorded clicks, clicks per 1000 px."""
    pixels, images, clicks = np.zeros(20, np.int64), np.zeros(20, np.int64), Counter[int]()
    void = len(CLASS_NAMES)
    for image_id, files in split.files.items():
        counts = np.bincount(np.minimum(split.train_ids(image_id), void).ravel(), minlength=20)
        pixels += counts
        images += counts > 0
        for item in json.loads(files.polygons.read_text(encoding="utf-8"))["objects"]:
            label = find_label(item["label"])
            clicks[label.train_id if label and label.train_id >= 0 else void] += len(item["polygon"])
    return pd.DataFrame(
        {
            "class": [*CLASS_NAMES, "void"],
            "share of pixels": np.round(pixels / pixels.sum(), 4),
            "images": images,
            "clicks": [clicks[row] for row in range(20)],
            "clicks per 1000 px": [round(1000 * clicks[row] / max(int(pixels[row]), 1), 1) for row in range(20)],
        }
    )
