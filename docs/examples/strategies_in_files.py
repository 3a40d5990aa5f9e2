"""Five strategies in one file: each as `--strategies docs/examples/strategies_in_files.py:NAME`."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from harness.protocols import Strategy


def margin_map(view):
    """1 - (p of the best class - p of the second) of every pixel."""
    best = view.probabilities.topk(2, dim=0).values
    return 1.0 - (best[0] - best[1])


def by_information(information, cost, rng):
    """Windows with the largest sum first."""
    return information


def margin() -> Strategy:
    """Margin (Scheffer et al. 2001)."""
    return Strategy(
        "my-margin", "windows by margin", "sum 1 - (p1 - p2)", margin_map, by_information
    )


def bald_map(view):
    """Mutual information of the label and the weights (Houlsby et al. 2011), from the committee's passes."""
    mean, entropies, members = 0.0, 0.0, 0
    for scores in view.passes:
        p = scores.probabilities() if hasattr(scores, "probabilities") else scores
        mean, entropies, members = mean + p, entropies - torch.xlogy(p, p).sum(0), members + 1
    mean = mean / members
    return (-torch.xlogy(mean, mean).sum(0) - entropies / members).clamp(min=0.0)


def bald(passes: int = 8) -> Strategy:
    """BALD with committees of so many members."""
    return Strategy(
        "my-bald", "windows by BALD", "sum I(y; w)", bald_map, by_information, n_passes=passes
    )


def balanced_map(view):
    """Entropy times how rare the predicted class is among the labels bought so far."""
    rarity = 1.0 / (view.class_shares + 0.01)
    return view.logits.entropy() * (rarity / rarity.mean())[view.prediction.long()].float()


def balanced() -> Strategy:
    """Class-balanced uncertainty (after Cai et al., CVPR 2021)."""
    return Strategy(
        "my-balanced",
        "windows by entropy of rare classes",
        "sum w_c H",
        balanced_map,
        by_information,
    )


def impurity_map(view):
    """Entropy of the predicted classes within 3 x 3 pixels (RIPU, arXiv 2111.12940)."""
    classes = F.one_hot(view.prediction.long()).permute(2, 0, 1).float()
    shares = F.avg_pool2d(classes[None], 3, stride=1, padding=1)[0]
    return -torch.xlogy(shares, shares).sum(0).clamp(max=0.0)


def entropy_map(view):
    """Entropy of the softmax."""
    return view.logits.entropy()


def impurity_times_uncertainty(maps, rng):
    """The product of both, each scaled over the pool."""
    return maps["impurity"] * maps["uncertainty"]


def ripu() -> Strategy:
    """Region impurity x prediction uncertainty."""
    return Strategy(
        "my-ripu",
        "windows that are impure and uncertain",
        "P U",
        maps={"impurity": impurity_map, "uncertainty": entropy_map},
        score=impurity_times_uncertainty,
    )


def spread_out(candidates, budget_px, context):
    """k-centre greedy (Sener & Savarese 2018): each next window is the farthest from all before it."""
    found = context.embeddings([item.region for item in candidates])
    bought = context.embeddings(context.labelled)
    distance = torch.cdist(found, bought).min(dim=1).values
    chosen = []
    while len(chosen) < len(candidates) and sum(item.new_px for item in chosen) < budget_px:
        best = int(distance.argmax())
        chosen.append(candidates[best])
        distance = torch.minimum(distance, (found - found[best]).norm(dim=1))
        distance[best] = -1.0
    return chosen


def coreset() -> Strategy:
    """Core-set on mean features, among the most uncertain windows."""
    return Strategy(
        "my-coreset",
        "windows far from all labelled ones",
        "k-centre",
        entropy_map,
        by_information,
        select=spread_out,
        considered=5,
    )
