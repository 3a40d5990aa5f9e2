import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.dataset import pseudo_collate

from harness import segmentor  # noqa: F401  (imports mmseg quietly)
from harness.blocks import CostModel
from harness.config import config_path, load_spec
from harness.data.cityscapes import ClickOracle
from harness.data.labels import IGNORE
from harness.errors import InputError, RunError
from harness.logits import upsample
from harness.loop import draw_seed_set
from harness.pool import LabelledPool
from harness.scoring import mean_iou
from harness.seeds import Purpose, sequence
from harness.segmentor.batches import Batches
from harness.segmentor.cost_head import cell_features
from harness.segmentor.crops import LabelledCrops, class_weights, sample_of
from harness.segmentor.fcn8s import VGG16, FCN8sHead, draw_weights, scaled
from harness.segmentor.trainer import SegmentorTrainer, recipe_digest
from harness.types import Region
from tests.specs import short_spec, training


def head(channels=(16, 32, 32), **options) -> FCN8sHead:
    made = FCN8sHead(channels, 64, num_classes=19, **options)
    draw_weights(made, 0)
    return made


# --------------------------------------------------------------------------------------------- the graph of arXiv 1411.4038


def test_vgg16_has_thirteen_convolutions_of_the_published_widths():
    backbone = VGG16()
    shapes = [
        tuple(p.shape) for name, p in backbone.named_parameters() if name.endswith("conv.weight")
    ]
    assert [shape[0] for shape in shapes] == [
        64,
        64,
        128,
        128,
        256,
        256,
        256,
        512,
        512,
        512,
        512,
        512,
        512,
    ]
    assert all(shape[2:] == (3, 3) for shape in shapes)


def test_strides_and_channels_under_a_width_multiplier():
    backbone = VGG16(width=1 / 16, norm_cfg={"type": "BN"})
    pools = backbone(torch.zeros(1, 3, 64, 96))
    assert [tuple(pool.shape[1:]) for pool in pools] == [(16, 8, 12), (32, 4, 6), (32, 2, 3)]
    assert scaled(4096, 1 / 16) == 256


