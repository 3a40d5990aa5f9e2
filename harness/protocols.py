"""The edges between the modules.

What a strategy is, and what an oracle, a network and a cache must offer.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

import numpy as np

from harness.errors import InputError, shorten
from harness.types import (
    FULL_DATA,
    Annotation,
    Candidate,
    ClickTotals,
    CostQuality,
    ImageAreas,
    ImageThumbnails,
    LossPoint,
    Region,
    RoundRecord,
)

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

    from harness.context import QueryContext
    from harness.pool import LabelledPool
    from harness.views import View

Measure = Callable[["View"], "Tensor"]
"""View -> (H, W), finite, >= 0, on any device: summed under windows and scaled over the pool."""

Learn = Callable[[Iterator[tuple["View", "npt.NDArray[np.uint8]"]]], object]
"""(view, (H, W) train ids, 255 void) of each image labelled in full -> ``learned`` of every view.

The images come sorted by id, without dropout. It must give the same for the same examples.
"""

Score = Callable[[Mapping[str, "Tensor"], np.random.Generator], "Tensor"]
"""All scaled region maps of an image by name -> scores of their shape.

Higher is asked for earlier.
"""

CostSource = Literal["none", "predicted", "whole", "own", "oracle", "constant"]

CostScale = Literal["linear", "robust", "rank", "conditional"]
"""How window sums of the cost become numbers in [0, 1] over the pool.

``harness.regions``: ``rescale``, ``CostDistribution`` and ``ConditionalCosts``.
"""

_COSTS, _SCALES = get_args(CostSource), get_args(CostScale)

RESERVED_NAMES = {"all", "everything", FULL_DATA, "seed-set"}
"""Names that mean something else on the command line or in a folder of runs."""

ImageSizes = dict[str, tuple[int, int]]
"""Image id -> (height, width) in pixels, in the order of the data set."""


Fuse = Callable[["Tensor", "Tensor | None", np.random.Generator], "Tensor"]
"""Scaled information and scaled cost of all placements of an image -> scores of their shape.

