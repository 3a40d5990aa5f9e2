"""What a board's network is asked before any work: a step, a look at each kind of image, its schedules."""

from __future__ import annotations

import contextlib
import copy
import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import HOOKS, MODELS, PARAM_SCHEDULERS
from torch import Tensor

from harness.data.labels import IGNORE
from harness.errors import InputError, one_line, shorten
from harness.logits import Logits, upsample
from harness.segmentor.assembly import as_list, heads_of, quiet
from harness.segmentor.frozen import batch_of
from harness.segmentor.network import TrainedNetwork
from harness.segmentor.runner import with_length

PROBED_PX = 128
"""Side of what a network is asked with; twice that where it looks at whole images."""
_PROBED_STRIDE_PX = 32
_CHECKED_STEPS = 300


def probe_size(size: tuple[int, int], most: int) -> tuple[int, int]:
    """Return a size of at most so many pixels a side that a network's strides divide alike."""
    height, width = (
        side if side <= most else most - (most - side) % _PROBED_STRIDE_PX for side in size
    )
    return height, width


def representative_sizes(sizes: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return sizes that together show each remainder of height and of width by 32, smallest first."""
    kept: list[tuple[int, int]] = []
    seen: set[tuple[int, int]] = set()
    for size in sorted(set(sizes)):
        remainders = {(axis, side % _PROBED_STRIDE_PX) for axis, side in enumerate(size)}
        if not remainders <= seen:
            kept.append(size)
            seen |= remainders
    return kept


def check_predictions(
    network: TrainedNetwork, sizes: Iterable[tuple[int, int]], *, slides: bool
) -> npt.NDArray[np.uint8]:
    """Look at random pixels of each kind of size, and hold the logits against mmseg's own.

    What a network can take depends on the remainder that its strides leave, so small images stand
    in for large ones; where one of them fails, an image of the true size has the last word.

    Args:
        network: as it begins.
        sizes: (H, W) of all images in pixels.
        slides: it predicts window by window, which is mmseg's own work.

    Returns:
        The first photograph that was looked at.

    Raises:
        InputError: an image that cannot be predicted, or logits that are not those of mmseg.
    """
    first, *others = representative_sizes(sizes)
    photo, logits = _look(network, first)
    if not slides:
        _check_logits(network.model, photo, logits)
    for size in others:
        _look(network, size)
    return photo


def _look(network: TrainedNetwork, size: tuple[int, int]) -> tuple[npt.NDArray[np.uint8], Logits]:
    """Return random pixels that stand for an image of a size, and their logits."""
    for shown in dict.fromkeys((probe_size(size, 2 * PROBED_PX), size)):
        photo = np.random.default_rng(0).integers(256, size=(*shown, 3), dtype=np.uint8)
        try:
            seen = network.see(photo)
        except Exception as error:  # noqa: BLE001  of any network
            failed = error
        else:
            return photo, Logits(seen.logits[0], seen.size)
    raise InputError(
        f"the config's model cannot predict an image of {size[0]}x{size[1]} px: "
        f"{one_line(f'{type(failed).__name__}: {failed}')}"
    ) from failed


def _check_logits(model: Any, photo: npt.NDArray[np.uint8], logits: Logits) -> None:
    """Refuse a head whose predictions are not what its forward pass gives."""
    meta = {"ori_shape": photo.shape[:2], "img_shape": photo.shape[:2]}
    batch = batch_of(model, photo)
    with torch.no_grad():
        own, again = (model.encode_decode(batch, [meta])[0] for _ in range(2))
    name = type(model.decode_head).__name__
    if not torch.allclose(own, again, rtol=1e-4, atol=1e-5):
        raise InputError(
            f"model.decode_head must predict the same image twice alike, {name} draws at random"
        )
    made = upsample(logits.values, logits.size)
    if made.shape != own.shape or not torch.allclose(made, own, rtol=1e-3, atol=1e-3):
        raise InputError(
            "model.decode_head must predict the logits that its forward pass gives, "
            f"{name} makes something else of them in predict"
        )


_Shown = list[tuple[Tensor, Tensor]]
"""What losses were given: (N, C, H, W) logits and (N, H, W) labels."""


@contextlib.contextmanager
def _watched_losses(model: Any) -> Iterator[_Shown]:
    """Collect what each loss of each head is given."""
    seen: _Shown = []

    def watch(_loss: Any, given: tuple[Any, ...]) -> None:
        both = all(isinstance(item, Tensor) for item in given[:2]) and len(given) > 1
        if both and given[0].requires_grad and given[1].shape == given[0][:, 0].shape:
            given[0].retain_grad()
            seen.append((given[0], given[1]))

    blocks = (getattr(head, "loss_decode", None) for head in heads_of(model))
    losses = [loss for block in blocks for loss in as_list(block)]
    hooks = [
        loss.register_forward_pre_hook(watch)
        for loss in losses
        if isinstance(loss, torch.nn.Module)
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def training_step(
    model: Any, shown: Sequence[dict[str, Any]], side: tuple[int, int]
) -> tuple[Tensor, _Shown]:
    """Return the loss of some examples, and what it was taken of."""
    batch = {key: [item[key] for item in shown] for key in shown[0]}
    try:
        with _watched_losses(model) as seen:
            losses = model(**model.data_preprocessor(batch, training=True), mode="loss")
            loss, _ = model.parse_losses(losses)
    except Exception as error:
        raise InputError(
            f"the config's model cannot make a step on crops of {side[0]}x{side[1]} px: "
            f"{one_line(f'{type(error).__name__}: {error}')}"
        ) from error
    return loss, seen


def check_void(loss: Tensor, seen: _Shown) -> None:
    """Refuse a loss that looks at pixels without a label.

    Raises:
        InputError: such a loss.
    """
    if not seen or not loss.requires_grad:
        return
    loss.backward()  # type: ignore[no-untyped-call]
    for logits, labels in seen:
        if logits.grad is not None and bool((logits.grad.abs().sum(1)[labels == IGNORE] > 0).any()):
            raise InputError(
                "each loss of the config's model must leave out void pixels, as CrossEntropyLoss "
                "does, got one with a gradient there: it would learn from what nobody labelled"
            )


def check_hooks(hooks: Sequence[dict[str, Any]]) -> None:
    """Refuse a hook that a training here has no place for.

    Raises:
        InputError: another one than EMAHook, or one that cannot be built.
    """
    for number, hook in enumerate(hooks):
        if hook.get("type") != "EMAHook":
            raise InputError(
                f"custom_hooks[{number}] must be an EMAHook: checkpoints, logs and validation are "
                f"the loop's own, got {shorten(hook.get('type'))}"
            )
        for key in ("begin_iter", "begin_epoch"):
            if hook.get(key):
                raise InputError(
                    f"custom_hooks[{number}].{key} must be 0, got {shorten(hook[key])}: a training "
                    "that goes on after a kill begins to count again"
                )
        try:
            built = HOOKS.build(copy.deepcopy(hook))
            MODELS.build(built.ema_cfg, default_args={"model": torch.nn.Linear(1, 1)})
        except Exception as error:
            said = one_line(f"{type(error).__name__}: {error}")
            raise InputError(f"custom_hooks[{number}] cannot be built: {said}") from error


def _optimizer_of(model: Any, optim_wrapper: dict[str, Any]) -> Any:
    with quiet():
        return build_optim_wrapper(model, copy.deepcopy(optim_wrapper))


def check_optimizer(
    model: Any, optim_wrapper: dict[str, Any], param_scheduler: list[dict[str, Any]]
) -> None:
    """Refuse, before anything is trained, an optimizer that cannot be built or a schedule that is not known.

    Raises:
        InputError: one line that names the block.
    """
    try:
        _optimizer_of(model, optim_wrapper)
    except Exception as error:
        raise InputError(
            "the config's optim_wrapper cannot be built: "
            f"{one_line(f'{type(error).__name__}: {error}')}"
        ) from error
    counts = optim_wrapper.get("accumulative_counts", 1)
    if counts != 1:
        raise InputError(
            "the config's optim_wrapper must not accumulate gradients: accumulative_counts must "
            f"be 1, with a batch_size that fits, got {shorten(counts)}"
        )
    for item in param_scheduler:
        kind = item.get("type")
        if not isinstance(kind, str) or not kind or PARAM_SCHEDULERS.get(kind) is None:
            raise InputError(
                "each type in the config's param_scheduler must be a schedule of mmengine, such as "
                f"OneCycleLR, got {shorten(kind)}"
            )


def check_schedules(
    model: Any, optim_wrapper: dict[str, Any], param_scheduler: list[dict[str, Any]], steps: int
) -> None:
    """Build the schedules for a training of so many steps, and go through the first of them.

    Raises:
        InputError: a schedule that cannot be built, that gives a rate that is no number from 0
            on, or one rate to layers that ask for several.
    """
    wrapper = _optimizer_of(model, optim_wrapper)
    asked = {float(group["lr"]) for group in wrapper.optimizer.param_groups}
    for number, item in enumerate(param_scheduler):
        try:
            scheduler = PARAM_SCHEDULERS.build(
                with_length(copy.deepcopy(item), steps),
                default_args={"optimizer": wrapper.optimizer},
            )
            levels = len({float(group["lr"]) for group in wrapper.optimizer.param_groups})
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the order: nothing is trained here
                for _ in range(min(steps, _CHECKED_STEPS) - 1):
                    scheduler.step()
                    rates = [float(group["lr"]) for group in wrapper.optimizer.param_groups]
                    if not all(0.0 <= rate < math.inf for rate in rates):
                        raise ValueError(f"a learning rate of {rates[0]}")
                    levels = max(levels, len(set(rates)))
            if levels < len(asked):
                raise ValueError(
                    f"it gives {levels} learning rate(s), optim_wrapper.paramwise_cfg asks for "
                    f"{len(asked)}; LinearLR and PolyLR keep them apart"
                )
        except Exception as error:
            raise InputError(
                f"the config's param_scheduler[{number}] cannot run for {steps} steps: "
                f"{one_line(f'{type(error).__name__}: {error}')}"
            ) from error
