"""Any MMSegmentation network of a config, with what the data and the seed decide filled in."""

from __future__ import annotations

import contextlib
import copy
import difflib
import functools
import hashlib
import logging
import re
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import ConfigDict
from mmengine.logging import MMLogger
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import Tensor

from harness.built_in import weights_named, weights_path
from harness.data.labels import IGNORE
from harness.errors import InputError, one_line, shorten
from harness.segmentor import efficientnet, fcn8s, light_head  # noqa: F401  two are registered

_HEADS = ("decode_head", "auxiliary_head")
_PROBED_PX = 128
_CLASS_LAYERS = ("conv_seg", "auxiliary_head")
"""What may be missing in a file of weights: layers whose size is the number of classes."""


class Assembly:
    """Builds the network of a config.

    Class count, channels and crop size are asked, not written down.

    Args:
        config: mmseg's ``model``, of type ``EncoderDecoder``. ``num_classes`` and ``in_channels``
            of its heads may be left out.
        n_classes: of the data.
        crop: (height, width) in pixels of what a training is shown.
        loss_stride: the loss is taken on every so many-th pixel of each axis.
        sha256: of each file of weights that the config names, by its dotted key.

    Raises:
        InputError: a network that cannot be built, or that does not fit the data.
    """

    def __init__(
        self,
        config: dict[str, Any],
        *,
        n_classes: int,
        crop: tuple[int, int],
        loss_stride: int = 1,
        sha256: dict[str, str] | None = None,
    ) -> None:
        init_default_scope("mmseg")
        self._crop, self._loss_stride = crop, loss_stride
        self._sha256 = sha256 or {}
        self._config = ConfigDict(copy.deepcopy(config))
        if self._config.get("type") != "EncoderDecoder":
            got = shorten(self._config.get("type"))
            raise InputError(f"model.type must be EncoderDecoder, got {got}")
        self._config.test_cfg = self._config.get("test_cfg") or ConfigDict(mode="whole")
        if (mode := self._config.test_cfg.get("mode", "whole")) not in {"whole", "slide"}:
            raise InputError(f"model.test_cfg.mode must be 'whole' or 'slide', got {shorten(mode)}")
        preprocessor = self._config.setdefault("data_preprocessor", ConfigDict())
        preprocessor.setdefault("type", "SegDataPreProcessor")
        if preprocessor.get("bgr_to_rgb") and not preprocessor.get("rgb_to_bgr"):
            preprocessor.bgr_to_rgb = False  # what a network is shown is RGB already
        _check_preprocessor(preprocessor)
        _check_windows(self._config.test_cfg)
        for name, head in self._heads():
            _fill_classes(name, head, n_classes)
            _check_losses(name, head)
        if any("in_channels" not in head for _, head in self._heads()):
            self._fill_channels()

    def _heads(self) -> Iterator[tuple[str, ConfigDict]]:
        """Yield the heads' configs by their dotted key."""
        for key in _HEADS:
            heads = self._config.get(key)
            if isinstance(heads, list | tuple):
                if key == "decode_head":
                    raise InputError("model.decode_head must be one head, got a list of heads")
                yield from ((f"model.{key}[{n}]", head) for n, head in enumerate(heads))
            elif isinstance(heads, dict):
                yield f"model.{key}", heads
            elif key == "decode_head":
                raise InputError(f"model.decode_head must be a block, got {shorten(heads)}")

    def _fill_channels(self) -> None:
        """Ask the backbone, and the neck behind it, for the channels that no head's config names."""
        with torch.random.fork_rng(devices=[]), torch.no_grad(), _one_line("model.backbone"):
            levels: Any = torch.zeros(1, 3, _PROBED_PX, _PROBED_PX)
            for key in ("backbone", "neck"):
                if self._config.get(key) is not None:
                    part = revert_sync_batchnorm(MODELS.build(self._config[key]))
                    part.eval()  # mmseg's own backbones return nothing here
                    levels = part(levels)
            maps: Sequence[Any] = levels if isinstance(levels, list | tuple) else []
            if not maps or any(getattr(level, "ndim", 0) != 4 for level in maps):
                raise InputError(
                    "model.backbone must give a list of (N, C, H, W) maps, or each head its "
                    f"in_channels, got {_shape_of(levels)}"
                )
            channels = [level.shape[1] for level in maps]
        for name, head in self._heads():
            if "in_channels" in head:
                continue
            index = head.get("in_index", -1)
            many = isinstance(index, list | tuple)
            try:
                head.in_channels = [channels[i] for i in index] if many else channels[index]
            except (IndexError, TypeError) as error:
                raise InputError(
                    f"{name}.in_index must name levels of the backbone, 0 to {len(channels) - 1}, "
                    f"got {shorten(index)}"
                ) from error

    def build(
        self, class_weight: list[float] | None = None, size: tuple[int, int] | None = None
    ) -> Any:
        """Build the network with weights that mean nothing yet.

        Args:
            class_weight: for every cross entropy of the heads that has none of its own.
            size: (height, width) of the crops; the config's without it.
        """
        config = copy.deepcopy(self._config)
        config.data_preprocessor.size = size or self._crop
        heads = [head for key in _HEADS for head in as_list(config.get(key))]
        if not sum([_set_up_losses(head, class_weight) for head in heads]) and class_weight:
            raise InputError(
                "training.class_weights must be False: no loss of the model is a "
                "CrossEntropyLoss, which alone takes weights"
            )
        with _one_line("model"):
            model = revert_sync_batchnorm(MODELS.build(config))
        if getattr(model.decode_head, "out_channels", None) != model.decode_head.num_classes:
            raise InputError(
                "model.decode_head.out_channels must be the number of classes, "
                f"got {model.decode_head.out_channels}"
            )
        if self._loss_stride > 1:
            for head in heads_of(model):
                head._stack_batch_gt = functools.partial(  # noqa: SLF001
                    _strided,
                    head._stack_batch_gt,  # noqa: SLF001
                    self._loss_stride,
                )
        return model

    def initial(self, seed: int, class_weight: list[float] | None = None) -> Any:
        """Build the network as a training starts with it: given weights, all others from the seed.

        Choice: FCN8s draws its weights in the order of their names; every other network is
        initialised by its own ``init_weights`` after ``torch.manual_seed(seed)``.

        Raises:
            InputError: a file of weights that has changed, or is of another network.
        """
        self.check_files()
        if self.is_fcn8s:
            model = self.build(class_weight)
            fcn8s.draw_weights(model, seed)
            model.backbone.load_pretrained()
            return model
        with torch.random.fork_rng(devices=[]), _one_line("model"), quiet():
            torch.manual_seed(seed)
            model = self.build(class_weight)
            model.init_weights()
            if hasattr(model.backbone, "load_pretrained"):
                model.backbone.load_pretrained()
        return model

    @functools.cached_property
    def is_fcn8s(self) -> bool:
        """Whether it is the paper's network in our form."""
        return (self._config.backbone.get("type"), self._config.decode_head.get("type")) == (
            "VGG16",
            "FCN8sHead",
        )

    @property
    def slides(self) -> bool:
        """Whether it predicts window by window."""
        return bool(self._config.test_cfg.get("mode", "whole") == "slide")

    def check_files(self) -> None:
        """Refuse weights that are not those that the board began with.

        Raises:
            InputError: a file has changed since.
        """
        for key, name in weights_named("model", self._config):
            was = self._sha256.get(key)
            now = hashlib.sha256(weights_path(name).read_bytes()).hexdigest()
            if was is not None and now != was:
                raise InputError(
                    f"{key}: {name} is not the file that this board began with; "
                    "give that file, or another --out"
                )

    def check_weights(self) -> None:
        """Refuse a file of weights that is of another network.

        Raises:
            InputError: one line that names the file and the first weight that does not fit.
        """
        model = None
        for key, name in weights_named("model", self._config):
            place, _, last = key.rpartition(".")
            if self.is_fcn8s and key != "model.backbone.pretrained":
                raise InputError(
                    f"{key} must be left out: FCN8s takes weights from model.backbone.pretrained"
                )
            owner = re.sub(r"\.?init_cfg(\[\d+\])?$", "", place)
            if last == "pretrained" and owner == place:
                owner = "model.backbone" if place == "model" else place
                if hasattr(MODELS.get(self._config.backbone.type), "load_pretrained"):
                    continue  # reads a format of its own, and checks it
            elif last != "checkpoint" or owner == place:
                continue
            model = self.build() if model is None else model
            part = _part_of(key, model, owner)
            prefix = _part_of(key, self._config, place).get("prefix") if owner != place else None
            _check_weights(key, weights_path(name), part, prefix)

    @property
    def has_given_weights(self) -> bool:
        """Whether the backbone starts with weights that somebody gave it."""
        given = ("model.backbone.", "model.init_cfg.", "model.pretrained")
        if any(key.startswith(given) for key in self._sha256):
            return True
        option = getattr(MODELS.get(self._config.backbone.type), "given_by", None)
        return option is not None and bool(self._config.backbone.get(option, True))


