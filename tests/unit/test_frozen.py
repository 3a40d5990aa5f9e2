"""Proxy boards: a given backbone that stays as it is, and features that are made once per image."""

import copy
import hashlib
import shutil

import numpy as np
import pytest
import torch

from harness import segmentor  # noqa: F401  (imports mmseg quietly)
from harness.blocks import CostModel
from harness.config import ExperimentSpec, config_path, load_spec
from harness.data.cityscapes import ClickOracle
from harness.data.labels import CLASS_NAMES, IGNORE
from harness.errors import InputError
from harness.loop import draw_seed_set
from harness.pool import LabelledPool
from harness.seeds import Purpose, sequence
from harness.segmentor import frozen
from harness.segmentor.fcn8s import VGG16, draw_weights
from harness.segmentor.frozen import FeatureCache, LabelledFeatures, backbone_features
from harness.segmentor.network import TrainedNetwork
from harness.segmentor.pretraining import GROUPS, group_table, grouped_pool, save_backbone
from harness.segmentor.trainer import SegmentorTrainer
from tests.specs import short_spec


def backbone(seed: int = 0) -> VGG16:
    made = VGG16(width=1 / 16, norm_cfg={"type": "BN"})
    draw_weights(made, seed)
    return made


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("backbone") / "backbone.pth"
    save_backbone(backbone(7), path, "a test")
    return path


@pytest.fixture(scope="module")
def trainer(weights, train_split, val_split):
    return SegmentorTrainer(recipe(weights), train_split=train_split, val_split=val_split)


def recipe(weights, **changes) -> ExperimentSpec:
    model = copy.deepcopy(short_spec().model)
    model["backbone"]["pretrained"] = str(weights)
    values = {
        "model": model,
        "cost_model": CostModel(steps=10),
        "steps": 10,
        "frozen_trunk": True,
        "pretrained_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
    }
    return short_spec(**{**values, **changes})


@pytest.fixture(scope="module")
def pool(train_split):
    pool = LabelledPool(train_split.index.sizes)
    pool.add(
        ClickOracle(train_split).annotate(
            [candidate.region for candidate in draw_seed_set(pool.sizes, 3, seed=0)], pool
        )
    )
    return pool


def test_only_the_head_learns_and_it_repeats(trainer, pool, weights):
    network = trainer.fit(pool, 0, 0, with_cost=True)
    given = torch.load(weights, weights_only=True)["state"]
    for name, value in network.model.backbone.state_dict().items():
        assert torch.equal(value, given[name].to(value.dtype)), name
    again = trainer.fit(pool, 0, 0, with_cost=True)
    assert all(
        torch.equal(value, again.model.state_dict()[name])
        for name, value in network.model.state_dict().items()
    )
    start = SegmentorTrainer(
        trainer._spec,
        train_split=trainer._train,
        val_split=trainer._val,
    ).assembly.build()
    draw_weights(start, 0)
    assert not torch.equal(start.decode_head.fc7.weight, network.model.decode_head.fc7.weight)


def test_cached_features_change_no_prediction(trainer, pool, train_split, monkeypatch):
    network = trainer.fit(pool, 0, 0, with_cost=True)
    image_id = list(train_split.files)[2]
    cached = next(iter(network.predict(image_id, 1).passes)).values
    assert torch.equal(cached, network.see(train_split.photo(image_id)).logits[0])
    network._last = None
    monkeypatch.setattr(network.model, "extract_feat", None)  # would fail if it were called
    assert torch.equal(next(iter(network.predict(image_id, 1).passes)).values, cached)


