"""A short measurement on this machine, with the board's own recipe.

Seconds of each kind of work, and the memory of a worker.
"""

from __future__ import annotations

import functools
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.acquisition import acquire
from harness.config import ExperimentSpec
from harness.data.cityscapes import Split
from harness.experiment import build_trainer, oracle_of, rules_of, set_up_torch
from harness.loop import draw_seed_set
from harness.maps import MemoryMaps, QueryRules, requests_of
from harness.pool import LabelledPool
from harness.protocols import Strategy
from harness.superpixels import Superpixels

if TYPE_CHECKING:
    from harness.segmentor.trainer import SegmentorTrainer

_IMAGES = 4
_STEPS = 16
_LONG_S = 10.0
"""Choice: what took longer than this is not measured a second time."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Seconds of one worker.

    step: of a training. beside_steps: what a training takes besides its steps. cost: training of a
    cost head. validated: one image. acquired: one image, by what a strategy asks of it
    (``kind_of``). memory_bytes: the most that this process has held so far. feature_bytes: of one
    image's backbone features.
    """

    step: float
    beside_steps: float
    cost: float
    validated: float
    acquired: dict[str, float]
    memory_bytes: int
    feature_bytes: int


def kind_of(strategy: Strategy) -> str:
    """Return what a strategy asks of an image: nothing, one pass, or a committee's."""
    if not strategy.needs_network:
        return "nothing"
    return "committee" if strategy.asks_committee else "one pass"


def measure(
    spec: ExperimentSpec,
    strategies: Sequence[Strategy],
    train: Split,
    val: Split,
    *,
    deterministic: bool = True,
) -> Profile:
    """Train, score and ask on a few images.

    The steps have no schedule, whose length is the board's.
    """
    set_up_torch(spec.device, deterministic=deterministic)
    few, scored = train.only(list(train.files)[:_IMAGES]), val.only(list(val.files)[:_IMAGES])
    superpixels = Superpixels(few.photo)
    oracle, sizes = oracle_of(spec, few, superpixels), few.index.sizes
    rules = rules_of(spec, superpixels)
    pool = LabelledPool(sizes)
    pool.add(oracle.annotate([candidate.region for candidate in draw_seed_set(sizes, 1, 0)], pool))
    learns = any(strategy.learns_cost for strategy in strategies)

    def trainer(steps: int) -> SegmentorTrainer:
        training = spec.training.model_copy(
            update={"steps": steps, "steps_per_image": 0, "max_steps": steps}
        )
        return build_trainer(
            spec.model_copy(update={"training": training, "param_scheduler": []}), few, scored
        )

    def train_for(steps: int, *, with_cost: bool = False) -> float:
        made = trainer(steps)
        return _steady(lambda: made.fit(pool, 0, 0, with_cost=with_cost))

    def ask(strategy: Strategy) -> float:
        budget_px = (
            max(height * width for height, width in sizes.values())
            if strategy.whole_image
            else max(rules.window_px**2, rules.superpixel_px(strategy))
        )
        asking = functools.partial(
            acquire,
            strategy,
            budget_px,
            pool=pool,
            predictor=network,
            oracle=oracle,
            rules=rules,
            rng_for=_rng_for,
        )
        return _steady(lambda: asking(cache=MemoryMaps())) / max(1, len(pool.open_ids))

    beside = train_for(2)
    step = beside / 2 if beside > _LONG_S else max((train_for(2 + _STEPS) - beside) / _STEPS, 1e-6)
    cost = max(train_for(2, with_cost=True) - beside, 0.0) if learns else 0.0
    made = trainer(2)
    validated = _steady(lambda: made.fit(pool, 0, 0, with_cost=learns).evaluate()) - beside - cost
    network = made.fit(pool, 0, 0, with_cost=learns)
    acquired: dict[str, float] = {}
    for strategy in _one_of_each(strategies, rules):
        acquired[kind_of(strategy)] = max(ask(strategy), acquired.get(kind_of(strategy), 0.0))
    return Profile(
        step,
        max(beside - 2 * step, 0.0),
        cost,
        max(validated, 0.0) / len(scored.files),
        acquired,
        _peak_bytes(),
        made.feature_bytes(max(sizes.values())) if spec.training.frozen_trunk else 0,
    )


def _rng_for(_image_id: str) -> np.random.Generator:
    return np.random.default_rng(0)


def _one_of_each(strategies: Sequence[Strategy], rules: QueryRules) -> list[Strategy]:
    """Return one strategy for each set of maps that is asked for."""
    return list(
        {
            (kind_of(strategy), requests_of(strategy, rules)): strategy for strategy in strategies
        }.values()
    )


def _seconds(work: Callable[[], object]) -> float:
    start = time.monotonic()
    work()
    return time.monotonic() - start


def _steady(work: Callable[[], object]) -> float:
    """Return the seconds of a piece of work.

    Where it is short, the shorter of two times: the first is that of a cold start.
    """
    first = _seconds(work)
    return first if first > _LONG_S else min(first, _seconds(work))


def _peak_bytes() -> int:
    """Return the most memory that this process has held.

    The kernel counts in kibibytes, but on macOS.
    """
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )
