"""Transforms of MMSegmentation on what is labelled."""

import dataclasses
import random

import numpy as np
import pytest
import torch
from mmseg.registry import TRANSFORMS

from harness import segmentor  # noqa: F401  (imports mmseg quietly)
from harness.config import config_path, load_spec
from harness.data.cityscapes import ClickOracle
from harness.data.labels import IGNORE
from harness.errors import InputError, RunError
from harness.pool import LabelledPool
from harness.seeds import Purpose, sequence
from harness.segmentor.pipeline import LabelledPipeline, build_pipeline, transformed
from harness.segmentor.trainer import SegmentorTrainer
from harness.types import Region
from tests.specs import short_spec

STOCK = [
    {"type": "LoadImageFromFile"},
    {"type": "LoadAnnotations"},
    {"type": "RandomResize", "scale": (128, 64), "ratio_range": (0.5, 2.0), "keep_ratio": True},
    {"type": "RandomCrop", "crop_size": (64, 64), "cat_max_ratio": 0.9},
    {"type": "RandomFlip", "prob": 0.5},
    {"type": "PhotoMetricDistortion"},
    {"type": "PackSegInputs"},
]
NOTHING = [{"type": "RandomFlip", "prob": 0.0}]


@pytest.fixture
def pool(train_split) -> LabelledPool:
    pool = LabelledPool(train_split.index.sizes)
    ids = list(train_split.files)
    regions = [Region(ids[0], 0, 0, 64, 128), Region(ids[1], 16, 32, 16, 16)]
    pool.add(ClickOracle(train_split).annotate(regions, pool))
    return pool


def shown(train_split, pool, transforms, length=60) -> LabelledPipeline:
    key = sequence(0, 1, Purpose.CROPS)
    pipeline = build_pipeline(transforms)
    return LabelledPipeline(train_split, pool, pipeline, length=length, key=key)


def test_what_is_shown_depends_on_the_index_and_other_streams_go_on_undisturbed(train_split, pool):
    one, two = shown(train_split, pool, STOCK), shown(train_split, pool, STOCK)
    np.random.seed(3)
    random.seed(3)
    expected = np.random.default_rng(0), np.random.random(), random.random()
    np.random.seed(3)
    random.seed(3)
    _ = [two[index] for index in (9, 4)]
    assert (np.random.random(), random.random()) == expected[1:]
    assert torch.equal(one[4]["inputs"], two[4]["inputs"])
    assert len({one[index]["inputs"].float().mean().item() for index in range(20)}) > 15
    with pytest.raises(IndexError):
        one[60]


def test_nothing_that_was_not_bought_is_shown_and_images_come_by_their_labelled_pixels(
    train_split, pool
):
    data = shown(train_split, pool, STOCK, length=300)
    bought = {int(label) for i in pool.touched_ids for label in np.unique(pool.labels(i))}
    for index in range(40):
        assert set(np.unique(data[index]["data_samples"].gt_sem_seg.data)) <= bought | {IGNORE}
    plain = shown(train_split, pool, NOTHING, length=400)
    part = np.mean(
        [int((plain[i]["data_samples"].gt_sem_seg.data != IGNORE).sum()) <= 256 for i in range(400)]
    )
    assert part == pytest.approx(256 / (256 + 64 * 128), abs=0.03)


def test_colours_and_labels_come_through_as_they_are(train_split, pool):
    image_id = pool.touched_ids[0]
    photo, labels = train_split.photo(image_id), pool.labels(image_id)
    rng = np.random.default_rng(0)
    made = transformed(build_pipeline(NOTHING), photo, labels, rng)
    assert np.array_equal(made["inputs"].numpy().transpose(1, 2, 0), photo)
    assert np.array_equal(made["data_samples"].gt_sem_seg.data[0].numpy(), labels)


