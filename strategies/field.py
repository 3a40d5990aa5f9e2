"""What the field compares against: uncertainty, committees, regions, balance, diversity."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from harness.protocols import Measure, Strategy
from strategies import diversity, metabox, neighbourhood, uncertainty
from strategies.baselines import chance, information_alone
from strategies.measures import entropy
from strategies.parameters import Considered, Passes, Tolerance, Weight

Radius = Annotated[int, Field(ge=1, le=64)]


def _by(
    name: str,
    words: str,
    letters: str,
    measure: Measure,
    *,
    whole_image: bool = False,
    passes: int | None = 1,
) -> Strategy:
    what = "whole images" if whole_image else "windows"
    return Strategy(
        f"{name}-image" if whole_image else name,
        f"{what} by {words}",
        f"I, I = sum {letters}",
        measure,
        information_alone,
        n_passes=passes,
        whole_image=whole_image,
    )


_CONFIDENCE = ("least-confidence", "least confidence", "1 - max P", uncertainty.least_confidence)
_MARGIN = ("margin", "margin", "1 - (P1 - P2)", uncertainty.margin)
_BALD = (
    "bald",
    "mutual information of label and weights",
    "H(mean P) - mean H(P)",
    uncertainty.bald,
)
_RATIO = ("variation-ratio", "how few members agree", "1 - v / E", uncertainty.variation_ratio)
_DEVIATION = (
    "mean-deviation",
    "deviation of the members' probabilities",
    "mean std P",
    uncertainty.mean_deviation,
)


def least_confidence() -> Strategy:
    """Windows by 1 - the highest probability (Lewis & Gale 1994)."""
    return _by(*_CONFIDENCE)


def least_confidence_image() -> Strategy:
    """Whole images by 1 - the highest probability."""
    return _by(*_CONFIDENCE, whole_image=True)


def margin() -> Strategy:
    """Windows by how close the two best classes are (Scheffer et al. 2001)."""
    return _by(*_MARGIN)


def margin_image() -> Strategy:
    """Whole images by how close the two best classes are."""
    return _by(*_MARGIN, whole_image=True)


def bald(passes: Passes = None) -> Strategy:
    """Windows by BALD (Houlsby et al. 2011; Gal et al. 2017)."""
    return _by(*_BALD, passes=passes)


def bald_image(passes: Passes = None) -> Strategy:
    """Whole images by BALD."""
    return _by(*_BALD, whole_image=True, passes=passes)


def variation_ratio(passes: Passes = None) -> Strategy:
    """Windows by the share of members that do not vote for the winner (Freeman 1965)."""
    return _by(*_RATIO, passes=passes)


def mean_deviation(passes: Passes = None) -> Strategy:
    """Windows by the mean deviation of the members' probabilities (Kampffmeyer et al. 2016)."""
    return _by(*_DEVIATION, passes=passes)


def ripu(radius: Radius = 1) -> Strategy:
    """Windows that are impure and uncertain (RIPU, arXiv 2111.12940)."""
    measure = partial(neighbourhood.ripu, radius=radius) if radius != 1 else neighbourhood.ripu
    return _by("ripu", "impurity x uncertainty", f"P_{radius} U_{radius}", measure)


def ripu_image(radius: Radius = 1) -> Strategy:
    """Whole images that are impure and uncertain."""
    measure = partial(neighbourhood.ripu, radius=radius) if radius != 1 else neighbourhood.ripu
    return _by(
        "ripu", "impurity x uncertainty", f"P_{radius} U_{radius}", measure, whole_image=True
    )


def equal() -> Strategy:
    """Windows whose prediction changes when the image is mirrored (EquAL, arXiv 2008.01860)."""
    return _by(
        "equal",
        "what mirroring changes in the prediction",
        "KL(P, P')",
        neighbourhood.flip_inconsistency,
    )


def balanced_margin() -> Strategy:
    """Windows by best against second best, weighted towards rare classes (Cai et al. 2021)."""
    return _by(
        "balanced-margin",
        "margin, weighted towards rare classes",
        "P2 / P1 exp(-share)",
        neighbourhood.balanced_margin,
    )


