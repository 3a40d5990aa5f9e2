"""Whatever can change a number is in the key of what is kept: found by flipping everything."""

import importlib
import inspect
import typing
from dataclasses import fields, replace

import pytest
from pydantic import BaseModel

from harness import identity
from harness.config import COMPUTED, ExperimentSpec, load_spec
from harness.maps import QueryRules
from harness.segmentor.trainer import recipe_digest
from tests.edges.conftest import masks_config
from tests.specs import short_spec, training

NO_RESULT_CHANGES = {
    "device": "stands beside the digest in a run's identity",
    "seconds_per_click": "a column of the table, computed when it is published",
    "remark": "a text",
    "vis_backends": "what is shown, not what is run",
    "tune": "what is searched, not what is run",
    "tuned": "a text beside the table",
    "harness.seeds": "stands beside the digest in a run's identity",
    "data.root": "where the data lie; the fingerprint says what they are",
    "data.max_void_share": "only refuses; the fingerprint says what was read",
    "data.void": "only refuses; the fingerprint says what was read",
}


def other_values(value, annotation):
    """Yield values of the same kind that are not this one."""
    yield from (item for item in literals(annotation) if item != value)
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from (value + 1, value - 1, value + 2)
    elif isinstance(value, float):
        yield from (value * 0.5 + 0.01, value + 0.5)
    elif isinstance(value, str):
        yield value + "x"
    elif value == ():
        yield (0.5,)
    elif isinstance(value, tuple):
        yield tuple(next(other_values(item, None)) for item in value)
    elif isinstance(value, list):
        yield [*value, {"type": "LinearLR"}]
    elif isinstance(value, dict):
        yield (
            {**value, "another": 1}
            if value and isinstance(next(iter(value)), str)
            else {**value, 9: "more"}
        )
    elif value is None:
        yield from ("split.txt", (9,), 1)


def literals(annotation):
    if typing.get_origin(annotation) is typing.Literal:
        return typing.get_args(annotation)
    return [item for part in typing.get_args(annotation) for item in literals(part)]


def leaves(model: BaseModel, prefix=""):
    """List every field of a config: dotted key, value, annotation."""
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        key = f"{prefix}{name}"
        if isinstance(value, BaseModel) and key not in NO_RESULT_CHANGES:
            yield from leaves(value, f"{key}.")
        else:
            yield key, value, field.annotation


def changed(spec: ExperimentSpec, key: str, value) -> ExperimentSpec:
    """Return a config with one value changed; whether it is allowed is not asked."""
    first, _, rest = key.partition(".")
    if not rest:
        return spec.model_copy(update={first: value})
    block = getattr(spec, first)
    return spec.model_copy(update={first: block.model_copy(update={rest: value})})


@pytest.mark.parametrize("config", ["streets", "cityscapes", "masks"])
def test_every_key_of_a_config_counts_or_is_known_to_change_nothing(tmp_path, monkeypatch, config):
    monkeypatch.setenv("CITYSCAPES_DATASET", str(tmp_path))
    spec = load_spec(masks_config(tmp_path) if config == "masks" else config_named(config))
    seen = 0
    for key, value, annotation in leaves(spec):
        if key == "data.type":
            continue  # decides which other keys there are
        others = [changed(spec, key, new) for new in other_values(value, annotation)]
        assert others or key in NO_RESULT_CHANGES, f"{key} cannot be flipped by this test"
        for other in others:
            if key in NO_RESULT_CHANGES:
                assert other.digest() == spec.digest(), key
            else:
                assert other.digest() != spec.digest(), f"{key} is in no identity"
        seen += 1
    assert seen > 40


def config_named(name):
    from harness.config import config_path

    return config_path(name)


OF_A_TRAINING = {
    *("model", "optim_wrapper", "param_scheduler", "training", "cost_model", "custom_hooks"),
    *(*COMPUTED, "train_pipeline"),
}


def test_what_a_training_depends_on_is_in_its_identity_and_nothing_else():
    spec = short_spec()
    seen = 0
    for key, value, annotation in leaves(spec):
        if key.startswith("data.") or key in {"custom_imports", "harness.seeds"}:
            continue
        for new in other_values(value, annotation):
            same = recipe_digest(changed(spec, key, new)) == recipe_digest(spec)
            assert same == (key.partition(".")[0] not in OF_A_TRAINING), key
        seen += 1
    assert seen > 35