def _fill_classes(name: str, head: ConfigDict, n_classes: int) -> None:
    if head.setdefault("num_classes", n_classes) != n_classes:
        raise InputError(
            f"{name}.num_classes must be {n_classes}, the classes of the data, "
            f"got {shorten(head.num_classes)}; it may be left out"
        )


def _check_preprocessor(config: ConfigDict) -> None:
    """Refuse what would pad an image that is predicted, or give the rim of a crop a class."""
    if config.get("test_cfg"):
        raise InputError(
            "model.data_preprocessor.test_cfg must be left out: an image is predicted at its own "
            "size, without a rim"
        )
    if (value := config.get("seg_pad_val", IGNORE)) != IGNORE:
        raise InputError(
            f"model.data_preprocessor.seg_pad_val must be {IGNORE}, what is void here, "
            f"got {shorten(value)}"
        )


def _check_windows(config: ConfigDict) -> None:
    """Refuse sliding windows that leave pixels out."""
    if config.get("mode", "whole") != "slide":
        return
    sides: dict[str, tuple[int, int]] = {}
    for key in ("crop_size", "stride"):
        given = config.get(key)
        if not (
            isinstance(given, list | tuple)
            and len(given) == 2
            and all(isinstance(side, int) and side > 0 for side in given)
        ):
            raise InputError(
                f"model.test_cfg.{key} must be (height, width) in pixels, got {shorten(given)}"
            )
        sides[key] = given[0], given[1]
    if any(step > side for step, side in zip(sides["stride"], sides["crop_size"], strict=True)):
        raise InputError(
            f"model.test_cfg.stride must be at most crop_size, {sides['crop_size']}, got "
            f"{sides['stride']}: pixels between windows would never be seen"
        )