def test_the_cost_head_of_a_stock_network_learns_from_cached_features(
    weights, pool, train_split, val_split, monkeypatch
):
    model = copy.deepcopy(recipe(weights).model)
    head = {"type": "LightHead", "in_index": [0, 1, 2], "channels": 8, "num_classes": 19}
    model["decode_head"] = {**head, "norm_cfg": {"type": "BN"}, "dropout_ratio": 0.1}
    made = SegmentorTrainer(
        recipe(weights, model=model), train_split=train_split, val_split=val_split
    )
    assert not made.assembly.is_fcn8s
    network = made.fit(pool, 0, 0, with_cost=True)
    cells = made.labelled_cells(network, pool, 0, 0)
    without = TrainedNetwork.see
    monkeypatch.setattr(TrainedNetwork, "see", lambda self, photo, _key: without(self, photo))
    again = made.labelled_cells(network, pool, 0, 0)
    assert all(torch.equal(one, other) for one, other in zip(cells, again, strict=True))
    monkeypatch.undo()
    monkeypatch.setattr(network.model, "extract_feat", None)  # would fail if it were called
    assert torch.equal(made.labelled_cells(network, pool, 0, 0).features, cells.features)


def test_every_touched_image_is_shown_once_an_epoch_with_its_labels(trainer, pool, train_split):
    model = trainer.assembly.build()
    model.eval()
    data = LabelledFeatures(
        model,
        train_split,
        pool,
        FeatureCache(),
        length=9,
        key=sequence(0, 0, Purpose.CROPS),
        flip=True,
    )
    for epoch in range(3):
        assert sorted(data._order[3 * epoch : 3 * epoch + 3]) == [0, 1, 2]
    assert {bool(mirrored) for mirrored in data._mirrored} == {True, False}
    for index in range(9):
        image_id, mirrored = data._ids[data._order[index]], data._mirrored[index]
        labels = pool.labels(image_id)
        assert np.array_equal(
            data[index]["data_samples"].gt_sem_seg.data[0].numpy(),
            labels[:, ::-1] if mirrored else labels,
        )
        photo = train_split.photo(image_id)
        expected = backbone_features(model, photo[:, ::-1] if mirrored else photo)
        assert all(
            torch.equal(a, b) for a, b in zip(data[index]["features"], expected, strict=True)
        )


def test_a_cache_without_room_makes_features_again():
    made = []

    def make():
        made.append(1)
        return (torch.ones(10),)

    small, large = FeatureCache(most_bytes=39), FeatureCache(most_bytes=40)
    for cache in (small, large):
        for _ in range(2):
            cache.get("a", make)
    assert len(made) == 3


def test_features_on_disk_are_read_by_another_process_and_give_the_same_networks(
    trainer, pool, weights, train_split, val_split, tmp_path, monkeypatch
):
    def on_disk(most_bytes: int) -> SegmentorTrainer:
        return SegmentorTrainer(
            recipe(weights),
            train_split=train_split,
            val_split=val_split,
            feature_folder=tmp_path,
            feature_bytes=most_bytes,
        )

    plain = trainer.fit(pool, 0, 0, with_cost=False)
    writing = on_disk(1 << 30).fit(pool, 0, 0, with_cost=False)
    assert writing.evaluate() == plain.evaluate()
    monkeypatch.setattr(frozen, "backbone_features", None)  # would fail if it were called
    reading = on_disk(0).fit(pool, 0, 0, with_cost=False)
    monkeypatch.setattr(reading.model, "extract_feat", None)
    assert reading.evaluate() == plain.evaluate()
    for network in (writing, reading):
        assert all(
            torch.equal(value, network.model.state_dict()[name])
            for name, value in plain.model.state_dict().items()
        )


def test_features_of_other_weights_lie_apart(weights, pool, train_split, val_split, tmp_path):
    save_backbone(backbone(8), tmp_path / "other.pth", "other weights of the same backbone")
    for path in (weights, tmp_path / "other.pth"):
        SegmentorTrainer(
            recipe(path),
            train_split=train_split,
            val_split=val_split,
            feature_folder=tmp_path / "features",
            feature_bytes=1 << 30,
        ).fit(pool, 0, 0, with_cost=False)
    one, two = (list(folder.iterdir()) for folder in (tmp_path / "features").iterdir())
    assert {file.name for file in one} == {file.name for file in two}
    assert {file.read_bytes() for file in one}.isdisjoint(file.read_bytes() for file in two)


def test_a_frozen_backbone_needs_weights(weights, train_split, val_split):
    with pytest.raises(InputError, match="needs a backbone with given weights"):
        SegmentorTrainer(
            recipe(weights, pretrained_sha256=""),
            train_split=train_split,
            val_split=val_split,
        )


