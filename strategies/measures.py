"""Information measures: a prediction of one unlabelled image to an (H, W) map in nats per pixel."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.types import Prediction


def entropy(prediction: Prediction) -> Tensor:
    """Return -sum_c P_c ln P_c of the softmax, in [0, ln C] (CEREALS, section 3.1).

    Args:
        prediction: its first pass is used, (C, H, W) probabilities.

    Returns:
        (H, W), the dtype of the probabilities; exactly 0 where one class has probability 1.
    """
    probabilities = next(prediction.passes)
    return -torch.xlogy(probabilities, probabilities).sum(0).clamp(max=0.0)


def vote_entropy(prediction: Prediction) -> Tensor:
    """Return -sum_c (v_c / E) ln (v_c / E), where v_c of the E committee members vote for class c (CEREALS, section 3.1).

    Args:
        prediction: E passes of (C, H, W) probabilities, seen one at a time; the votes are counted in place as integers.

    Returns:
        (H, W) float64, in [0, ln min(E, C)].

    Raises:
        ValueError: no pass.
    """
    votes: Tensor | None = None
    members = 0
    for probabilities in prediction.passes:
        if votes is None:
            votes = torch.zeros(probabilities.shape, dtype=torch.int16, device=probabilities.device)
        winner = probabilities.max(0, keepdim=True).indices  # several times faster than argmax over the leading axis
        votes.scatter_add_(0, winner, torch.ones_like(winner, dtype=torch.int16))
        members += 1
    if votes is None:
        raise ValueError("a committee has no member; allowed: one or more passes")
    shares = votes.to(torch.float64) / members
    return -torch.xlogy(shares, shares).sum(0).clamp(max=0.0)