def _shape_of(levels: Any) -> str:
    """Say what a backbone gave instead of maps."""
    if isinstance(levels, Tensor):
        return f"one tensor of shape {tuple(levels.shape)}"
    if isinstance(levels, list | tuple):
        return shorten([_shape_of(level) for level in levels])
    return type(levels).__name__


def _check_losses(name: str, head: ConfigDict) -> None:
    """Refuse what would make a loss depend on a file, or on pixels that are not labelled."""
    for block in (head, *as_list(head.get("loss_decode"))):
        if block.get("ignore_index", IGNORE) != IGNORE:
            raise InputError(
                f"{name}: ignore_index must be {IGNORE}, what is void here, "
                f"got {shorten(block.ignore_index)}"
            )
        if isinstance(block.get("class_weight"), str):
            raise InputError(
                f"{name}: class_weight must be a list of numbers, got a file, "
                f"{shorten(block.class_weight)}"
            )


def _part_of(key: str, root: Any, place: str) -> Any:
    """Return what a dotted key names below a model or its config, such as auxiliary_head[0]."""
    part = root
    for step in re.findall(r"[^.\[\]]+", place)[1:]:
        try:
            if step.isdigit():
                part = part[int(step)]
            else:
                part = part[step] if isinstance(part, dict) else getattr(part, step)
        except (AttributeError, IndexError, KeyError) as error:
            raise InputError(
                f"{key}: the network has no part {place} to hold the file against; give the weights "
                "of the whole network in model.init_cfg"
            ) from error
    return part


