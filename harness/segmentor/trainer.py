"""Both networks, learned from scratch from what is labelled so far (CEREALS, section 3)."""

from __future__ import annotations

import copy
import hashlib
import json
import sys
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from torch import Tensor
from torch.utils.data import Subset

from harness.config import COMPUTED, ExperimentSpec
from harness.data.cityscapes import Split
from harness.data.labels import IGNORE
from harness.errors import InputError, RunError, one_line, shorten
from harness.identity import changed_constants
from harness.pool import LabelledPool
from harness.results import TRAINER_VERSION
from harness.seeds import Purpose, generator, sequence, torch_seed
from harness.segmentor import fcn8s
from harness.segmentor.assembly import Assembly
from harness.segmentor.batches import AHEAD, Batches
from harness.segmentor.checkpoint import Checkpoints
from harness.segmentor.checks import (
    PROBED_PX,
    check_hooks,
    check_optimizer,
    check_predictions,
    check_schedules,
    check_void,
    probe_size,
    training_step,
)
from harness.segmentor.committee import dropout_advice
from harness.segmentor.cost_head import (
    Cells,
    CostHead,
    cell_features,
    click_density,
    per_cell,
    train_cost_head,
)
from harness.segmentor.crops import LabelledCrops, class_weights, sample_of
from harness.segmentor.feature_files import FeatureFiles
from harness.segmentor.frozen import (
    FeatureCache,
    HeadTraining,
    LabelledFeatureCrops,
    LabelledFeatures,
    backbone_features,
    check_multiples,
    collate,
    finest_stride,
)
from harness.segmentor.logs import check_backends
from harness.segmentor.network import TrainedNetwork
from harness.segmentor.pipeline import LabelledPipeline, build_pipeline, transformed
from harness.segmentor.runner import train

_PRETRAINED = "model.backbone.pretrained"

# mmseg suggests another form of two classes, each time a model is built
warnings.filterwarnings("ignore", category=UserWarning, module=r"mmseg\.")


_CROPS = ("flip", "jitter", "sampler", "brightness", "tint", "shift")
"""Options of training that stand under "crop" in its identity."""


