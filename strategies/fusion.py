"""The three fusions of CEREALS (arXiv 1810.09726, section 3).

Scaled information and scaled cost to one score, in one new map: a map of every window of a large
image is tens of megabytes, and a further one costs as much as the arithmetic.

Both inputs lie in [0, 1], scaled over the whole pool; higher scores are asked for earlier. Each
fusion rises with the information and falls with the cost.
"""

from __future__ import annotations

import torch
from torch import Tensor

from harness.errors import InputError


def g1(information: Tensor, cost: Tensor) -> Tensor:
    """Return I / (1 + C), which lies in [I/2, I]."""
    price = 1.0 + cost
    return torch.div(information, price, out=price)


def g2(information: Tensor, cost: Tensor) -> Tensor:
    """Return (1 - C) I, which lies in [0, I]."""
    return (1.0 - cost).mul_(information)


def g3(information: Tensor, cost: Tensor, alpha: float = 0.5) -> Tensor:
    """Return alpha I + (1 - alpha)(1 - C).

    Alpha = 1 ranks by information alone, alpha = 0 asks the cheapest first.

    Raises:
        InputError: alpha outside [0, 1].
    """
    check_alpha(alpha)
    return (1.0 - cost).mul_(1.0 - alpha).add_(alpha * information)


def check_alpha(alpha: float) -> None:
    """Refuse a weight outside [0, 1]."""
    if not 0.0 <= alpha <= 1.0:
        raise InputError(f"alpha must be from 0 to 1, got {alpha}")
