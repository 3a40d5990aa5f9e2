"""Information measures: a prediction of one unlabelled image to an (H, W) map in nats per pixel."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.logits import Logits
from harness.types import Prediction

LARGEST_COMMITTEE = 255
"""Votes are counted in bytes."""


def entropy(prediction: Prediction) -> Tensor:
    """Return -sum_c P_c ln P_c of the softmax, in [0, ln C] (CEREALS, section 3.1).

    Args:
        prediction: its first pass is used.

    Returns:
        (H, W), the dtype of the probabilities; exactly 0 where one class has probability 1.
    """
    probabilities = next(prediction.passes)
    if isinstance(probabilities, Logits):
        return probabilities.entropy()
    return -torch.xlogy(probabilities, probabilities).sum(0).clamp(max=0.0)


def vote_entropy(prediction: Prediction) -> Tensor:
    """Return -sum_c (v_c / E) ln (v_c / E), where v_c of the E committee members vote for class c (CEREALS, section 3.1).

    Args:
        prediction: E passes, seen one at a time; the votes are counted in place as integers.

    Returns:
        (H, W) float64, in [0, ln min(E, C)].

    Raises:
        ValueError: no pass, or more than 255.
    """
    votes: Tensor | None = None
    members = 0
    for scores in prediction.passes:
        # max is several times faster than argmax over the leading axis
        winner, classes = (scores.winners(), len(scores.values)) if isinstance(scores, Logits) else (scores.max(0).indices, len(scores))
        if votes is None:
            votes = torch.zeros((classes, *winner.shape), dtype=torch.uint8, device=winner.device)
            one = torch.ones((1, *winner.shape), dtype=torch.uint8, device=winner.device)
        members += 1
        if members > LARGEST_COMMITTEE:
            raise ValueError(f"a committee has more than {LARGEST_COMMITTEE} members; allowed: 1 to {LARGEST_COMMITTEE}")
        votes.scatter_add_(0, winner[None].long(), one)
    if votes is None:
        raise ValueError("a committee has no member; allowed: one or more passes")
    shares = torch.arange(members + 1, dtype=torch.float64, device=votes.device) / members
    term = -torch.xlogy(shares, shares)
    disagreement = torch.zeros(votes.shape[1:], dtype=torch.float64, device=votes.device)
    for count in votes:
        disagreement += term[count.long()]
    return disagreement.clamp_(min=0.0)