def test_logits_lie_at_stride_8_for_any_size():
    backbone, classifier = VGG16(width=1 / 16), head()
    for height, width in ((64, 96), (50, 70)):
        logits = classifier(backbone(torch.zeros(2, 3, height, width)))
        assert logits.shape == (2, 19, -(-height // 8), -(-width // 8))


def test_the_receptive_field_is_404_px():
    """Walked over the built modules, in the order in which they run (FCN paper, table 1: 404 px)."""
    field, jump = 1, 1
    layers = [*VGG16(width=1 / 64).modules(), head().fc6, head().fc7]
    for layer in layers:
        if isinstance(layer, torch.nn.Conv2d | torch.nn.MaxPool2d):
            kernel, stride = (
                size[0] if isinstance(size, tuple) else size
                for size in (layer.kernel_size, layer.stride)
            )
            field, jump = field + (kernel - 1) * jump, jump * stride
    assert (field, jump) == (404, 32)


def test_the_skips_come_from_pool4_and_pool3():
    classifier = head().eval()
    pools = [torch.rand(1, 16, 8, 8), torch.rand(1, 32, 4, 4), torch.rand(1, 32, 2, 2)]
    base = classifier(pools)
    expected = classifier.score_pool3(pools[0])
    changed = classifier([torch.zeros_like(pools[0]), *pools[1:]])
    assert torch.allclose(
        base - changed, expected - classifier.score_pool3(torch.zeros_like(pools[0])), atol=1e-5
    )
    expected4 = upsample(
        classifier.score_pool4(pools[1]) - classifier.score_pool4(torch.zeros_like(pools[1])),
        (8, 8),
    )
    assert torch.allclose(
        base - classifier([pools[0], torch.zeros_like(pools[1]), pools[2]]), expected4, atol=1e-5
    )


def test_upsampling_equals_the_built_in():
    maps = torch.randn(2, 5, 7, 9)
    assert torch.allclose(
        upsample(maps, (31, 50)),
        F.interpolate(maps, size=(31, 50), mode="bilinear", align_corners=False),
        atol=1e-5,
    )
    assert upsample(maps, (7, 9)) is maps


def test_weights_depend_on_the_seed_alone():
    one, two, other = VGG16(width=1 / 16), VGG16(width=1 / 16), VGG16(width=1 / 16)
    draw_weights(one, 5)
    torch.rand(100)
    draw_weights(two, 5)
    draw_weights(other, 6)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(next(one.parameters()), next(other.parameters()))


def test_a_width_out_of_range_is_refused():
    with pytest.raises(InputError, match="more than 0"):
        VGG16(width=0)


def test_pretrained_weights_need_full_width_and_a_file(tmp_path):
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "vgg.pth")
    with pytest.raises(InputError, match="full width"):
        VGG16(width=0.5, pretrained=str(tmp_path / "vgg.pth")).load_pretrained()
    (tmp_path / "broken.pth").write_text("no weights")
    with pytest.raises(InputError, match="cannot be read as weights"):
        VGG16(pretrained=str(tmp_path / "broken.pth")).load_pretrained()
    with pytest.raises(InputError, match="no such file"):
        VGG16(pretrained=str(tmp_path / "x.pth")).load_pretrained()


def test_pretrained_weights_in_torchvision_layout_are_taken_over(tmp_path):
    source = VGG16()
    names = [index for index in range(31) if index not in {4, 9, 16, 23, 30}]  # poolings
    convolutions = names[::2]
    values = [value for _, value in source.state_dict().items()]
    state = {}
    for number, index in enumerate(convolutions):
        state[f"features.{index}.weight"], state[f"features.{index}.bias"] = (
            values[2 * number] + 1,
            values[2 * number + 1] + 1,
        )
    torch.save(state, tmp_path / "vgg16.pth")
    target = VGG16(pretrained=str(tmp_path / "vgg16.pth"))
    target.load_pretrained()
    assert torch.equal(next(target.parameters()), next(source.parameters()) + 1)


# ------------------------------------------------------------------------------------------------------------------ crops


@pytest.fixture
def pool(train_split) -> LabelledPool:
    pool = LabelledPool(train_split.index.sizes)
    oracle = ClickOracle(train_split)
    ids = list(train_split.files)
    pool.add(oracle.annotate([Region(ids[0], 0, 0, 64, 128), Region(ids[1], 16, 32, 16, 16)], pool))
    return pool


def crops_of(train_split, pool, length=40, **options) -> LabelledCrops:
    return LabelledCrops(
        train_split,
        pool,
        training(crop=(32, 32), **options),
        length=length,
        key=sequence(0, 1, Purpose.CROPS),
    )


def test_crops_show_what_was_bought_and_nothing_else(train_split):
    pool = LabelledPool(train_split.index.sizes)
    region = Region(list(train_split.files)[1], 16, 32, 16, 16)
    pool.add(ClickOracle(train_split).annotate([region], pool))
    bought = set(np.unique(train_split.train_ids(region.image_id)[region.slices]))
    crops = crops_of(train_split, pool, length=100)
    for index in range(100):
        item = crops[index]
        target = item["data_samples"].gt_sem_seg.data
        assert item["inputs"].shape == (3, 32, 32)
        assert target.shape == (1, 32, 32)
        assert int((target != IGNORE).sum()) <= 16 * 16
        assert set(np.unique(target)) <= bought | {IGNORE}
    with pytest.raises(IndexError):
        crops[100]


def test_crops_repeat_with_their_index(train_split, pool):
    one, two = crops_of(train_split, pool), crops_of(train_split, pool)
    _ = [two[index] for index in (5, 3)]
    assert torch.equal(one[3]["inputs"], two[3]["inputs"])
    assert not torch.equal(one[3]["inputs"], one[4]["inputs"])


def test_class_weights_are_inverse_roots_with_mean_one(train_split, pool):
    weights = np.array(class_weights(pool, 19))
    counts = np.zeros(256)
    for image_id in pool.touched_ids:
        counts += np.bincount(pool.labels(image_id).ravel(), minlength=256)
    seen = counts[:19] > 0
    assert (weights[~seen] == 0).all()
    assert weights[seen].mean() == pytest.approx(1.0)
    a, b = np.flatnonzero(seen)[:2]
    assert weights[a] / weights[b] == pytest.approx(np.sqrt(counts[b] / counts[a]))


# -------------------------------------------------------------------------------------------------------------- training


@pytest.fixture(scope="module")
def trainer(train_split, val_split) -> SegmentorTrainer:
    return SegmentorTrainer(short_spec(), train_split=train_split, val_split=val_split)


@pytest.fixture(scope="module")
def seed_pool(train_split) -> LabelledPool:
    pool = LabelledPool(train_split.index.sizes)
    query = draw_seed_set(pool.sizes, 2, seed=0)
    pool.add(ClickOracle(train_split).annotate([candidate.region for candidate in query], pool))
    return pool


@pytest.fixture(scope="module")
def network(trainer, seed_pool):
    return trainer.fit(seed_pool, 0, 0, with_cost=True)


def weights_of(network) -> dict[str, torch.Tensor]:
    return network._model.state_dict()


def test_training_repeats_and_differs_by_seed(trainer, seed_pool, network):
    again = trainer.fit(seed_pool, 0, 0, with_cost=False)
    assert all(
        torch.equal(value, weights_of(again)[name]) for name, value in weights_of(network).items()
    )
    other = trainer.fit(seed_pool, 1, 0, with_cost=False)
    assert not all(
        torch.equal(value, weights_of(other)[name]) for name, value in weights_of(network).items()
    )


def test_training_leaves_no_open_file_and_no_named_instance(trainer, seed_pool, network):
    import os

    from mmengine.logging import MessageHub

    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("needs /proc")
    before = len(os.listdir("/proc/self/fd"))
    hubs = len(MessageHub._instance_dict)
    trainer.fit(seed_pool, 0, 1, with_cost=False)
    assert len(os.listdir("/proc/self/fd")) <= before
    assert len(MessageHub._instance_dict) <= hubs


def test_longer_training_learns(train_split, val_split, seed_pool, network):
    longer = SegmentorTrainer(short_spec(steps=150), train_split=train_split, val_split=val_split)
    assert (
        mean_iou(longer.fit(seed_pool, 0, 0, with_cost=False).evaluate())
        > mean_iou(network.evaluate()) + 0.02
    )


def test_bfloat16_steps_learn_too_and_leave_float32_weights(
    train_split, val_split, seed_pool, network
):
    def trained(steps: int):
        made = SegmentorTrainer(
            short_spec(steps=steps, precision="bfloat16"),
            train_split=train_split,
            val_split=val_split,
        )
        return made.fit(seed_pool, 0, 0, with_cost=True)

    short, again = trained(12), trained(12)
    weights = weights_of(short)
    assert all(torch.equal(value, weights_of(again)[name]) for name, value in weights.items())
    assert {value.dtype for value in weights.values()} <= {torch.float32, torch.int64}
    assert not all(torch.equal(value, weights_of(network)[name]) for name, value in weights.items())
    prediction = short.predict(next(iter(train_split.files)), 1)
    assert next(iter(prediction.passes)).values.dtype == torch.float32
    assert prediction.cost_map.dtype == torch.float32
    assert mean_iou(trained(150).evaluate()) > mean_iou(network.evaluate()) + 0.02


def test_bfloat16_takes_the_loss_in_float32():
    made = head()
    inputs = [
        torch.rand(1, channels, 8 >> level, 8 >> level)
        for level, channels in enumerate((16, 32, 32))
    ]
    sample = sample_of(np.arange(64 * 64, dtype=np.uint8).reshape(64, 64) % 19)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = made(inputs)
        loss = made.loss_by_feat(logits, [sample])["loss_ce"]
    assert logits.dtype == torch.bfloat16
    assert loss.dtype == torch.float32
    assert torch.equal(loss, made.loss_by_feat(logits.float(), [sample])["loss_ce"])


def test_another_precision_needs_the_plain_optimizer_wrapper(train_split, val_split):
    given = short_spec(
        precision="bfloat16",
        optim_wrapper={"type": "AmpOptimWrapper", "optimizer": {"type": "AdamW"}},
    )
    with pytest.raises(
        InputError,
        match=r"optim_wrapper\.type must be OptimWrapper .* bfloat16, got .AmpOptimWrapper",
    ):
        SegmentorTrainer(given, train_split=train_split, val_split=val_split)


def test_batches_drawn_ahead_are_those_that_are_drawn_when_asked_for(train_split, seed_pool):
    def drawn(ahead: int) -> list[torch.Tensor]:
        crops = LabelledCrops(
            train_split,
            seed_pool,
            training(crop=(32, 32)),
            length=10,
            key=sequence(0, 0, Purpose.CROPS),
        )
        return [
            torch.stack(batch["inputs"])
            for batch in Batches(crops, batch_size=4, collate_fn=pseudo_collate, ahead=ahead)
        ]

    assert [len(batch) for batch in drawn(2)] == [4, 4, 2]
    assert all(torch.equal(*pair) for pair in zip(drawn(0), drawn(2), strict=True))
    assert all(torch.equal(*pair) for pair in zip(drawn(0), drawn(7), strict=True))


def test_what_goes_wrong_while_a_batch_is_drawn_ahead_is_raised_where_it_is_used():
    class Damaged(torch.utils.data.Dataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            if index == 1:
                raise RunError("image 1 cannot be read")
            return index

    batches = iter(Batches(Damaged(), batch_size=1, ahead=2))
    assert next(batches) == 0
    with pytest.raises(RunError, match="image 1"):
        next(batches)


def test_the_length_grows_with_the_labels():
    grown = training(steps=10, steps_per_image=5, max_steps=40)
    assert [grown.steps_for(px, 100.0) for px in (0, 200, 10_000)] == [10, 20, 40]


def test_saving_and_loading_changes_nothing(trainer, network, train_split, tmp_path):
    network.save(tmp_path / "weights.pt")
    loaded = trainer.load(tmp_path / "weights.pt", 0, 0)
    image_id = list(train_split.files)[3]
    for n_passes in (1, 3):
        ours, theirs = network.predict(image_id, n_passes), loaded.predict(image_id, n_passes)
        assert all(
            torch.equal(a.values, b.values) for a, b in zip(ours.passes, theirs.passes, strict=True)
        )
        assert torch.equal(ours.cost_map, theirs.cost_map)
    assert loaded.evaluate() == network.evaluate()
    assert loaded.cost_quality() == network.cost_quality()


def test_no_vertex_outside_the_labelled_regions_moves_a_weight(train_split, val_split, monkeypatch):
    """Neither by the target, nor by the mass that a Gaussian loses at the mask, nor by a count."""
    made = SegmentorTrainer(
        short_spec(steps=2, cost_model=CostModel(steps=20)),
        train_split=train_split,
        val_split=val_split,
    )
    ids = list(train_split.files)
    regions = [Region(ids[0], 8, 16, 40, 64), Region(ids[1], 16, 32, 16, 16)]

    def trained() -> dict[str, torch.Tensor]:
        pool = LabelledPool(train_split.index.sizes)
        pool.add(ClickOracle(train_split).annotate(regions, pool))
        return made.fit(pool, 0, 0, with_cost=True)._cost_head.state_dict()

    before, real = trained(), type(train_split).vertices
    rng = np.random.default_rng(0)
    crowd = np.stack([rng.integers(0, 128, 500), rng.integers(0, 64, 500)], axis=1).astype(np.int32)

    def crowded(self, image_id):
        hidden = np.ones(len(crowd), bool)
        for region in regions:
            if region.image_id == image_id:
                inside = [
                    (region.left <= x < region.left + region.width)
                    and (region.top <= y < region.top + region.height)
                    for x, y in crowd
                ]
                hidden &= ~np.array(inside)
        return np.concatenate([real(self, image_id), crowd[hidden]])

    monkeypatch.setattr(type(train_split), "vertices", crowded)
    after = trained()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_features_of_a_labelled_part_are_those_of_the_whole_image(val_split, tmp_path):
    """The backbone runs on the labelled pixels and a receptive field around them: to the last bits what the whole image gives."""
    from harness.data.cityscapes import Split
    from harness.data.streets.pack import PackSpec, make_pack

    wide = Split(
        make_pack(PackSpec(height=256, width=1024, train=1, val=1, seed=3), tmp_path / "wide"),
        "train",
        tmp_path / "cache",
    )
    made = SegmentorTrainer(short_spec(steps=2), train_split=wide, val_split=val_split)
    image_id, region = next(iter(wide.files)), Region(next(iter(wide.files)), 16, 472, 32, 40)
    pool = LabelledPool(wide.index.sizes)
    pool.add(ClickOracle(wide).annotate([region], pool))
    network = made.fit(pool, 0, 0, with_cost=False)
    cells = made.labelled_cells(network, pool, 0, 0)
    seen = network.see(wide.photo(image_id))
    whole = cell_features(seen.features, seen.logits, seen.size)[2:6, 59:64].flatten(0, 1)
    assert cells.features.shape == whole.shape
    # the same sums in another order of tiles: float32 rounding
    assert torch.allclose(cells.features, whole, atol=1e-4)
    assert torch.equal(cells.exposure, torch.ones(20))


def test_a_prediction_is_a_distribution_over_classes(network, train_split):
    image_id = next(iter(train_split.files))
    prediction = network.predict(image_id, 1)
    (logits,) = prediction.passes
    probabilities = logits.probabilities()
    assert probabilities.shape == (19, 64, 128)
    assert torch.allclose(probabilities.sum(0), torch.ones(64, 128), atol=1e-5)
    assert prediction.cost_map.shape == (64, 128)
    assert float(prediction.cost_map.min()) > 0


def test_what_a_strategy_does_to_its_view_is_seen_by_no_other(network, train_split):
    image_id = next(iter(train_split.files))

    def seen():
        view = network.predict(image_id, 3)
        members = [member.values for member in view.passes]
        return [view.logits.values, *view.features, *members]

    before = [values.clone() for values in seen()]
    for values in seen():
        values.numpy()[...] = 0.0
    for values in network.predict(image_id, 1).passes:
        values.values.zero_()
    assert all(torch.equal(a, b) for a, b in zip(before, seen(), strict=True))


def test_committee_members_differ_and_repeat(network, train_split):
    image_id = next(iter(train_split.files))
    first, again = (list(network.predict(image_id, 5).passes) for _ in range(2))
    assert len(first) == 5
    assert not torch.equal(first[0].values, first[1].values)
    assert all(torch.equal(a.values, b.values) for a, b in zip(first, again, strict=True))


def test_a_committee_does_not_depend_on_the_order_of_images(network, train_split):
    ids = list(train_split.files)
    alone = list(network.predict(ids[2], 3).passes)
    for image_id in reversed(ids):
        last = list(network.predict(image_id, 3).passes)
        if image_id == ids[2]:
            assert all(torch.equal(a.values, b.values) for a, b in zip(alone, last, strict=True))


def test_a_committee_without_dropout_refuses_to_score(network, train_split, monkeypatch):
    decode_head = network._model.decode_head
    monkeypatch.setattr(decode_head.drop6, "p", 0.0)
    monkeypatch.setattr(decode_head.drop7, "p", 0.0)
    image_id = list(train_split.files)[1]
    with pytest.raises(RunError, match=f"{image_id}.*identical"):
        list(network.predict(image_id, 4).passes)


def test_a_committee_that_finds_no_memory_is_halved_to_the_same_members(
    network, train_split, monkeypatch, capsys
):
    """The masks are drawn before, so the same members come out, one after the other."""
    image_id = list(train_split.files)[4]
    whole = list(network.predict(image_id, 5).passes)
    network.predict(list(train_split.files)[5], 1)
    real = type(network._model.decode_head).committee

    def poor(self, state, masks):
        assert sys.exc_info()[1] is None  # a traceback would keep alive what found no room
        if len(masks.fc6) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, state, masks)

    monkeypatch.setattr(type(network._model.decode_head), "committee", poor)
    halved = list(network.predict(image_id, 5).passes)
    # a batch of one is another order of float32 sums than a batch of four
    assert all(
        torch.allclose(a.values, b.values, atol=1e-5) for a, b in zip(whole, halved, strict=True)
    )
    assert (
        "out of memory with 4 committee members at once; going on with 2" in capsys.readouterr().err
    )


def test_the_committee_equals_the_plain_pass_when_nothing_drops(network, train_split):
    seen = network.see(train_split.photo(next(iter(train_split.files))))
    decode_head = network._model.decode_head
    rates = decode_head.drop6.p, decode_head.drop7.p
    decode_head.drop6.p = decode_head.drop7.p = 0.0
    logits = decode_head.committee(
        seen.state, decode_head.masks(seen.state, 1, torch.Generator().manual_seed(0))
    )
    decode_head.drop6.p, decode_head.drop7.p = rates
    assert torch.allclose(logits, seen.logits, atol=1e-5)


def test_a_nan_in_training_stops_the_run(train_split, val_split, seed_pool):
    explosive = {"type": "OptimWrapper", "optimizer": {"type": "SGD", "lr": 1e30}}
    broken = SegmentorTrainer(
        short_spec(optim_wrapper=explosive, param_scheduler=[]),
        train_split=train_split,
        val_split=val_split,
    )
    with pytest.raises(RunError, match="NaN or infinite"):
        broken.fit(seed_pool, 0, 0, with_cost=False)


def test_a_model_that_cannot_be_built_is_bad_input(train_split, val_split):
    model = {
        **load_spec(config_path("streets_standard")).model,
        "backbone": {"type": "VGG16", "widht": 1},
    }
    with pytest.raises(InputError, match="cannot be built"):
        SegmentorTrainer(
            short_spec(model=model),
            train_split=train_split,
            val_split=val_split,
        )


def test_an_optimizer_or_schedule_that_cannot_be_built_is_bad_input(train_split, val_split):
    splits = {"train_split": train_split, "val_split": val_split}
    with pytest.raises(InputError, match="optim_wrapper cannot be built"):
        SegmentorTrainer(
            short_spec(
                optim_wrapper={"type": "OptimWrapper", "optimizer": {"type": "AdamX", "lr": 1}}
            ),
            **splits,
        )
    with pytest.raises(InputError, match="must not accumulate gradients"):
        SegmentorTrainer(
            short_spec(
                optim_wrapper={
                    "type": "OptimWrapper",
                    "accumulative_counts": 2,
                    "optimizer": {"type": "AdamW", "lr": 1},
                }
            ),
            **splits,
        )
    with pytest.raises(InputError, match=r"param_scheduler must be .* got 'OnCycle'"):
        SegmentorTrainer(short_spec(param_scheduler=[{"type": "OnCycle"}]), **splits)


def test_other_norms_start_at_one():
    backbone = VGG16(width=1 / 16, norm_cfg={"type": "GN", "num_groups": 2})
    draw_weights(backbone, 0)
    assert float(backbone(torch.rand(1, 3, 64, 64))[2].detach().abs().sum()) > 0


def test_the_digest_of_a_training_sees_every_part():
    digests = [
        recipe_digest(spec)
        for spec in (
            short_spec(),
            short_spec(),
            short_spec(steps=13),
            short_spec(cost_model=CostModel(steps=21)),
            short_spec(class_weights=False),
            short_spec(precision="bfloat16"),
            short_spec(sampler="cover"),
        )
    ]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 6
