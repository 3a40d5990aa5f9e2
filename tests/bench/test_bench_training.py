"""A training step by part, and against mmseg's stock pipeline: same network, same batch, same loss on the same images."""

import copy

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.optim import build_optim_wrapper
from PIL import Image

from harness import segmentor  # noqa: F401
from harness.config import config_path, load_spec
from harness.data.cityscapes import ClickOracle, Split
from harness.data.streets.pack import PackSpec, make_pack
from harness.experiment import build_trainer
from harness.loop import draw_seed_set
from harness.pool import LabelledPool
from harness.seeds import Purpose, sequence
from harness.segmentor import fcn8s
from harness.segmentor.crops import LabelledCrops
from tests.bench.training import width as resized
from tests.specs import training

STEPS = 20
HEIGHT, WIDTH = 128, 256


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    root = make_pack(
        PackSpec(height=HEIGHT, width=WIDTH, train=16, val=2, seed=3),
        tmp_path_factory.mktemp("bench") / "pack",
    )
    cache = tmp_path_factory.mktemp("bench-cache")
    return Split(root, "train", cache), Split(root, "val", cache)


@pytest.fixture(scope="module")
def pool(splits):
    pool = LabelledPool(splits[0].index.sizes)
    pool.add(
        ClickOracle(splits[0]).annotate(
            [candidate.region for candidate in draw_seed_set(pool.sizes, 12, 0)], pool
        )
    )
    return pool


@pytest.fixture
def model(splits):
    made = build_trainer(load_spec(config_path("streets_standard")), *splits).assembly.build()
    fcn8s.draw_weights(made, 0)
    return made.to(memory_format=torch.channels_last).train()


class Stock(torch.utils.data.Dataset):
    """mmseg's own transforms: decode, random crop, flip, photometric distortion, pack; every step from PNG files."""

    def __init__(self, split, pool):
        from mmcv.transforms import Compose
        from mmseg.registry import TRANSFORMS

        steps = [
            {"type": "LoadImageFromFile"},
            {"type": "LoadAnnotations"},
            {"type": "RandomCrop", "crop_size": (128, 128), "cat_max_ratio": 1.0},
            {"type": "RandomFlip", "prob": 0.5},
            {"type": "PhotoMetricDistortion"},
            {"type": "PackSegInputs"},
        ]
        self._pipeline = Compose([TRANSFORMS.build(step) for step in steps])
        self._files = [
            (split.files[image_id].photo, split.files[image_id].label_ids)
            for image_id in pool.touched_ids
        ]

    def __getitem__(self, index):
        photo, labels = self._files[index % len(self._files)]
        return self._pipeline(
            {
                "img_path": str(photo),
                "seg_map_path": str(labels),
                "reduce_zero_label": False,
                "seg_fields": [],
            }
        )