Higher is asked for earlier. The information is all zeros for a strategy without a measure.
"""

Select = Callable[[list[Candidate], int, "QueryContext"], list[Candidate]]
"""(candidates by falling score, new pixels that may be bought, context) -> those to buy, the first first."""


@dataclass(frozen=True, slots=True)
class SuperpixelQuery:
    """Superpixels in the place of windows.

    px: about how many pixels each has; None: a quarter of the window's. dominant: one click gives a
    superpixel its most frequent class (Cai et al., CVPR 2021); otherwise its inside is labelled as
    a window's is.
    """

    px: int | None = None
    dominant: bool = False


@dataclass(frozen=True, slots=True)
class Strategy:
    """A strategy is data and pure functions; the loop asks its fields, never its name.

    name: the identity used in files and tables. equation: its score in the paper's letters.
    measure: the map called information; None means that there is none. maps: further ones by
    name. fuse: scaled information and cost -> scores; or score: all scaled maps by name
    ("information", "cost" and those of ``maps``) -> scores. learn: what measures should know from
    the images that are labelled in full, made once a round and found as ``view.learned``. select: chooses among the best
    candidates; without it the best are bought. considered: how many times as many candidates as
    the budget holds ``select`` is given.

    n_passes: committee size E; None takes the configuration's. cost: where the cost in the score
    comes from: "predicted" is c_p (the paper's), "whole" adds what else a window costs, c_i on the
    predicted label map and 4 for its box; "own" is the strategy's cost model, ``clicks``, which
    makes a map of clicks per pixel from a view without dropout; "oracle" (the true c_p) and
    "constant" (no cost at all) bracket what a cost model can bring. whole_image: the window is the
    image. superpixels: what is asked for in the place of windows. cost_scale: how the cost is put
    on [0, 1]; the paper's is linear. scaled: the score gets region maps on [0, 1] over the pool;
    without it, the window sums themselves. code: of a plug-in, its package, version and a hash of
    its source; empty for the built-in ones.
    """

    name: str
    summary: str
    equation: str
    measure: Measure | None = None
    fuse: Fuse | None = None
    n_passes: int | None = 1
    cost: CostSource = "none"
    whole_image: bool = False
    code: str = ""
    scaled: bool = True
    cost_scale: CostScale = "linear"
    maps: Mapping[str, Measure] = field(default_factory=dict)
    score: Score | None = None
    select: Select | None = None
    considered: int = 10
    superpixels: SuperpixelQuery | None = None
    learn: Learn | None = None
    clicks: Measure | None = None

    def __post_init__(self) -> None:
        """Check the fields, and that each function has a name of its own.

        Raises:
            InputError: one line that names the field.
        """
        for must, is_broken in self._rules():
            if is_broken:
                raise InputError(f"strategy {shorten(self.name)}: {must}")
        for function in (self.measure, self.learn, self.clicks, *self.maps.values()):
            if function is not None:
                function_name(function)

    def _rules(self) -> Iterator[tuple[str, bool]]:
        """Yield what must hold, and whether it is broken."""
        texts = (self.name, self.equation, self.summary)
        yield (
            "name, equation and summary must be one printable line",
            not all(isinstance(text, str) and text.isprintable() for text in texts),
        )
        yield "scaled must be True or False", not isinstance(self.scaled, bool)
        yield (
            "fuse or score must be a function, and not both",
            callable(self.fuse) == callable(self.score),
        )
        yield (
            "maps must be functions by names other than information and cost",
            not isinstance(self.maps, Mapping)
            or not all(isinstance(key, str) and key.isidentifier() for key in self.maps)
            or not all(callable(function) for function in self.maps.values())
            or not {"information", "cost"}.isdisjoint(self.maps),
        )
        yield (
            "maps need a score: fuse sees information and cost alone",
            bool(self.maps) and self.score is None,
        )
        for key in ("measure", "learn", "select", "clicks"):
            function = getattr(self, key)
            yield (
                f"{key} must be a function or None",
                function is not None and not callable(function),
            )
        yield "considered must be from 1 to 1000", not _is_whole(self.considered, 1, 1000)
        yield (
            "n_passes must be None or from 1 to 255",
            self.n_passes is not None and not _is_whole(self.n_passes, 1, 255),
        )
        regions = self.superpixels
        yield (
            "superpixels must be a SuperpixelQuery or None, and not with whole_image",
            regions is not None
            and (not isinstance(regions, SuperpixelQuery) or bool(self.whole_image)),
        )
        yield (
            "superpixels with a dominant label must have no cost: each is one click",
            isinstance(regions, SuperpixelQuery) and regions.dominant and self.cost != "none",
        )
        yield f"cost must be one of {', '.join(_COSTS)}", self.cost not in _COSTS
        yield (
            "cost must be own where clicks is a function, and only there",
            (self.cost == "own") != (self.clicks is not None),
        )
        yield (
            f"cost_scale must be one of {', '.join(_SCALES)}",
            self.cost_scale not in _SCALES,
        )
        yield (
            "cost_scale conditional needs a measure",
            self.cost_scale == "conditional" and self.measure is None,
        )

    @property
    def is_bound(self) -> bool:
        """Whether it only brackets what a cost model can bring: listed, but never ranked."""
        return self.cost in {"oracle", "constant"}

    @property
    def learns_cost(self) -> bool:
        """Whether a cost network is trained for it."""
        return self.cost in {"predicted", "whole"}

    @property
    def predicts_cost(self) -> bool:
        """Whether its cost is a prediction, which recorded clicks can be held against."""
        return self.learns_cost or self.cost == "own"

    @property
    def needs_network(self) -> bool:
        """Whether its queries depend on the trained networks."""
        reads = self.measure is not None or bool(self.maps) or self.select is not None
        return reads or self.predicts_cost

    @property
    def asks_committee(self) -> bool:
        """Whether its maps are made from the passes of a committee."""
        return (self.measure is not None or bool(self.maps)) and self.n_passes != 1


def _is_whole(number: object, low: int, high: int) -> bool:
    return type(number) is int and low <= number <= high


def function_name(function: Callable[..., Any]) -> str:
    """Return a name that two functions which give different maps cannot share.

    Maps are kept by it, so what hides state cannot have one: methods, objects that can be called,
    lambdas.

    Raises:
        InputError: no function of a module, nor functools.partial of one with plain values.
    """
    if isinstance(function, functools.partial):
        given = [*function.args, *function.keywords.values()]
        if not all(map(_is_plain, given)):
            raise InputError(
                f"functools.partial of {function_name(function.func)} must give numbers, texts or "
                "tuples of them: its maps are kept by them"
            )
        values = repr((function.args, sorted(function.keywords.items())))
        return f"{function_name(function.func)}-{hashlib.sha256(values.encode()).hexdigest()[:12]}"
    name = getattr(function, "__qualname__", type(function).__qualname__)
    if not inspect.isfunction(function) or "<" in name:
        raise InputError(
            f"{shorten(name)} must be a function of a module, or functools.partial of one with "
            "numbers and texts, got a lambda, a local function, a method or an object: maps are "
            "kept by the function's name"
        )
    return f"{function.__module__}.{name}"


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return value is None or type(value) in (bool, int, float, str)


class Oracle(Protocol):
    """Gives labels and clicks for queried regions: the only one who sees hidden labels."""

    totals: ClickTotals

    def annotate(self, regions: Sequence[Region], pool: LabelledPool) -> list[Annotation]:
        """Annotate regions; pixels that ``pool`` already holds, and pixels asked twice, are not new."""
        ...

    def click_map(self, image_id: str) -> npt.NDArray[np.int64]:
        """Return the (H, W) true polygon clicks per pixel.

        Only for strategies that are marked as bounds.
        """
        ...


class Predictor(Protocol):
    """The networks of one round, as acquisition sees them."""

    def predict(self, image_id: str, n_passes: int) -> View:
        """Predict one image: ``n_passes`` = 1 without dropout, more are committee members."""
        ...

    def expect(self, image_ids: Iterable[str]) -> None:
        """Say which images will be asked for, in which order, so that they can be read ahead."""
        ...


class Network(Predictor, Protocol):
    """A trained pair of segmentation and cost network.

    losses: of its training, by stretches; empty for one that was loaded.
    """

    losses: Sequence[LossPoint]

    @property
    def has_cost(self) -> bool:
        """Whether it predicts clicks."""
        ...

    def evaluate(self) -> list[ImageAreas]:
        """Return class areas of every validation image."""
        ...

    def cost_quality(self) -> CostQuality | None:
        """Return how well the cost network predicts clicks per window on validation images.

        None without one.
        """
        ...

    def save(self, path: Path) -> None:
        """Write all that ``Trainer.load`` needs."""
        ...


class Trainer(Protocol):
    """Learns both networks from scratch from what is labelled."""

    recipe: str
    """Identifies all that determines a training besides labels, seed and round."""

    def fit(
        self,
        pool: LabelledPool,
        seed: int,
        round_number: int,
        *,
        with_cost: bool,
        checkpoints: Path | None = None,
    ) -> Network:
        """Train; the initial weights depend on the seed alone.

        ``checkpoints``: a folder of this training's own, to go on from.
        """
        ...

    def load(self, path: Path, seed: int, round_number: int) -> Network:
        """Read what ``Network.save`` wrote."""
        ...


class RunWriter(Protocol):
    """Keeps the records of one run."""

    @property
    def keeps_maps(self) -> bool:
        """Whether it has a use for small pictures of the maps."""
        ...

    def keep_maps(self, round_number: int, maps: Sequence[ImageThumbnails]) -> None:
        """Keep what a round's query was made from; it comes before the round itself."""
        ...

    def append(self, record: RoundRecord) -> None:
        """Add one finished round, durably."""
        ...