def test_a_training_through_transforms_repeats_bit_for_bit(train_split, val_split, pool):
    spec = short_spec(sampler="pipeline", train_pipeline=STOCK, steps=8)
    made = SegmentorTrainer(spec, train_split=train_split, val_split=val_split)
    made.check([1])
    first, second = (made.fit(pool, 0, 1, with_cost=True) for _ in range(2))
    for ours, theirs in zip(
        first.model.state_dict().values(), second.model.state_dict().values(), strict=True
    ):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("transforms", "said"),
    [
        ([{"type": "NoTransform"}], "train_pipeline: 'NoTransform' .number 0. cannot be built"),
        ([{"type": "RandomCrop"}], "train_pipeline: 'RandomCrop' .* cannot be built"),
        (NOTHING, "at most training.crop, 64x64 px, got 64x128"),
        ([{"type": "Resize", "scale": "wide"}], "train_pipeline"),
    ],
)
def test_transforms_that_cannot_work_are_refused_before_any_work(
    train_split, val_split, transforms, said
):
    with pytest.raises(InputError, match=said):
        SegmentorTrainer(
            short_spec(sampler="pipeline", train_pipeline=transforms),
            train_split=train_split,
            val_split=val_split,
        ).check([1])


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ((640, 128), "at most training.crop, 64x128 px, got 640x128"),
        ((32, 256), "at most training.crop, 64x128 px, got 32x256"),
        ((8, 128), "cannot be run on an image of 8x128 px: .*too low"),
    ],
)
def test_transforms_are_tried_on_the_lowest_and_widest_images_too(
    train_split, val_split, size, said
):
    split = train_split.only(list(train_split.files)[:2])
    sizes = dict(zip(split.files, ((64, 128), size), strict=True))
    split.index = dataclasses.replace(split.index, sizes=sizes)
    spec = short_spec(sampler="pipeline", crop=(64, 128), train_pipeline=[{"type": "NeedsHeight"}])
    with pytest.raises(InputError, match=said):
        SegmentorTrainer(spec, train_split=split, val_split=val_split).check([1])


@TRANSFORMS.register_module()
class NeedsHeight:
    """A transform that low images are too low for."""

    def __call__(self, results):
        if results["img_shape"][0] < 16:
            raise ValueError("too low")
        return results


def test_transforms_that_lose_the_labels_fail(train_split, pool):
    image_id = pool.touched_ids[0]

    def no_labels(results):
        return {"inputs": torch.zeros(3, 4, 4)}

    with pytest.raises(RunError, match="an image and its labels"):
        transformed(
            no_labels, train_split.photo(image_id), pool.labels(image_id), np.random.default_rng(0)
        )
    with pytest.raises(RunError, match="gave nothing"):
        transformed(
            lambda _: None,
            train_split.photo(image_id),
            pool.labels(image_id),
            np.random.default_rng(0),
        )


def test_a_config_uses_its_pipeline_only_where_it_says_so(tmp_path, capsys):
    base = f'_base_ = ["{config_path("streets_standard")}"]\n'
    pipeline = 'train_pipeline = [dict(type="RandomFlip", prob=0.5)]\n'
    plain, asked, without, frozen = (tmp_path / f"{name}.py" for name in "abcd")
    plain.write_text(base + pipeline)
    asked.write_text(base + pipeline + 'training = dict(sampler="pipeline")\n')
    without.write_text(base + 'training = dict(sampler="pipeline")\n')
    frozen.write_text(base + pipeline + 'training = dict(sampler="pipeline", frozen_trunk=True)\n')
    assert load_spec(plain).train_pipeline == []
    assert (
        "not used, train_pipeline (training.sampler='pipeline' uses it)" in capsys.readouterr().err
    )
    spec = load_spec(asked)
    assert spec.train_pipeline
    other = spec.model_copy(update={"train_pipeline": [{"type": "RandomFlip", "prob": 0.1}]})
    assert other.digest() != spec.digest()
    with pytest.raises(InputError, match="train_pipeline must list transforms"):
        load_spec(without)
    with pytest.raises(InputError, match=r"training\.frozen_trunk must be False"):
        load_spec(frozen)
