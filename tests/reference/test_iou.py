"""Our IoU against two independent evaluators."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from harness import segmentor  # noqa: F401  (imports mmseg quietly)
from harness.data.labels import CLASS_NAMES, IGNORE, NUM_CLASSES, train_id_table
from harness.scoring import class_areas, iou, mean_iou

DATA = Path(__file__).parent.parent / "data" / "evaluator"


def pairs():
    for truth in sorted(DATA.glob("*_gtFine_labelIds.png")):
        predicted = truth.with_name(truth.name.replace("gtFine_labelIds", "pred"))
        yield (
            truth.stem,
            train_id_table()[np.asarray(Image.open(predicted))],
            train_id_table()[np.asarray(Image.open(truth))],
        )


@pytest.fixture(scope="module")
def areas():
    return [
        class_areas(name, predicted, truth, NUM_CLASSES, IGNORE)
        for name, predicted, truth in pairs()
    ]


def test_against_the_official_evaluator(areas):
    """scores.json holds what cityscapesScripts printed for these very files, in an environment of its own."""
    official = json.loads((DATA / "scores.json").read_text())
    ours = dict(zip(CLASS_NAMES, iou(areas), strict=True))
    for name, score in official["classScores"].items():
        assert ours[name] == pytest.approx(score, abs=1e-12)
    assert {name for name, score in ours.items() if not math.isnan(score)} == set(
        official["classScores"]
    )
    assert mean_iou(areas) == pytest.approx(official["averageScoreClasses"], abs=1e-12)


def test_against_mmseg(areas):
    from mmseg.evaluation.metrics import IoUMetric

    results = [
        IoUMetric.intersect_and_union(
            torch.from_numpy(p.astype(np.int64)),
            torch.from_numpy(t.astype(np.int64)),
            NUM_CLASSES,
            IGNORE,
        )
        for _, p, t in pairs()
    ]
    intersection, union, predicted, label = (
        torch.stack(column).sum(0).numpy() for column in zip(*results, strict=True)
    )
    ours = np.array([(item.intersection, item.prediction, item.label) for item in areas]).sum(
        axis=0
    )
    assert np.array_equal(ours[0], intersection)
    assert np.array_equal(ours[1], predicted)
    assert np.array_equal(ours[2], label)
    metrics = IoUMetric.total_area_to_metrics(
        *(torch.from_numpy(column) for column in (intersection, union, predicted, label)), ["mIoU"]
    )
    assert np.allclose(metrics["IoU"], iou(areas), equal_nan=True)