def test_weights_of_another_backbone_are_one_line(weights):
    with pytest.raises(InputError, match=r"of another backbone than this one, of width 0\.125"):
        VGG16(width=1 / 8, norm_cfg={"type": "BN"}, pretrained=str(weights)).load_pretrained()


def test_the_pretraining_task_has_all_classes_in_seven_groups(train_split):
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(CLASS_NAMES)
    table = group_table()
    assert set(table[:19]) == set(range(7))
    assert (table[19:] == IGNORE).all()
    pool = grouped_pool(train_split)
    image_id = next(iter(train_split.files))
    assert np.array_equal(pool.labels(image_id), table[train_split.train_ids(image_id)])


def test_the_file_of_weights_is_part_of_a_board_s_identity(tmp_path, weights):
    first, second = tmp_path / "one.pth", tmp_path / "two.pth"
    save_backbone(backbone(1), first, "one")
    save_backbone(backbone(2), second, "two")
    digests = set()
    for path in (first, second):
        file = tmp_path / f"{path.stem}.py"
        file.write_text(
            f'_base_ = ["{config_path("streets_standard")}"]\nmodel = dict(backbone=dict(pretrained="{path}"))\n'
        )
        digests.add(load_spec(file).digest())
    second.write_bytes(first.read_bytes())
    assert len(digests) == 2
    file = tmp_path / "gone.py"
    file.write_text(
        f'_base_ = ["{config_path("streets_standard")}"]\nmodel = dict(backbone=dict(pretrained="nowhere.pth"))\n'
    )
    with pytest.raises(
        InputError, match=r"model\.backbone\.pretrained must be .* got 'nowhere\.pth'"
    ):
        load_spec(file)


def test_weights_that_have_changed_since_the_board_began_are_refused(
    weights, pool, train_split, val_split, tmp_path
):
    shutil.copy(weights, tmp_path / "backbone.pth")
    made = SegmentorTrainer(
        recipe(tmp_path / "backbone.pth"),
        train_split=train_split,
        val_split=val_split,
    )
    save_backbone(backbone(8), tmp_path / "backbone.pth", "others")
    with pytest.raises(InputError, match="is not the file that this board began with"):
        made.fit(pool, 0, 0, with_cost=False)


def test_an_image_of_val_is_not_taken_for_one_of_train_with_the_same_id(
    trainer, pool, train_split, monkeypatch
):
    """As in data sets of masks, whose ids are file names."""
    network = trainer.fit(pool, 0, 0, with_cost=False)
    expected = network.evaluate()
    train_ids, val_ids = list(train_split.files), list(trainer._val.files)
    for image_id in train_ids:
        network.predict(image_id, 1)
    renamed = dict(zip(val_ids, train_ids, strict=False))
    val = trainer._val.only(val_ids)
    for name in ("photo", "train_ids", "vertices"):
        real = getattr(trainer._val, name)
        back = {new: old for old, new in renamed.items()}
        monkeypatch.setattr(val, name, lambda image_id, real=real, back=back: real(back[image_id]))
    val.files = {renamed[image_id]: files for image_id, files in val.files.items()}
    network._val, network._validated = val, None
    assert [areas[1:] for areas in network.evaluate()] == [areas[1:] for areas in expected]


def test_the_heads_batches_go_where_the_head_is(trainer):
    training = frozen.HeadTraining(trainer.assembly.build()).to(torch.device("meta"))
    data = training.data_preprocessor(
        {"features": [torch.ones(1, 2, 3, 4)], "data_samples": []}, training=True
    )
    assert data["features"][0].device.type == "meta"


def test_the_heads_step_is_what_the_segmentor_would_do(trainer, pool, train_split):
    model = trainer.assembly.build().eval()
    image_id = pool.touched_ids[0]
    features = backbone_features(model, train_split.photo(image_id))
    sample = frozen.sample_of(pool.labels(image_id))
    loss = frozen.HeadTraining(model).eval().forward(list(features), [sample])
    whole = model.decode_head.loss_by_feat(model.decode_head(features), [sample])
    assert all(torch.equal(loss[name], value) for name, value in whole.items())
