"""A training that was killed goes on at its last checkpoint, to the same weights."""

from __future__ import annotations

import hashlib
import io
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import EMAHook, Hook
from mmengine.runner import Runner

from harness.files import atomic_write

_MAGIC = b"HCK1"
_PLAIN = (int, float, str, bool, list, type(None))
EVERY_S = 30.0


@dataclass(slots=True)
class Checkpoints:
    """The checkpoints of one training.

    The newest, and the one before it in case the newest is damaged.

    Each is a magic word, the SHA-256 of the rest, and a torch file that is read with weights only.
    ``folder`` belongs to exactly one training: same labels, seed, round, recipe and data.
    """

    folder: Path
    every_s: float = field(default_factory=lambda: EVERY_S)

    @property
    def _newest(self) -> Path:
        return self.folder / "training.ckpt"

    @property
    def _older(self) -> Path:
        return self.folder / "training-before.ckpt"

    def latest(self) -> dict[str, Any] | None:
        """Return the state of the last good checkpoint; None where there is none.

        A damaged one is said on standard error.
        """
        for path in (self._newest, self._older):
            if not path.exists():
                continue
            try:
                return _open(path.read_bytes())
            except ValueError as error:
                print(
                    f"harness: {path}: {error}; going on with what came before it", file=sys.stderr
                )
        return None

    def keep(self, state: dict[str, Any]) -> None:
        """Write a checkpoint; the one before it is kept until the next."""
        buffer = io.BytesIO()
        torch.save(state, buffer)
        with atomic_write(self._newest) as draft:
            draft.write_bytes(
                _MAGIC + hashlib.sha256(buffer.getbuffer()).digest() + buffer.getbuffer()
            )
            if self._newest.exists():
                os.replace(self._newest, self._older)


def _open(content: bytes) -> dict[str, Any]:
    digest, payload = content[len(_MAGIC) : len(_MAGIC) + 32], content[len(_MAGIC) + 32 :]
    if not content.startswith(_MAGIC) or hashlib.sha256(payload).digest() != digest:
        raise ValueError("a damaged checkpoint")
    state: dict[str, Any] = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    return state


class CheckpointHook(Hook):  # type: ignore[misc]
    """Puts back a state before the first step, and keeps one every few seconds after a step is done in full.

    A state is the number of steps done, weights and running statistics (averaged ones too), the
    optimizer's and the schedules' state, and the random states that a step draws from: torch's, on
    the CPU and on the GPU. (Crops come from numbered streams of their own.)
    """

    priority = "VERY_LOW"  # after the schedules have stepped

    def __init__(self, checkpoints: Checkpoints, state: dict[str, Any] | None) -> None:
        self._checkpoints, self._state = checkpoints, state
        self._start = state["step"] if state else 0
        self._kept = time.monotonic()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:  # noqa: ARG002
        """Put the state back: after the first batch is read, since a loader that starts draws a number of its own."""
        if self._state is None:
            return
        runner.model.load_state_dict(self._state["model"])
        runner.optim_wrapper.load_state_dict(self._state["optimizer"])
        for scheduler, values in zip(
            runner.param_schedulers, self._state["schedules"], strict=True
        ):
            scheduler.__dict__.update(values)
        for averaged, values in zip(
            _averages(runner), self._state.get("averages", []), strict=True
        ):
            averaged.load_state_dict(values)
        torch.set_rng_state(self._state["random"])
        if self._state["random_cuda"] is not None:
            torch.cuda.set_rng_state(self._state["random_cuda"], _device_of(runner))
        self._state = None

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,  # noqa: ARG002
        outputs: Any = None,  # noqa: ARG002
    ) -> None:
        """Keep a state when it is time."""
        if (
            batch_idx + 1 == runner.max_iters
            or time.monotonic() - self._kept < self._checkpoints.every_s
        ):
            return
        self._checkpoints.keep(
            {
                "step": self._start + batch_idx + 1,
                "model": runner.model.state_dict(),
                "optimizer": runner.optim_wrapper.state_dict(),
                "schedules": [
                    {
                        key: value
                        for key, value in scheduler.__dict__.items()
                        if isinstance(value, _PLAIN)
                    }
                    for scheduler in runner.param_schedulers
                ],
                "averages": [averaged.state_dict() for averaged in _averages(runner)],
                "random": torch.get_rng_state(),
                "random_cuda": torch.cuda.get_rng_state(_device_of(runner))
                if _device_of(runner).type == "cuda"
                else None,
            }
        )
        self._kept = time.monotonic()


def _averages(runner: Runner) -> list[Any]:
    """Return the averaged weights that a training keeps beside its own."""
    return [hook.ema_model for hook in runner.hooks if isinstance(hook, EMAHook)]


def _device_of(runner: Runner) -> torch.device:
    device: torch.device = next(runner.model.parameters()).device
    return device
