"""Measures that look around a pixel, at another view of it, or at what was bought before."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from harness.views import View


def ripu(view: View, radius: int = 1) -> Tensor:
    """Return region impurity x prediction uncertainty of every pixel (RIPU, arXiv 2111.12940).

    Impurity is the entropy of the predicted classes among the (2 radius + 1)^2 pixels around,
    uncertainty the mean entropy of the softmax there. Choice: pixels beyond the image do not count,
    and a window is worth the sum of its pixels.
    """
    side = 2 * radius + 1
    uncertain = view.logits.entropy().cpu().numpy()
    labels = view.prediction.cpu().numpy()
    area = _around(np.ones(labels.shape, np.float32), side)
    impurity = np.zeros(labels.shape, np.float32)
    for label in np.unique(labels):
        share = _around((labels == label).astype(np.float32), side) / area
        impurity -= share * np.log(share, where=share > 0, out=np.zeros_like(share))
    mean = _around(uncertain.astype(np.float32), side) / area
    return torch.from_numpy(np.maximum(impurity, 0.0) * np.maximum(mean, 0.0))


def _around(values: npt.NDArray[np.float32], side: int) -> npt.NDArray[np.float32]:
    """Sum a map over the square around each pixel, as far as it lies in the image."""
    sums = cv2.boxFilter(
        values, cv2.CV_32F, (side, side), normalize=False, borderType=cv2.BORDER_CONSTANT
    )
    return np.asarray(sums, np.float32)


def flip_inconsistency(view: View) -> Tensor:
    """Return how far the prediction of the mirrored image is from the mirrored prediction.

    Choice: the mean of both Kullback-Leibler divergences, in nats; EquAL (Golestaneh & Kitani,
    BMVC 2020, arXiv 2008.01860) compares softmax outputs of both.
    """
    made = []
    pairs = zip(view.logits.strips(), view.mirrored.strips(), strict=True)
    for (_, plain), (_, mirrored) in pairs:
        p, q = plain.log_softmax(0), mirrored.log_softmax(0)
        made.append(0.5 * ((p.exp() - q.exp()) * (p - q)).sum(0))
    return torch.cat(made).clamp(min=0.0)


def balanced_margin(view: View) -> Tensor:
    """Return P_second / P_first times exp(-share of the predicted class), in [0, 1].

    Best against second best, weighted towards rare classes (Cai et al., CVPR 2021). Choice: shares
    are those among the labels bought so far, which every pixel-wise measure may see.
    """
    weights = torch.exp(-view.class_shares).to(view.logits.values)
    made = []
    for _, logits in view.logits.strips():
        best = logits.topk(2, dim=0)
        made.append((best.values[1] - best.values[0]).exp() * weights[best.indices[0]])
    return torch.cat(made)


def rarity(view: View) -> Tensor:
    """Return how rare the predicted class of each pixel is: 1 / (share + 1/C), in (0, C].

    Choice: shares among the labels bought so far; 1/C keeps a class that nobody has bought from
    being worth everything.
    """
    shares = view.class_shares
    weights = 1.0 / (shares + 1.0 / len(shares))
    return weights[view.prediction.long().cpu()]
