"""Information measures: a prediction of one unlabelled image to an (H, W) map in nats per pixel."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.logits import Logits
from harness.views import View
from harness.votes import Votes


def entropy(prediction: View) -> Tensor:
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


def vote_entropy(prediction: View) -> Tensor:
    """Return -sum_c (v_c / E) ln (v_c / E), where v_c of the E committee members vote for class c (CEREALS, section 3.1).

    Args:
        prediction: E passes, seen one at a time; the votes are counted in place as integers.

    Returns:
        (H, W) float64, in [0, ln min(E, C)].

    Raises:
        ValueError: no pass, or more than 255.
    """
    votes = Votes()
    for scores in prediction.passes:
        votes.add(scores)
    return votes.entropy()
