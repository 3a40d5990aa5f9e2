"""What a board can tell apart: spread over seeds, and the signal-to-noise ratio of the instrument."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def mean_std(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean and the sample standard deviation (n - 1); the latter is None below two values."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None


def signal_to_noise(full_data: Sequence[float], seed_set: Sequence[float], random_region: Sequence[float]) -> float | None:
    """Return (full-data mIoU - seed-set mIoU) / standard deviation of random-region over seeds at the last round.

    None where fewer than two random runs make the noise unknown, or where it is zero.
    """
    _, noise = mean_std(random_region) if random_region else (math.nan, None)
    if not full_data or not seed_set or not noise:
        return None
    return (float(np.mean(full_data)) - float(np.mean(seed_set))) / noise