def test_augmentation_strengths_are_options_and_todays_are_the_defaults(tmp_path):
    spec = load_spec(config_named("streets_standard"))
    assert (spec.training.brightness, spec.training.tint, spec.training.shift) == (0.3, 0.15, 20.0)
    own = training()
    assert (own.brightness, own.tint, own.shift) == (0.3, 0.15, 20.0)


def test_other_query_rules_are_another_key():
    rules = QueryRules(8)
    assert (
        len({str(rules), *(str(replace(rules, **{field.name: 3})) for field in fields(rules))}) == 5
    )


# ------------------------------------------------------------------------------ constants of the code

MODULES = [
    "harness.regions", "harness.maps", "harness.votes", "harness.logits", "harness.cells", "harness.clicks",
    "harness.scoring", "harness.seeds", "harness.pool", "harness.loop", "harness.acquisition",
    "harness.data.labels", "harness.data.annotations", "harness.data.annotators",
    "harness.segmentor.assembly", "harness.segmentor.committee", "harness.segmentor.efficientnet",
    "harness.segmentor.batches", "harness.segmentor.checkpoint", "harness.segmentor.checks",
    "harness.segmentor.cost_head",
    "harness.segmentor.coverage", "harness.segmentor.crops", "harness.segmentor.fcn8s",
    "harness.segmentor.feature_files", "harness.segmentor.frozen", "harness.segmentor.network",
    "harness.segmentor.runner", "harness.segmentor.trainer",
    "strategies.measures", "strategies.fusion", "strategies.baselines",
]  # fmt: skip
"""What a training, an acquisition or an evaluation reads."""

HARMLESS = {
    "harness.data.annotations.FARTHEST_PX": "only refuses files",
    "harness.regions._BLOCK_COLUMNS": "the shape of work in memory; picks are compared with brute force",
    "harness.regions._BLOCK_VALUES": "the shape of work in memory",
    "harness.maps._HEADER": "the form of a file that is made again",
    "harness.maps._CHECKSUM": "the form of a file that is made again",
    "harness.maps._START": "the form of a file that is made again",
    "harness.maps._MAGIC": "the form of a file that is made again",
    "harness.votes._CHUNK_CELLS": "the shape of work in memory",
    "harness.logits._STRIP_VALUES": "the shape of work in memory",
    "harness.logits._STRIP_VALUES_GPU": "the shape of work in memory",
    "harness.cells._CHUNK_VALUES": "the shape of work in memory",
    "harness.cells._CHUNK_VALUES_GPU": "the shape of work in memory",
    "harness.pool._REMEMBERED_BYTES": "a bound of memory",
    "harness.pool._UNLABELLED": "harness.data.labels.IGNORE, which counts",
    "harness.data.labels.NO_TRAIN_ID": "part of LABELS",
    "harness.data.labels.HIGHEST_LABEL_ID": "part of LABELS",
    "harness.data.labels.BY_NAME": "part of LABELS",
    "harness.data.labels.CLASS_NAMES": "part of LABELS",
    "harness.data.labels.NUM_CLASSES": "part of LABELS",
    "harness.data.annotators._REMEMBERED_IMAGES": "a bound of memory",
    "harness.segmentor.batches.AHEAD": "batches are numbered",
    "harness.segmentor.checkpoint._MAGIC": "the form of a file that is made again",
    "harness.segmentor.checkpoint._PLAIN": "the form of a file that is made again",
    "harness.segmentor.checkpoint.EVERY_S": "resuming gives the same bits",
    "harness.segmentor.feature_files.FEATURE_SUFFIX": "the name of a file that is made again",
    "harness.segmentor.feature_files._HEADER_BYTES": "the form of a file that is made again",
    "harness.segmentor.feature_files._CHECKSUM_BYTES": "the form of a file that is made again",
    "harness.segmentor.feature_files._ALIGNED_BYTES": "the form of a file that is made again",
    "harness.segmentor.frozen.MOST_FEATURE_BYTES": "a bound of memory",
    "harness.segmentor.runner._UNUSED_HOOKS": "nothing of a step",
    "harness.segmentor.runner._NAMES": "names of runners",
    "harness.segmentor.runner._CHECK_EVERY": "when a loss is looked at",
    "harness.segmentor.runner._STRETCHES": "points of a curve that is shown",
    "harness.segmentor.assembly._HEADS": "names of blocks",
    "harness.segmentor.assembly._PROBED_PX": "channels do not depend on the size",
    "harness.segmentor.assembly._CLASS_LAYERS": "what a file of weights may lack",
    "harness.segmentor.committee._DROPOUT": "what torch calls dropout",
    "harness.segmentor.committee._SEEDS": "all seeds that there are",
    "harness.segmentor.efficientnet.WEIGHTS_SHA256": "other weights are refused",
    "harness.segmentor.trainer._CROPS": "names of options",
    "harness.segmentor.network._MOST_MEMBER_BYTES": "a bound of memory",
    "harness.segmentor.trainer._PRETRAINED": "a name",
    "harness.segmentor.trainer._WHOLE": "all of an image",
    "harness.segmentor.trainer._CHECKED_MEMBERS": "of the check at the start",
    "harness.segmentor.checks.PROBED_PX": "of the check at the start",
    "harness.segmentor.checks._CHECKED_STEPS": "of the check at the start",
    "harness.segmentor.checks._PROBED_STRIDE_PX": "of the check at the start",
}