def weighted_chance(information: Tensor, _cost: Tensor | None, rng: np.random.Generator) -> Tensor:
    """Draw placements without replacement, in proportion to their information, which is not scaled.

    ln(u) / w falls from 0 (Efraimidis & Spirakis 2006); a window of no weight comes last.
    """
    u = torch.from_numpy(rng.random(tuple(information.shape))).clamp(min=1e-300)
    return u.log() / information.clamp(min=1e-6)


def balanced_random() -> Strategy:
    """Windows at random, in proportion to how rare their predicted classes are.

    The strong random baseline of nnActive (arXiv 2411.19644), from predicted classes only.
    """
    return Strategy(
        "balanced-random",
        "windows at random, rare predicted classes more often",
        "ln(u) / I, I = sum 1 / share, unscaled",
        neighbourhood.rarity,
        weighted_chance,
        scaled=False,
    )


def coreset(considered: Considered = 10) -> Strategy:
    """Windows far from each other and from all labelled ones (Sener & Savarese 2018)."""
    return Strategy(
        "coreset",
        f"k-centre among random windows, {considered} times as many as are bought",
        "farthest first, from labelled windows too",
        fuse=chance,
        select=diversity.k_centre,
        considered=considered,
    )


def typiclust(considered: Considered = 10) -> Strategy:
    """The most typical window of each cluster without a label (TypiClust, arXiv 2202.02794)."""
    return Strategy(
        "typiclust",
        f"typical among random windows, {considered} times as many as are bought",
        "typicality in clusters without a labelled window",
        fuse=chance,
        select=diversity.typical,
        considered=considered,
    )


def entropy_coreset(considered: Considered = 5) -> Strategy:
    """The most uncertain windows, thinned out by k-centre: uncertain and diverse."""
    return Strategy(
        "entropy-coreset",
        f"k-centre among the {considered} times as many most uncertain windows",
        "farthest first, from labelled windows too, I = sum H",
        entropy,
        information_alone,
        select=diversity.k_centre,
        considered=considered,
    )


def entropy_spread(considered: Considered = 10) -> Strategy:
    """Windows by entropy, spread over as many images as there are."""
    return Strategy(
        "entropy-spread",
        "windows by entropy, one of each image before a second",
        "I in turns, I = sum H",
        entropy,
        information_alone,
        select=diversity.spread_over_images,
        considered=considered,
    )


def badge(considered: Considered = 10) -> Strategy:
    """Windows whose predicted labels would give long and different gradients (BADGE).

    Ash et al. 2020, arXiv 1906.03671.
    """
    return Strategy(
        "badge",
        f"k-means++ on gradients of random windows, {considered} times as many as are bought",
        "drawn by D^2 on g = (P - onehot(argmax P)) x h",
        fuse=chance,
        select=diversity.gradient_seeds,
        considered=considered,
    )


def metabox_plus(tolerance: Tolerance = 2.0) -> Strategy:
    """Windows with poorly predicted segments and few estimated clicks (MetaBox+).

    Colling et al. 2020, arXiv 2010.01884. Its cost is its own, so no cost network is trained.
    """
    vertices = metabox.outline_vertices
    return Strategy(
        "metabox",
        "windows of low predicted IoU, against vertices of the predicted outlines",
        "(1 - K) I, I = sum 1 - predicted IoU, K = vertices",
        metabox.poorness,
        maps={
            "vertices": vertices if tolerance == 2.0 else partial(vertices, tolerance_px=tolerance)
        },
        score=metabox.poor_and_cheap,
        learn=metabox.learn_quality,
    )


def spatial(within: Weight = 0.5, across: Weight = 0.5, considered: Considered = 10) -> Strategy:
    """Windows by entropy, far from each other in an image and unlike each other across images.

    After Cai et al. 2021, arXiv 2507.17367.
    """
    select = partial(diversity.spatially_diverse, within=within, across=across)
    return Strategy(
        "spatial",
        "windows by entropy, apart within an image and unlike across images",
        f"I - {within:g} max exp(-d/w) - {across:g} max cos, I = sum H",
        entropy,
        information_alone,
        select=select,
        considered=considered,
    )