def recipe_digest(spec: ExperimentSpec) -> str:
    """Identify all that determines a training besides data, labels, seed and round."""
    training = spec.training.identity()
    height, width = training.pop("crop")
    crop = {key: training.pop(key) for key in _CROPS if key in training}
    document = {
        "code": TRAINER_VERSION,
        "model": spec.model,
        "optim_wrapper": spec.optim_wrapper,
        "param_scheduler": spec.param_scheduler,
        "crop": {"height": height, "width": width, **crop},
        "cost": spec.cost_model.identity(),
        **training,
        **changed_constants(),
    }
    for key in (*COMPUTED, "custom_hooks", "train_pipeline"):
        if getattr(spec, key):
            document[key] = getattr(spec, key)
    text = json.dumps(document, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


class SegmentorTrainer:
    """Trains a network with mmengine's Runner, then the cost head on its frozen backbone.

    Args:
        feature_folder: where processes share a frozen backbone's features; each makes its own
            without.
        feature_bytes: what this process may write there.
    """

    def __init__(
        self,
        spec: ExperimentSpec,
        *,
        train_split: Split,
        val_split: Split,
        feature_folder: Path | None = None,
        feature_bytes: int = 0,
    ) -> None:
        self._spec, self._train, self._val = spec, train_split, val_split
        self._training, self._device = spec.training, torch.device(spec.device)
        self.recipe = recipe_digest(spec)
        self._features = FeatureCache(files=self._feature_files(feature_folder, feature_bytes))
        init_default_scope("mmseg")
        self.assembly = Assembly(
            spec.model,
            n_classes=len(train_split.class_names),
            crop=self._training.crop,
            loss_stride=self._training.loss_stride,
            sha256=spec.weights_sha256
            | ({_PRETRAINED: spec.pretrained_sha256} if spec.pretrained_sha256 else {}),
        )
        if self._training.frozen_trunk:
            self._check_frozen()
        self._pipeline = (
            build_pipeline(spec.train_pipeline) if self._training.sampler == "pipeline" else None
        )
        kind = spec.optim_wrapper.get("type", "OptimWrapper")
        if self._training.precision != "float32" and kind != "OptimWrapper":
            raise InputError(
                "optim_wrapper.type must be OptimWrapper where training.precision is "
                f"{self._training.precision}, got {shorten(kind)}"
            )
        check_hooks(spec.custom_hooks)
        check_backends(spec.vis_backends)
        check_optimizer(self.assembly.build(), self._optim_wrapper(), spec.param_scheduler)

    def _feature_files(self, folder: Path | None, most_bytes: int) -> FeatureFiles | None:
        """Return the files of all that determines features; recipe and data say more than that.

        Choice: on a GPU there are none, since features lie in its own memory.
        """
        if folder is None or self._device.type != "cpu" or not self._training.frozen_trunk:
            return None
        bits = (
            torch.__version__,
            torch.backends.cpu.get_cpu_capability(),
            torch.get_num_threads(),
            torch.are_deterministic_algorithms_enabled(),
        )
        data = f"{self._train.index.fingerprint} {self._val.index.fingerprint}"
        key = hashlib.sha256(f"{self.recipe} {data} {bits}".encode()).hexdigest()[:16]
        return FeatureFiles(folder / key, most_bytes)

    def _check_frozen(self) -> None:
        if not self.assembly.has_given_weights:
            raise InputError(
                "training.frozen_trunk needs a backbone with given weights: "
                "model.backbone.pretrained or init_cfg, or a backbone that brings its own"
            )
        if self.assembly.slides or self._spec.model.get("neck") is not None:
            what = "test_cfg.mode = 'slide'" if self.assembly.slides else "neck"
            raise InputError(f"training.frozen_trunk must be False with model.{what}")

    def check(self, images: Iterable[int], *, votes: Sequence[str] = ()) -> None:
        """Make one step with random pixels, and go through the schedules: before any work.

        Args:
            images: how many images' worth of labels the trainings of a board have.
            votes: the strategies that ask a committee.

        Raises:
            InputError: one line that names the block of the config.
        """
        spec, training = self._spec, self._training
        side = training.crop
        if self._pipeline is None:  # whose crops have a size of their own
            side = probe_size(side, PROBED_PX)
        self.assembly.check_weights()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            even = [1.0] * len(self._train.class_names)
            model = self.assembly.build(even if training.class_weights else None, side)
            model = model.to(memory_format=torch.channels_last)  # as it is trained
            shown = self._examples(side)
            model.train()
            if training.batch_size == 1:
                training_step(model, shown[:1], side)
            loss, seen = training_step(model, shown, side)
        if not bool(torch.isfinite(loss)):
            raise InputError("the config's model must have a finite loss before it is trained")
        check_void(loss, seen)
        self._check_passes(model, votes)
        lengths = {training.steps_for(number, 1.0) for number in images}
        for number, item in enumerate(spec.param_scheduler):
            end = item.get("end", item.get("total_steps", 0))
            if isinstance(end, int) and end > 2 * max(lengths):
                print(
                    f"harness: param_scheduler[{number}] ends at step {end}, but the longest "
                    f"training has {max(lengths)}: without an end it spans each training",
                    file=sys.stderr,
                )
        for steps in sorted({min(lengths), max(lengths)}):
            check_schedules(model, spec.optim_wrapper, spec.param_scheduler, steps)

    def _examples(self, side: tuple[int, int]) -> list[dict[str, Any]]:
        """Return random pixels as a training is shown them, the right half void: two or more.

        Raises:
            InputError: a train_pipeline that gives something else than images with labels, or
                cannot be run on the lowest, the highest, the narrowest or the widest image.
        """
        labels = np.zeros(side, np.uint8)
        labels[:, side[1] // 2 :] = IGNORE  # as beside a window that is labelled
        if self._pipeline is None:
            pixels = torch.randint(256, (2, 3, *side), dtype=torch.uint8)
            return [{"inputs": each, "data_samples": sample_of(labels)} for each in pixels]
        sizes = set(self._train.index.sizes.values())
        extremes = (min(sizes), max(sizes), min(sizes, key=_width), max(sizes, key=_width))
        tried = list(dict.fromkeys(extremes)) if len(sizes) > 1 else [*sizes, *sizes]
        made = [self._through_pipeline(size, number) for number, size in enumerate(tried)]
        for given in (each["inputs"].shape[1:] for each in made):
            if given[0] > side[0] or given[1] > side[1]:
                raise InputError(
                    f"train_pipeline must give at most training.crop, {side[0]}x{side[1]} px, got "
                    f"{given[0]}x{given[1]}: RandomCrop(crop_size={side})"
                )
        return made

    def _through_pipeline(self, size: tuple[int, int], number: int) -> dict[str, Any]:
        rng = np.random.default_rng(number)
        photo = rng.integers(256, size=(*size, 3), dtype=np.uint8)
        try:
            return transformed(cast("Any", self._pipeline), photo, np.zeros(size, np.uint8), rng)
        except Exception as error:
            said = one_line(f"{type(error).__name__}: {error}")
            raise InputError(
                f"train_pipeline cannot be run on an image of {size[0]}x{size[1]} px: {said}"
            ) from error

    def _check_passes(self, model: Any, votes: Sequence[str]) -> None:
        """Look at images of random pixels, and refuse a committee that nothing is dropped in."""
        network = self._network(model, None, 0, 0)
        shown = list(self._train.index.sizes.values())
        sizes = [*shown, *self._val.index.sizes.values()]
        if self._training.frozen_trunk:
            if self._training.sampler == "cover":
                levels = backbone_features(model, np.zeros((PROBED_PX, PROBED_PX, 3), np.uint8))
                check_multiples(shown, finest_stride(levels, PROBED_PX))
            else:  # smaller images are shown with a grey rim
                sizes.append((max(shown)[0], _width(max(shown, key=_width))))
        photo = check_predictions(network, sizes, slides=self.assembly.slides)
        if votes and not network.committee_differs(photo, _CHECKED_MEMBERS):
            raise InputError(
                f"the network must drop something out for a committee, which {shorten(votes[0])} "
                f"asks for: {dropout_advice(model)}, or leave out "
                f"{', '.join(votes)}"
            )

    def fit(
        self,
        pool: LabelledPool,
        seed: int,
        round_number: int,
        *,
        with_cost: bool,
        checkpoints: Path | None = None,
    ) -> TrainedNetwork:
        """Train on the labelled pixels; the initial weights depend on the seed alone.

        Args:
            checkpoints: a folder that belongs to this training; one that was killed goes on from
                what lies there.

        Raises:
            RunError: a loss or weight that is NaN or infinite.
        """
        steps = self._training.steps_for(pool.labelled_px, pool.total_px / len(pool.sizes))
        again = f"repeat {self._training.repeat}" if self._training.repeat else ""
        model = self.assembly.initial(
            torch_seed(seed, 0, Purpose.WEIGHTS),
            class_weights(pool, len(self._train.class_names))
            if self._training.class_weights
            else None,
        )
        model = model.to(self._device, memory_format=torch.channels_last)
        model.data_preprocessor._non_blocking = True  # noqa: SLF001  matters for pinned batches alone
        kept = Checkpoints(checkpoints) if checkpoints else None
        state = kept.latest() if kept else None
        data = self._data(
            model,
            pool,
            steps * self._training.batch_size,
            sequence(seed, round_number, Purpose.CROPS, again),
        )
        left = range((state["step"] if state else 0) * self._training.batch_size, len(data))
        losses = train(
            HeadTraining(model).to(self._device) if self._training.frozen_trunk else model,
            self._batches(Subset(data, left)),
            steps=steps,
            optim_wrapper=self._optim_wrapper(),
            param_scheduler=copy.deepcopy(self._spec.param_scheduler),
            seed=torch_seed(seed, round_number, Purpose.CROPS, again),
            checkpoints=kept,
            state=state,
            hooks=copy.deepcopy(self._spec.custom_hooks),
        )
        if not all(bool(torch.isfinite(value).all()) for value in model.state_dict().values()):
            raise RunError("a weight of the segmentation network is NaN or infinite after training")
        model.requires_grad_(False)
        network = self._network(model, None, seed, round_number)
        if with_cost:
            head = self._fit_cost(network, pool, seed, round_number)
            network = self._network(model, head, seed, round_number)
        network.losses = losses
        return network

    def _batches(self, data: Subset[dict[str, Any]]) -> Batches:
        """Return the batches of a training.

        On a GPU crops are drawn and pinned ahead of it, and their copies wait for nobody.
        """
        frozen, size = self._training.frozen_trunk, self._training.batch_size
        ahead = self._device.type == "cuda" and not frozen
        return Batches(
            data,
            batch_size=size,
            collate_fn=collate if frozen else pseudo_collate,
            ahead=AHEAD if ahead else 0,
            pin_memory=ahead,
        )

    def _optim_wrapper(self) -> dict[str, Any]:
        config = copy.deepcopy(self._spec.optim_wrapper)
        return (
            config
            if self._training.precision == "float32"
            else {**config, "type": "Bfloat16OptimWrapper"}
        )

    def _data(
        self, model: Any, pool: LabelledPool, length: int, key: np.random.SeedSequence
    ) -> LabelledCrops | LabelledFeatures | LabelledFeatureCrops | LabelledPipeline:
        """Return what a training is shown.

        Crops, or whole images as features of a backbone that stays as it is.
        """
        options = self._training
        if self._pipeline is not None:
            return LabelledPipeline(self._train, pool, self._pipeline, length=length, key=key)
        if not options.frozen_trunk:
            return LabelledCrops(self._train, pool, options, length=length, key=key)
        model.backbone.eval()
        if options.sampler == "cover":
            return LabelledFeatureCrops(
                model, self._train, pool, self._features, options, length=length, key=key
            )
        return LabelledFeatures(
            model, self._train, pool, self._features, length=length, key=key, flip=options.flip
        )

    def _fit_cost(
        self, network: TrainedNetwork, pool: LabelledPool, seed: int, round_number: int
    ) -> CostHead:
        cells = self.labelled_cells(network, pool, seed, round_number)
        return train_cost_head(
            cells, self._spec.cost_model, torch_seed(seed, round_number, Purpose.COST_HEAD)
        )

    def labelled_cells(
        self, network: TrainedNetwork, pool: LabelledPool, seed: int, round_number: int
    ) -> Cells:
        """Run the frozen backbone once over what is labelled, and keep the labelled cells."""
        kept = self._drawn_cells(pool, seed, round_number)
        parts = (
            self._labelled_cells(network, pool, image_id, kept.get(image_id))
            for image_id in pool.touched_ids
        )
        return Cells(*(torch.cat(column) for column in zip(*parts, strict=True)))

    def _drawn_cells(self, pool: LabelledPool, seed: int, round_number: int) -> dict[str, Tensor]:
        """Draw which labelled cells of each image are kept, before any features are made.

        Empty where there is room for all.
        """
        counts = [
            int((per_cell(pool.is_labelled(image_id).astype(np.float64)) > 0).sum())
            for image_id in pool.touched_ids
        ]
        if sum(counts) <= self._spec.cost_model.max_cells:
            return {}
        rng = generator(seed, round_number, Purpose.COST_HEAD)
        rows = np.sort(rng.choice(sum(counts), self._spec.cost_model.max_cells, replace=False))
        ends = np.cumsum(counts)
        parts = np.split(rows, np.searchsorted(rows, ends[:-1]))
        starts = ends - counts
        return {
            image_id: torch.from_numpy(part - start)
            for image_id, part, start in zip(pool.touched_ids, parts, starts, strict=True)
        }

    def _labelled_cells(
        self, network: TrainedNetwork, pool: LabelledPool, image_id: str, rows: Tensor | None
    ) -> Cells:
        labelled, vertices = pool.is_labelled(image_id), pool.vertices(image_id)
        part = _surroundings(labelled) if self.assembly.is_fcn8s else _WHOLE
        key = f"train/{image_id}" if part is _WHOLE else None  # features are kept of whole images
        seen = network.see(self._train.photo(image_id)[part], key)
        labelled, vertices = (
            labelled[part],
            vertices - np.array([part[1].start, part[0].start], np.int32),
        )
        features = cell_features(seen.features, seen.logits, seen.size)
        area = per_cell(labelled.astype(np.float64))
        clicks = per_cell(click_density(vertices, labelled, self._spec.cost_model.sigma_px))
        kept = (area.flatten() > 0).nonzero()[:, 0]
        kept = kept if rows is None else kept[rows]
        flat = (
            maps.flatten()[kept].to(self._device)
            for maps in (clicks, area / fcn8s.LOGIT_STRIDE_PX**2)
        )
        return Cells(features.flatten(0, 1)[kept.to(self._device)], *flat)

    def _network(
        self, model: Any, cost_head: CostHead | None, seed: int, round_number: int
    ) -> TrainedNetwork:
        return TrainedNetwork(
            model,
            cost_head,
            train=self._train,
            val=self._val,
            seed=seed,
            round_number=round_number,
            window_px=self._spec.harness.window,
            device=self._device,
            features=self._features if self._training.frozen_trunk else None,
            slides=self.assembly.slides,
        )

    def feature_bytes(self, size: tuple[int, int]) -> int:
        """Return what the backbone's features of one (H, W) image take in memory."""
        photo = np.zeros((*size, 3), np.uint8)
        with torch.no_grad():
            levels = backbone_features(self.assembly.build().eval(), photo)
        return sum(level.nbytes for level in levels)

    def load(self, path: Path, seed: int, round_number: int) -> TrainedNetwork:
        """Read what ``TrainedNetwork.save`` wrote; weights only, never code."""
        document = torch.load(path, map_location=self._device, weights_only=True)
        model = self.assembly.build().to(self._device, memory_format=torch.channels_last)
        model.load_state_dict(document["segmentor"])
        model.requires_grad_(False)
        cost_head = None
        if document["cost_head"] is not None:
            hidden, channels = document["cost_head"]["layers.0.weight"].shape
            cost_head = CostHead(channels, hidden).to(self._device)
            cost_head.load_state_dict(document["cost_head"])
            cost_head.eval()
        return self._network(model, cost_head, seed, round_number)


def _surroundings(labelled: npt.NDArray[np.bool_]) -> tuple[slice, slice]:
    """Return rows and columns around all labelled pixels, with the backbone's receptive field.

    In whole cells of pool5.
    """
    spans = []
    for axis, extent in enumerate(labelled.shape):
        where = np.flatnonzero(labelled.any(axis=1 - axis))
        first, last = (
            (where[0] - _FIELD_PX) // _ALIGNED_PX * _ALIGNED_PX,
            -(-(where[-1] + 1 + _FIELD_PX) // _ALIGNED_PX) * _ALIGNED_PX,
        )
        spans.append(slice(max(int(first), 0), min(int(last), extent)))
    return spans[0], spans[1]


_WHOLE = slice(0, None), slice(0, None)
"""Where a network's receptive field is not known, the whole image is looked at."""
_ALIGNED_PX = 32
_FIELD_PX = 224
"""More than half of the receptive field of 404 px.

What lies further away cannot change a labelled cell's features.
"""

_CHECKED_MEMBERS = 32


def _width(size: tuple[int, int]) -> int:
    return size[1]