def train_steps(model, batches, loss, *, bfloat16: bool = False) -> None:
    optimizer = build_optim_wrapper(
        model, copy.deepcopy(load_spec(config_path("streets_standard")).optim_wrapper)
    )
    for batch in batches:
        data = model.data_preprocessor(batch, True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
            total = sum(value.mean() for name, value in loss(model, data).items() if "loss" in name)
        total.backward()
        optimizer.step()
        optimizer.zero_grad()


def ours(model, data):
    return model(**data, mode="loss")


def stock(model, data):
    """What mmseg's decode head does: logits at full resolution, cross entropy there, and the accuracy of every step."""
    from mmseg.models.decode_heads.decode_head import BaseDecodeHead

    logits = model.decode_head(model.extract_feat(data["inputs"]))
    model.decode_head.align_corners = False
    for sample in data["data_samples"]:
        sample.gt_sem_seg.data.clamp_(max=18)  # raw label ids, for timing alone
    return BaseDecodeHead.loss_by_feat(model.decode_head, logits, data["data_samples"])


@pytest.mark.benchmark(group=f"{STEPS} training steps, FCN8s x 1/16, 2 crops of 128 px")
@pytest.mark.parametrize(
    "form", ["ours", "ours, bfloat16", "ours, network alone", "mmseg's stock pipeline"]
)
def test_training_steps(benchmark, model, splits, pool, form):
    crops = LabelledCrops(
        splits[0],
        pool,
        training(crop=(128, 128), sampler="cover"),
        length=2 * STEPS,
        key=sequence(0, 0, Purpose.CROPS),
    )
    dataset = Stock(splits[0], pool) if form.startswith("mmseg") else crops
    held = pseudo_collate([crops[0], crops[1]])
    order = np.random.default_rng(0).integers(2 * STEPS, size=(STEPS, 2))

    def batches():
        for first, second in order:
            yield (
                held
                if form.endswith("alone")
                else pseudo_collate([dataset[int(first)], dataset[int(second)]])
            )

    loss = stock if form.startswith("mmseg") else ours
    benchmark.pedantic(
        lambda: train_steps(model, batches(), loss, bfloat16=form.endswith("bfloat16")),
        rounds=5,
        warmup_rounds=1,
    )


@pytest.mark.benchmark(group="forms of a step: forward and backward, 2 crops of 128 px")
@pytest.mark.parametrize("width", ["1/16", "1/4"])
@pytest.mark.parametrize(
    "form", ["channels last", "contiguous", "channels last, bfloat16", "channels last, compiled"]
)
def test_forms_of_a_step(benchmark, splits, pool, width, form):
    """What torch offers to make a step faster; compiling itself is not timed."""
    if form.endswith("compiled") and benchmark.disabled:
        pytest.skip("compiling takes a minute, and tells nothing where nothing is timed")
    spec = load_spec(config_path("streets_standard"))
    share = int(width[0]) / int(width[2:])
    document = spec.model_dump()
    resized(share)(document)
    model = build_trainer(type(spec).model_validate(document), *splits).assembly.build()
    fcn8s.draw_weights(model, 0)
    model = model.to(
        memory_format=torch.contiguous_format if form == "contiguous" else torch.channels_last
    ).train()
    step = torch.compile(model) if form.endswith("compiled") else model
    crops = LabelledCrops(
        splits[0], pool, training(crop=(128, 128)), length=2, key=sequence(0, 0, Purpose.CROPS)
    )
    batch = pseudo_collate([crops[0], crops[1]])

    def once() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=form.endswith("bfloat16")):
            losses = step(**model.data_preprocessor(batch, True), mode="loss")
        sum(losses.values()).backward()

    benchmark.pedantic(once, rounds=12, warmup_rounds=4)


def test_the_stock_pipeline_reads_what_we_read(splits, pool):
    image_id = pool.touched_ids[0]
    photo = np.asarray(Image.open(splits[0].files[image_id].photo))
    assert np.array_equal(photo, splits[0].photo(image_id))
    assert Stock(splits[0], pool)[0]["inputs"].shape == (3, 128, 128)


@pytest.mark.benchmark(group="cost head: of a 300-step training, of a forward pass at 512 x 1024")
@pytest.mark.parametrize(
    "form", ["300 training steps", "cost head, trained", "forward pass", "cost map of it"]
)
def test_cost_head(benchmark, splits, pool, form):
    spec = load_spec(config_path("streets_standard"))
    steps = 6 if benchmark.disabled else 300
    training = spec.training.model_copy(update={"steps": steps, "steps_per_image": 0})
    spec = spec.model_copy(update={"training": training, "cost_model": load_spec(None).cost_model})
    trainer = build_trainer(spec, *splits)
    if form == "300 training steps":
        benchmark.pedantic(lambda: trainer.fit(pool, 0, 0, with_cost=False), rounds=1)
        return
    network = trainer.fit(pool, 0, 0, with_cost=True)
    photo = np.tile(splits[0].photo(pool.touched_ids[0]), (4, 4, 1))
    seen = network.see(photo)
    work = {
        "cost head, trained": lambda: trainer._fit_cost(network, pool, 0, 0),
        "forward pass": lambda: network.see(photo),
        "cost map of it": lambda: network._cost(seen),
    }
    benchmark.pedantic(work[form], rounds=3, warmup_rounds=1)
