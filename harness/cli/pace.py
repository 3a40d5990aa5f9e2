"""A short measurement on this machine, with the board's own recipe: seconds of each kind of work, and the memory of a worker."""

from __future__ import annotations

import functools
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from harness.acquisition import acquire
from harness.cli.workshop import build_trainer, oracle_of, rules_of, set_up_torch
from harness.config import ExperimentSpec
from harness.data.cityscapes import Split
from harness.loop import draw_seed_set
from harness.maps import MemoryMaps
from harness.pool import LabelledPool
from harness.protocols import Network, Strategy

_IMAGES = 4
_STEPS = 16
_LONG_S = 10.0
"""Choice: what took longer than this is not measured a second time."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds of one worker.

    step: of a training. beside_steps: what a training takes besides its steps. cost: training of a cost head. validated: one image.
    acquired: one image, by what a strategy asks of it (``kind_of``). memory_bytes: the most that this process has held so far.
    """

    step: float
    beside_steps: float
    cost: float
    validated: float
    acquired: dict[str, float]
    memory_bytes: int


def kind_of(strategy: Strategy) -> str:
    """Return what a strategy asks of an image: nothing, one pass, or a committee's."""
    if not strategy.needs_network:
        return "nothing"
    return "one pass" if strategy.measure is None or strategy.n_passes == 1 else "committee"


def measure(spec: ExperimentSpec, strategies: Sequence[Strategy], train: Split, val: Split) -> Pace:
    """Train, score and ask on a few images."""
    set_up_torch(spec.device)
    few, scored = train.only(list(train.files)[:_IMAGES]), val.only(list(val.files)[:_IMAGES])
    oracle, sizes, rules = oracle_of(spec, few), few.index.sizes, rules_of(spec)
    pool = LabelledPool(sizes)
    pool.add(oracle.annotate([candidate.region for candidate in draw_seed_set(sizes, 1, 0)], pool))

    def train_for(steps: int, *, with_cost: bool = False) -> Network:
        training = spec.training.model_copy(update={"steps": steps, "steps_per_image": 0, "max_steps": steps})
        return build_trainer(spec.model_copy(update={"training": training}), few, scored).fit(pool, 0, 0, with_cost=with_cost)

    def ask(strategy: Strategy) -> None:
        acquire(
            strategy,
            rules.window_px**2 if not strategy.whole_image else pool.total_px // len(sizes),
            pool=pool,
            predictor=network,
            oracle=oracle,
            rules=rules,
            cache=MemoryMaps(),
            rng_for=lambda _: np.random.default_rng(0),
        )

    learns = any(strategy.learns_cost for strategy in strategies)
    beside = _steady(lambda: train_for(2))
    step = beside / 2 if beside > _LONG_S else max((_steady(lambda: train_for(2 + _STEPS)) - beside) / _STEPS, 1e-6)
    cost = max(_steady(lambda: train_for(2, with_cost=True)) - beside, 0.0) if learns else 0.0
    network = train_for(2, with_cost=learns)
    validated = _seconds(network.evaluate) / len(scored.files)
    asked = {kind_of(strategy): strategy for strategy in strategies}
    acquired = {kind: _steady(functools.partial(ask, strategy)) / max(1, len(pool.open_ids)) for kind, strategy in asked.items()}
    return Pace(step, max(beside - 2 * step, 0.0), cost, validated, acquired, _peak_bytes())


def _seconds(work: Callable[[], object]) -> float:
    start = time.monotonic()
    work()
    return time.monotonic() - start


def _steady(work: Callable[[], object]) -> float:
    """Return the seconds of a piece of work; where it is short, the shorter of two times: the first is that of a cold start."""
    first = _seconds(work)
    return first if first > _LONG_S else min(first, _seconds(work))


def _peak_bytes() -> int:
    """Return the most memory that this process has held; the kernel counts in kibibytes, but on macOS."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