def _set_up_losses(head: ConfigDict, class_weight: list[float] | None) -> int:
    """Give a head's cross entropies class weights; return how many took or had some.

    Void pixels must not make a loss smaller. mmseg's weighted cross entropy leaves them out by
    itself, and fails where it is told to.
    """
    losses = head.setdefault("loss_decode", ConfigDict(type="CrossEntropyLoss"))
    weighted = [loss for loss in as_list(losses) if loss.get("type") == "CrossEntropyLoss"]
    for loss in weighted:
        if class_weight is not None and loss.get("class_weight") is None:
            loss.class_weight = class_weight
        if head.get("type") != "FCN8sHead":
            loss.avg_non_ignore = loss.get("class_weight") is None
    return len(weighted)


def heads_of(model: Any) -> list[Any]:
    """Return all heads of a segmentor that count in its loss."""
    return [model.decode_head, *as_list(getattr(model, "auxiliary_head", None))]


def as_list(value: Any) -> list[Any]:
    """Return the items of a list, one thing as a list of it, nothing as an empty list."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple | torch.nn.ModuleList) else [value]


def _strided(stack: Any, stride: int, samples: list[Any]) -> Tensor:
    """Take every ``stride``-th label of each axis; mmseg's heads resize their logits to labels."""
    labels: Tensor = stack(samples)[..., stride // 2 :: stride, stride // 2 :: stride]
    return labels


def _check_weights(key: str, path: Path, part: Any, prefix: str | None) -> None:
    try:
        document = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(
            f"{key}: {path} cannot be read as weights alone ({type(error).__name__}); save its "
            "state_dict by itself"
        ) from error
    for name in ("state_dict", "model"):
        if isinstance(document, dict) and isinstance(document.get(name), dict):
            document = document[name]
    if not isinstance(document, dict):
        raise InputError(f"{key}: {path} holds no weights")
    start = f"{prefix}." if prefix else ""
    given = {
        name.removeprefix("module.").removeprefix(start): tuple(value.shape)
        for name, value in document.items()
        if isinstance(value, Tensor) and name.removeprefix("module.").startswith(start)
    }
    for name, value in part.named_parameters():
        if given.get(name) != tuple(value.shape) and not any(x in name for x in _CLASS_LAYERS):
            raise InputError(
                f"{key}: {path} is of another network: {name} must have the shape "
                f"{tuple(value.shape)}, got {given.get(name, 'no such weight')}"
            )


@contextlib.contextmanager
def _one_line(block: str) -> Iterator[None]:
    """Say in one line what mmseg has against a block of the config."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        if "is not in the" in said and isinstance(error, KeyError):
            kind = str(error.args[0]).split(" ", 1)[0]
            near = difflib.get_close_matches(kind, _known_types(), 1)
            said = f"no type {kind} is registered" + (f"; is it {near[0]}?" if near else "")
        elif "onedl-mmcv for" in said or "mmcv._ext" in said:
            said = "it needs compiled operators of mmcv (mmcv.ops), which are not installed"
        elif isinstance(error, AssertionError) and not str(error):
            failed = traceback.extract_tb(error.__traceback__)[-1].line
            said = f"mmseg demands {(failed or '').removeprefix('assert ')}"
        raise InputError(f"the config's {block} cannot be built: {one_line(said)}") from error


def _known_types() -> list[str]:
    registry, names = MODELS, []
    while registry is not None:
        names += list(registry.module_dict)
        registry = registry.parent
    return names


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep mmengine from telling which weight was initialised how, and learns at which rate."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
