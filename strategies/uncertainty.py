"""Uncertainty of one prediction or of a committee, per pixel: (H, W) maps that windows sum up.

They read probabilities a few rows at a time: neither C x H x W nor E x C x H x W is ever held.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from harness.logits import Logits
from harness.views import View


def least_confidence(view: View) -> Tensor:
    """Return 1 - max_c P_c, in [0, 1 - 1/C] (Lewis & Gale 1994)."""
    return torch.cat([1.0 - p.amax(0) for p in _rows_of(next(view.passes))])


def margin(view: View) -> Tensor:
    """Return 1 - (P_first - P_second), in [0, 1] (Scheffer, Decomain & Wrobel 2001)."""
    made = []
    for p in _rows_of(next(view.passes)):
        best = p.topk(2, dim=0).values
        made.append(1.0 - (best[0] - best[1]))
    return torch.cat(made)


def bald(view: View) -> Tensor:
    """Return H(mean_e P_e) - mean_e H(P_e), in [0, ln E].

    The mutual information of label and weights.

    Houlsby et al. 2011 (arXiv 1112.5745); with Monte-Carlo dropout Gal, Islam & Ghahramani 2017
    (arXiv 1703.02910).
    """
    members = _members(view)
    made = []
    for rows in zip(*(_rows_and_entropy(member) for member in members), strict=True):
        mean, within = rows[0][0].clone(), rows[0][1].clone()
        for p, entropy in rows[1:]:
            mean += p
            within += entropy
        mean /= len(members)
        made.append((_entropy(mean) - within / len(members)).clamp(min=0.0))
    return torch.cat(made)


def variation_ratio(view: View) -> Tensor:
    """Return 1 - v / E with v the votes of the most frequent class, in [0, 1) (Freeman 1965)."""
    made = []
    for members in _committee_rows(view):
        votes = torch.zeros_like(members[0])
        one = torch.ones((), dtype=votes.dtype, device=votes.device)
        for p in members:
            winner = p.max(0, keepdim=True).indices
            votes.scatter_add_(0, winner, one.expand(winner.shape))
        made.append(1.0 - votes.amax(0) / len(members))
    return torch.cat(made)


def mean_deviation(view: View) -> Tensor:
    """Return the mean over classes of the standard deviation of P_c over members, in [0, 1/2].

    Kampffmeyer, Salberg & Jenssen 2016; Kendall, Badrinarayanan & Cipolla 2015 (arXiv 1511.02680).
    """
    rows = _committee_rows(view)
    return torch.cat([torch.stack(members).std(0, correction=0).mean(0) for members in rows])


def _entropy(p: Tensor) -> Tensor:
    return -torch.xlogy(p, p).sum(0)


def _rows_of(scores: Logits | Tensor) -> Iterator[Tensor]:
    """Yield (C, rows, W) class probabilities from top to bottom."""
    if isinstance(scores, Logits):
        for _, logits in scores.strips():
            yield logits.softmax(0)
    else:
        yield scores


def _rows_and_entropy(scores: Logits | Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (C, rows, W) probabilities and their (rows, W) entropy, without a log per class."""
    if not isinstance(scores, Logits):
        yield scores, _entropy(scores)
        return
    for _, logits in scores.strips():
        shifted = logits - logits.amax(0)
        p = shifted.exp()
        total = p.sum(0)
        p /= total
        yield p, total.log() - (p * shifted).sum(0)


def _members(view: View) -> list[Logits | Tensor]:
    """Return a committee's members, at the network's stride.

    Raises:
        ValueError: no pass.
    """
    members = list(view.passes)
    if not members:
        raise ValueError("a committee must have one pass or more, got none")
    return members


def _committee_rows(view: View) -> Iterator[list[Tensor]]:
    """Yield the same rows of every member."""
    for rows in zip(*(_rows_of(member) for member in _members(view)), strict=True):
        yield list(rows)
