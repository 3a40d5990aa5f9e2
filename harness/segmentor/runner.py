"""mmengine's Runner for thousands of short trainings in one process.

No files, no visualizer, nothing left behind.
"""

from __future__ import annotations

import functools
import itertools
import logging
import multiprocessing
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import EMAHook, Hook
from mmengine.logging import MessageHub, MMLogger
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS, DefaultScope
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from harness.errors import RunError
from harness.files import draft_folder
from harness.segmentor.checkpoint import CheckpointHook, Checkpoints
from harness.types import LossPoint

_UNUSED_HOOKS = ("runtime_info", "timer", "sampler_seed", "logger", "checkpoint")
_NAMES = itertools.count()
_CHECK_EVERY = 20
_STRETCHES = 50
"""Choice: so many points show a curve, and those of a thousand trainings take a few MB."""


@functools.cache
def _logger() -> MMLogger:
    return MMLogger.get_instance("harness", log_level=logging.ERROR)


class _NoVisualizer:
    """Takes what mmengine would draw and does nothing."""

    def add_config(self, *_: Any) -> None:
        """Ignore a config."""


class _FiniteLoss(Hook):  # type: ignore[misc]
    """Stop at a loss that is NaN or infinite; it must never reach a score."""

    def __init__(self, done: int) -> None:
        self._done = done

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,  # noqa: ARG002
        outputs: Any = None,
    ) -> None:
        last = batch_idx + 1 == runner.max_iters
        if (
            outputs is not None
            and (last or batch_idx % _CHECK_EVERY == 0)
            and not bool(torch.isfinite(outputs["loss"]).all())
        ):
            raise RunError(
                f"the segmentation loss is NaN or infinite at step {self._done + batch_idx}"
            )


class _LossCurve(Hook):  # type: ignore[misc]
    """Keep the mean loss of stretches of equal length; no step waits for it."""

    def __init__(self, done: int, steps: int) -> None:
        self.points: list[LossPoint] = []
        self._done, self._sum = done, torch.zeros(())
        self._length = max(1, -(-steps // _STRETCHES))
        self._in_stretch = 0

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,  # noqa: ARG002
        outputs: Any = None,
    ) -> None:
        self._sum = self._sum.to(outputs["loss"].device) + outputs["loss"].detach().sum()
        self._in_stretch += 1
        if self._in_stretch < self._length and batch_idx + 1 < runner.max_iters:
            return
        mean = float(self._sum) / self._in_stretch
        lr = runner.optim_wrapper.get_lr()["lr"][0]
        self.points.append(LossPoint(self._done + batch_idx + 1, mean, lr))
        self._sum, self._in_stretch = torch.zeros_like(self._sum), 0


@OPTIM_WRAPPERS.register_module()
class Bfloat16OptimWrapper(OptimWrapper):  # type: ignore[misc]
    """Convolutions and products of a step in bfloat16, weights and update in float32.

    mmengine's ``AmpOptimWrapper`` needs a GPU and scales gradients, for float16; bfloat16 has the
    exponents of float32 and needs neither.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Run the forward pass of a step."""
        device = next(model.parameters()).device
        with super().optim_context(model), torch.autocast(device.type, dtype=torch.bfloat16):
            yield


class QuietRunner(Runner):  # type: ignore[misc]
    """A Runner that writes nothing, draws no weights of its own and keeps no open file."""

    def build_logger(self, *_: Any, **__: Any) -> MMLogger:
        """Return one logger for all trainings of this process.

        Warnings to standard error, no file.
        """
        return _logger()

    def build_visualizer(self, *_: Any, **__: Any) -> Any:
        """Return a visualizer that does nothing."""
        return _NoVisualizer()

    def wrap_model(self, _config: Any, model: nn.Module) -> nn.Module:
        """Leave the model on the device where it is; mmengine would move it to any GPU it finds."""
        return model

    def dump_config(self) -> None:
        """Write nothing."""

    def _log_env(self, env_cfg: Any) -> None:
        """Collect nothing: starting a compiler to ask for its version takes longer than a small training."""

    def _init_model_weights(self) -> None:
        """Keep the weights that were drawn from the seed."""


def with_length(scheduler: dict[str, Any], steps: int) -> dict[str, Any]:
    """Give a schedule the training's length, unless the config gives it one."""
    key = "total_steps" if scheduler["type"] == "OneCycleLR" else "end"
    return {key: steps, **scheduler, "by_epoch": False}


@functools.cache
def _temporary() -> Path:
    """Return a folder of this user's for empty work folders, which mmengine wants."""
    folder = Path(tempfile.gettempdir()) / f"harness-work-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def train(
    model: nn.Module,
    loader: DataLoader[Any],
    *,
    steps: int,
    optim_wrapper: dict[str, Any],
    param_scheduler: list[dict[str, Any]],
    seed: int,
    checkpoints: Checkpoints | None = None,
    state: dict[str, Any] | None = None,
    hooks: Sequence[dict[str, Any]] = (),
) -> list[LossPoint]:
    """Train a model in place for a number of steps; return its loss by stretches.

    A schedule whose config names no length (``total_steps`` or ``end``) spans the whole training.

    Args:
        checkpoints: where states are kept meanwhile; none without it.
        hooks: EMAHook; the model then ends with the averaged weights.
        state: of a checkpoint, to go on from; ``loader`` then gives the batches that are left.

    Raises:
        RunError: the loss is NaN or infinite.
    """
    done = state["step"] if state else 0
    curve = _LossCurve(done, steps)
    schedulers = [with_length(item, steps) for item in param_scheduler]
    name = f"harness-{os.getpid()}-{next(_NAMES)}"
    with draft_folder(_temporary(), "harness") as folder:
        runner = QuietRunner(
            model=model,
            work_dir=str(folder),
            train_dataloader=loader,
            train_cfg={
                "type": "IterBasedTrainLoop",
                "max_iters": steps - done,
                "val_interval": steps + 1,
            },
            optim_wrapper=optim_wrapper,
            param_scheduler=schedulers,
            default_hooks=dict.fromkeys(_UNUSED_HOOKS),
            custom_hooks=[
                _FiniteLoss(done),
                curve,
                *hooks,
                *([CheckpointHook(checkpoints, state)] if checkpoints else []),
            ],
            env_cfg={
                "mp_cfg": {"mp_start_method": multiprocessing.get_start_method()},
                "dist_cfg": {"backend": "nccl"},
            },
            default_scope="mmseg",
            randomness={"seed": seed % 2**31},
            experiment_name=name,
        )
        try:
            runner.train()
            for hook in runner.hooks:
                if isinstance(hook, EMAHook):
                    hook.before_test_epoch(runner)  # puts the averaged weights into the model
        finally:
            for manager in (MessageHub, DefaultScope):
                for key in [key for key in manager._instance_dict if key.startswith(name)]:  # noqa: SLF001
                    del manager._instance_dict[key]  # noqa: SLF001
    return curve.points