def constants():
    import re

    for module in MODULES:
        loaded = importlib.import_module(module)
        source = inspect.getsource(loaded)
        for name in re.findall(r"^(_?[A-Z][A-Z0-9_]+)\b[^=\n]*=[^=]", source, re.MULTILINE):
            yield f"{module}.{name}"


def test_every_constant_counts_or_is_known_to_change_nothing():
    found = set(constants())
    assert len(found) > 30
    unknown = found - set(identity.PUBLISHED) - set(HARMLESS)
    assert not unknown, f"say in harness/identity.py or here whether they change results: {unknown}"
    assert not set(HARMLESS) & set(identity.PUBLISHED)
    assert set(HARMLESS) <= found


@pytest.mark.parametrize("name", identity.PUBLISHED)
def test_a_changed_constant_is_another_board_and_another_training(monkeypatch, name):
    spec = load_spec(config_named("streets"))
    before = spec.digest(), recipe_digest(short_spec())
    module, _, constant = name.rpartition(".")
    loaded = importlib.import_module(module)
    value = getattr(loaded, constant)
    monkeypatch.setattr(loaded, constant, value + 1 if isinstance(value, int) else (1, 2))
    after = spec.digest(), recipe_digest(short_spec())
    assert before[0] != after[0]
    assert before[1] != after[1]


def test_today_no_constant_differs_from_the_published_ones():
    assert identity.changed_constants() == {}


# -------------------------------------------------------------------------------------------- weights


def test_weights_anywhere_in_a_model_are_part_of_the_identity(tmp_path):
    weights = tmp_path / "own.pth"
    weights.write_bytes(b"one")
    extra = (
        f"model['backbone'] = dict(init_cfg=dict(type='Pretrained', checkpoint={str(weights)!r}))"
    )
    file = masks_config(tmp_path, extra=extra)
    before = load_spec(file)
    assert list(before.weights_sha256) == ["model.backbone.init_cfg.checkpoint"]
    weights.write_bytes(b"two")
    assert load_spec(file).digest() != before.digest()


@pytest.mark.parametrize(
    "named", ["missing.pth", "torchvision://resnet50", "https://example.org/x.pth", 5, ["a"], True]
)
def test_weights_that_cannot_be_read_here_are_one_line(tmp_path, named):
    from harness.errors import InputError

    extra = f"model['backbone'] = dict(init_cfg=dict(type='Pretrained', checkpoint={named!r}))"
    with pytest.raises(InputError, match=r"init_cfg\.checkpoint") as caught:
        load_spec(masks_config(tmp_path, extra=extra))
    assert "\n" not in str(caught.value)
