"""One place for randomness.

Every generator comes from (seed, round, purpose), so nothing depends on what ran before.
"""

from __future__ import annotations

import zlib
from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What a stream of random numbers is for.

    Values are part of every published result: never renumber.
    """

    SEED_SET = 0
    WEIGHTS = 1
    CROPS = 2
    SCORES = 3
    COMMITTEE = 4
    COST_HEAD = 5
    SLIPS = 6


def sequence(
    seed: int, round_number: int, purpose: Purpose, detail: str = ""
) -> np.random.SeedSequence:
    """Return the seed sequence of one purpose; ``detail`` tells apart the images of a round.

    Choice: the seed set and the initial weights depend on the seed only (round 0), so strategies
    are paired by seed.
    """
    return np.random.SeedSequence([seed, round_number, int(purpose), zlib.crc32(detail.encode())])


def generator(
    seed: int, round_number: int, purpose: Purpose, detail: str = ""
) -> np.random.Generator:
    """Return a NumPy generator for one purpose."""
    return np.random.default_rng(sequence(seed, round_number, purpose, detail))


def nth_stream(key: np.random.SeedSequence, *place: int) -> np.random.Generator:
    """Return the generator of one place under a key: the same in whatever order places are asked."""
    return np.random.default_rng(np.random.SeedSequence(key.entropy, spawn_key=place))


def torch_seed(seed: int, round_number: int, purpose: Purpose, detail: str = "") -> int:
    """Return a 63-bit seed for a torch generator."""
    return int(sequence(seed, round_number, purpose, detail).generate_state(1, np.uint64)[0] >> 1)
