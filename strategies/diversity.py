"""Second stages: among candidates, those that differ from each other and from what is labelled."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.context import QueryContext
from harness.types import Candidate, Region, Segment
from harness.views import View


def k_centre(candidates: list[Candidate], budget_px: int, context: QueryContext) -> list[Candidate]:
    """Choose greedily the window that is farthest from all chosen and labelled ones.

    Core-set (Sener & Savarese 2018, arXiv 1708.00489) on the mean features of a window. Choice:
    Euclidean distance at the backbone's last level; the plain greedy algorithm, without outliers.
    """
    found, bought = _embeddings(candidates, labelled_windows(candidates, context), context)
    distance = torch.full((len(found),), torch.inf, dtype=found.dtype)
    if len(bought):
        distance = torch.cdist(found, bought).min(dim=1).values
    chosen: list[Candidate] = []
    spent = 0
    while len(chosen) < len(candidates) and spent < budget_px:
        best = int(distance.argmax())
        chosen.append(candidates[best])
        spent += candidates[best].new_px
        distance = torch.minimum(distance, (found - found[best]).norm(dim=1))
        distance[best] = -1.0
    return chosen


def gradient_seeds(
    candidates: list[Candidate], budget_px: int, context: QueryContext
) -> list[Candidate]:
    """Draw windows by k-means++ on the gradients that their predicted labels would give.

    BADGE (Ash et al. 2020, arXiv 1906.03671): g = (P - onehot(argmax P)) x h, the gradient of the
    cross-entropy in the last layer if the predicted class were the label; long where the network is
    unsure. Each next window is drawn in proportion to its squared distance from the nearest drawn
    one.

    Choice: P - onehot is the mean over a window's pixels at the network's stride, h the mean of the
    backbone's last level; a window's g is the outer product of both means, not the mean of outer
    products. So |g - g'|^2 = |r|^2 |h|^2 + |r'|^2 |h'|^2 - 2 <r, r'> <h, h'>, and no g is ever
    made: n candidates take n (C + c) numbers. Choice: the longest gradient comes first, as in the
    authors' code. Choice: where all that are left equal a drawn one, they follow by their rank.
    """
    if not candidates:
        return []
    found = context.of_each([item.region for item in candidates], _gradient_factors)
    residuals = torch.stack([residual for residual, _ in found])
    embeddings = torch.stack([embedding for _, embedding in found])
    own = residuals.square().sum(1) * embeddings.square().sum(1)
    nearest, spent = own, 0
    chosen: list[Candidate] = []
    waiting = torch.ones(len(found), dtype=torch.bool)
    while spent < budget_px and len(chosen) < len(candidates):
        drawn = _drawn(nearest * waiting, waiting, context.rng) if chosen else int(own.argmax())
        shared = (residuals @ residuals[drawn]) * (embeddings @ embeddings[drawn])
        distance = own + own[drawn] - 2.0 * shared
        distance[distance <= 1e-12 * (own + own[drawn])] = 0.0  # rounding is no distance
        nearest = torch.minimum(nearest, distance) if chosen else distance
        waiting[drawn] = False
        chosen.append(candidates[drawn])
        spent += candidates[drawn].new_px
    return chosen


def _gradient_factors(view: View, region: Region) -> tuple[Tensor, Tensor]:
    """Return the (C,) mean of P - onehot(argmax P) under a region and its (c,) embedding."""
    p = view.under(region, view.logits.values).flatten(1).double().softmax(0)
    winners = torch.nn.functional.one_hot(p.argmax(0), len(p)).T
    return (p - winners).mean(1).cpu(), view.embedding(region).double().cpu()


def _drawn(weights: Tensor, waiting: Tensor, rng: np.random.Generator) -> int:
    """Draw a number in proportion to the weights; the first that waits where all are 0."""
    total = float(weights.sum())
    if total <= 0.0:
        return int(waiting.int().argmax())
    return int(rng.choice(len(weights), p=(weights / total).numpy()))


_NEIGHBOURS = 20
_ROUNDS = 20


def typical(candidates: list[Candidate], budget_px: int, context: QueryContext) -> list[Candidate]:
    """Choose the most typical window of each cluster that holds no labelled one, the largest first.

    TypiClust (Hacohen, Dekel & Weinshall 2022, arXiv 2202.02794): clusters of k-means on
    embeddings, as many as there are labelled windows and windows to buy; typicality is one over the
    mean distance to the nearest neighbours within the cluster. Choice: 20 neighbours and, as there
    is no self-supervised network here, the backbone's features of length 1; when every cluster
    holds a chosen window, the next round over the clusters begins.
    """
    windows = labelled_windows(candidates, context)
    found, bought = (_of_length_one(part) for part in _embeddings(candidates, windows, context))
    mean_px = sum(item.new_px for item in candidates) // len(candidates)
    wanted = max(1, budget_px // max(1, mean_px))
    together = torch.cat([found, bought]) if len(bought) else found
    count = min(len(together), len(bought) + wanted)
    clusters = _k_means(together, count, context.rng)
    labelled = np.bincount(clusters[len(found) :], minlength=count)
    own = clusters[: len(found)]
    order = {label: _by_typicality(found, np.flatnonzero(own == label)) for label in range(count)}
    sizes = np.bincount(own, minlength=count)
    ranking = sorted(range(count), key=lambda label: (labelled[label], -sizes[label], label))
    chosen: list[Candidate] = []
    spent = 0
    for turn in range(max(map(len, order.values()), default=0)):
        for label in ranking:
            if spent >= budget_px:
                return chosen
            if turn < len(order[label]):
                chosen.append(candidates[order[label][turn]])
                spent += chosen[-1].new_px
    return chosen


def spread_over_images(
    candidates: list[Candidate], budget_px: int, context: QueryContext
) -> list[Candidate]:
    """Choose by falling score, one window of each image, then a second of each, and so on.

    Diversity across images, after the finding that queries which pile up in a few images waste
    labels (nnActive, arXiv 2411.19644). It needs no features.
    """
    del context
    chosen: list[Candidate] = []
    spent, taken = 0, {item.region.image_id: 0 for item in candidates}
    waiting = list(candidates)
    turn = 0
    while waiting and spent < budget_px:
        later = []
        for item in waiting:
            if taken[item.region.image_id] == turn and spent < budget_px:
                taken[item.region.image_id] += 1
                chosen.append(item)
                spent += item.new_px
            else:
                later.append(item)
        waiting, turn = later, turn + 1
    return chosen


def spatially_diverse(
    candidates: list[Candidate],
    budget_px: int,
    context: QueryContext,
    within: float = 0.5,
    across: float = 0.5,
) -> list[Candidate]:
    """Choose greedily by score, less closeness to windows of the image and likeness to other ones.

    Gain = I - within max exp(-d / w) - across max(0, max cos), over all windows that are chosen or
    labelled: those of the same image, d pixels away between centres, with w the window's side; and
    those of other images, with the cosine of embeddings. Both terms lie in [0, 1], as I does.

    Spatial diversity beside uncertainty and diversity of features in one objective is Cai, Xu,
    Zhang & Foo, "Exploring Spatial Diversity for Region-based Active Learning", IEEE Transactions
    on Image Processing 30, 2021 (arXiv 2507.17367), for superpixels. Choice: only its idea; this
    formula, its weights and its greedy maximum are ours. Choice: embeddings are those of the
    backbone's last level less their mean over the candidates, as they would all be alike otherwise.
    """
    if not candidates:
        return []
    labelled = labelled_windows(candidates, context)
    found, bought = _embeddings(candidates, labelled, context)
    middle = found.mean(0)
    found = _of_length_one(found - middle)
    bought = _of_length_one(bought - middle) if len(bought) else bought
    regions = [item.region for item in candidates]
    images = np.array([region.image_id for region in regions])
    centres = torch.stack([_centre(region) for region in regions])
    sides = torch.tensor([float(region.area_px) for region in regions]).double().sqrt()
    closeness, likeness = torch.zeros(len(found)).double(), torch.zeros(len(found)).double()

    def keep_off(region: Region, embedding: Tensor) -> None:
        is_same = torch.from_numpy(images == region.image_id)
        close = (-(centres - _centre(region)).norm(dim=1) / sides).exp()
        torch.maximum(closeness, close * is_same, out=closeness)
        torch.maximum(likeness, (found @ embedding) * ~is_same, out=likeness)

    for region, embedding in zip(labelled, bought, strict=True):
        keep_off(region, embedding)
    scores = torch.tensor([item.score for item in candidates], dtype=torch.float64)
    chosen: list[Candidate] = []
    spent = 0
    while len(chosen) < len(candidates) and spent < budget_px:
        best = int((scores - within * closeness - across * likeness).argmax())
        chosen.append(candidates[best])
        spent += candidates[best].new_px
        scores[best] = -torch.inf
        keep_off(regions[best], found[best])
    return chosen


def _centre(region: Region) -> Tensor:
    """Return the (y, x) in the middle of a region, in pixels."""
    return torch.tensor(
        [region.top + region.height / 2, region.left + region.width / 2], dtype=torch.float64
    )


def _embeddings(
    candidates: list[Candidate], labelled: list[Region], context: QueryContext
) -> tuple[Tensor, Tensor]:
    found = context.embeddings([item.region for item in candidates]).double()
    return found, context.embeddings(labelled).double()


def labelled_windows(candidates: list[Candidate], context: QueryContext) -> list[Region]:
    """List all that is labelled in windows no larger than the candidates.

    Choice: a labelled image counts as the windows that tile it, what is left at its rim included:
    one mean over a whole image is near to none of its windows, so that they would seem new.
    """
    regions = [item.region for item in candidates]
    areas = [region.area_px for region in regions]
    if not areas:
        return context.labelled
    side = max(1, round((sum(areas) / len(areas)) ** 0.5))
    first = regions[0]
    size = (side, side) if isinstance(first, Segment) else (first.height, first.width)
    return [part for region in context.labelled for part in _tiles(region, *size)]


def _tiles(region: Region, height: int, width: int) -> list[Region]:
    """Cut a rectangle into windows; a superpixel, or what is no larger than one, stays whole."""
    if isinstance(region, Segment) or (region.height <= height and region.width <= width):
        return [region]
    return [
        Region(
            region.image_id,
            region.top + top,
            region.left + left,
            min(height, region.height - top),
            min(width, region.width - left),
        )
        for top in range(0, region.height, height)
        for left in range(0, region.width, width)
    ]


def _of_length_one(values: Tensor) -> Tensor:
    length: Tensor = values.norm(dim=1, keepdim=True)
    return values / length.clamp(min=1e-12)


def _k_means(points: Tensor, count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return the cluster of each point: Lloyd's algorithm from k-means++ seeds."""
    centres = [int(rng.integers(len(points)))]
    nearest = (points - points[centres[0]]).square().sum(1)
    while len(centres) < count:
        weights = nearest.numpy()
        total = weights.sum()
        drawn = int(rng.choice(len(points), p=weights / total)) if total > 0 else len(centres)
        centres.append(drawn)
        nearest = torch.minimum(nearest, (points - points[drawn]).square().sum(1))
    middle = points[centres]
    clusters = torch.cdist(points, middle).argmin(1)
    for _ in range(_ROUNDS):
        sums = torch.zeros_like(middle).index_add_(0, clusters, points)
        sizes = torch.bincount(clusters, minlength=count)
        middle = torch.where(sizes[:, None] > 0, sums / sizes.clamp(min=1)[:, None], middle)
        moved = torch.cdist(points, middle).argmin(1)
        if torch.equal(moved, clusters):
            break
        clusters = moved
    return clusters.numpy()


def _by_typicality(points: Tensor, members: npt.NDArray[np.int64]) -> list[int]:
    """Return a cluster's members, the most typical first."""
    if not len(members):
        return []
    distance = torch.cdist(points[members], points[members])
    neighbours = min(_NEIGHBOURS, len(members) - 1)
    if neighbours:
        mean = distance.topk(neighbours + 1, largest=False).values[:, 1:].mean(1)
    else:
        mean = torch.zeros(len(members))
    return [int(members[place]) for place in mean.argsort(stable=True)]
