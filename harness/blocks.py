"""The blocks of a config: what each key means and what it may be."""

from __future__ import annotations

import itertools
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    model_validator,
)

from harness.data.files import pattern_fault
from harness.errors import shorten
from harness.types import Clicks

Count = Annotated[int, Field(ge=1, le=1_000_000)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Share = Annotated[float, Field(gt=0.0, le=1.0)]


def _mask_value(value: Any) -> Any:
    """Read a value of a label image: a number, or a colour as three numbers or ``#rrggbb``."""
    if isinstance(value, str):
        digits = value.strip().strip("()")
        if digits.startswith("#") and len(digits) == 7:
            return tuple(int(digits[at : at + 2], 16) for at in (1, 3, 5))
        parts = [int(part) for part in digits.split(",")]
        return parts[0] if len(parts) == 1 else tuple(parts)
    return tuple(value) if isinstance(value, list) else value


_Byte = Annotated[int, Field(ge=0, le=255)]
MaskValue = Annotated[
    Annotated[int, Field(ge=0, le=65535)] | tuple[_Byte, _Byte, _Byte],
    BeforeValidator(_mask_value),
    PlainSerializer(lambda value: ",".join(map(str, value)) if isinstance(value, tuple) else value),
]
"""What a label image holds for a class: a number, or a colour (red, green, blue)."""

LATER = {"later": True}
"""Marks an option that came after the first published board.

At its default it does not count for a board's identity.
"""


class Block(BaseModel):
    """Frozen, strict, and without a key that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def identity(self) -> dict[str, Any]:
        """Return what counts for an identity, in JSON's types.

        That is every option, but those that came after the first published board (``LATER``) only
        where they differ from their default: a board stays the same when the product learns more.
        """
        document = self.model_dump(mode="json")
        for key, option in type(self).model_fields.items():
            default = list(option.default) if isinstance(option.default, tuple) else option.default
            if option.json_schema_extra == LATER and document[key] == default:
                del document[key]
        return document


class StreetsData(Block):
    """The embedded pack, made on first use."""

    type: Literal["streets"]
    height: Count
    width: Count
    train: Count
    val: Count
    seed: Seed
    redundancy: Count = 1
    visible_only: Annotated[bool, Field(json_schema_extra=LATER)] = False


class CityscapesData(Block):
    """A folder in Cityscapes' layout.

    ``root`` is taken from the config's folder; --data-root goes before it, CITYSCAPES_DATASET
    after.
    """

    type: Literal["cityscapes"]
    root: str | None = None
    train_split: str = "train"
    val_split: str = "val"
    max_void_share: Annotated[float, Field(ge=0, le=1, json_schema_extra=LATER)] = 0.5
    visible_only: Annotated[bool, Field(json_schema_extra=LATER)] = False


class MaskLayout(Block):
    """Where images and label images lie, and what the values of a label image mean.

    images: a folder below the root, with ``{split}``; sub-folders are read too. labels: likewise,
    or a pattern for the file, such as ``labels/{split}/{stem}_mask.png``. classes: value -> class
    name, or colour -> class name. void: the values that are void; None means all that are in no
    class. lists: text files with the ids of a split, with ``{split}``; all images without it.
    max_void_share: of a split's pixels. tolerance_px: of the polygons that are simulated.
    """

    images: str
    labels: str
    classes: Annotated[dict[MaskValue, str], Field(min_length=2, max_length=254)]
    void: Annotated[tuple[MaskValue, ...] | None, Field(strict=False, json_schema_extra=LATER)] = (
        None
    )
    lists: Annotated[str | None, Field(json_schema_extra=LATER)] = None
    max_void_share: Annotated[float, Field(ge=0, le=1, json_schema_extra=LATER)] = 0.5
    tolerance_px: Annotated[float, Field(gt=0, le=100)] = 1.0


class MasksData(MaskLayout):
    """A folder of images and label images without polygons: clicks are simulated.

    ``root`` is taken from the config's folder.
    """

    type: Literal["masks"]
    root: str | None = None
    train_split: str = "train"
    val_split: str = "val"

    @model_validator(mode="after")
    def _can_be_read(self) -> MasksData:
        for key, fields in (
            ("images", {"split"}),
            ("labels", {"split", "stem"}),
            ("lists", {"split"}),
        ):
            pattern = getattr(self, key)
            if pattern is not None and (fault := pattern_fault(pattern, fields)):
                raise ValueError(f"data.{key} {fault}")
        if len({isinstance(value, tuple) for value in (*self.classes, *(self.void or ()))}) > 1:
            raise ValueError("data.classes and data.void must be all numbers or all colours")
        for value, name in self.classes.items():
            if not name.strip() or name != name.strip() or not name.isprintable():
                raise ValueError(
                    f"data.classes[{value}] must be a printable name, got {shorten(name)}"
                )
        if twice := sorted(set(self.classes) & set(self.void or ()), key=str):
            raise ValueError(f"{twice[0]} must be in data.classes or in data.void, not in both")
        if len(set(self.classes.values())) < 2:
            raise ValueError("data.classes must name two classes or more")
        return self


class PolygonLayout(Block):
    """Where images and the polygons that annotators set lie.

    images: a folder below the root, with ``{split}``. annotations: of LabelMe a folder with a JSON
    file for each image; of COCO or CVAT one file, with ``{split}``. classes: names of shapes, in
    the order of their numbers; other shapes are void, and their clicks count. background: the class
    of pixels under no shape; they are void without it. max_void_share: of a split's pixels.
    """

    format: Literal["labelme", "coco", "cvat"]
    images: str
    annotations: str
    classes: Annotated[tuple[str, ...], Field(strict=False, min_length=1, max_length=254)]
    background: str | None = None
    max_void_share: Annotated[float, Field(ge=0, le=1)] = 0.5


class PolygonsData(PolygonLayout):
    """A folder of images with recorded polygons. ``root`` is taken from the config's folder."""

    type: Literal["polygons"]
    root: str | None = None
    train_split: str = "train"
    val_split: str = "val"

    @model_validator(mode="after")
    def _can_be_read(self) -> PolygonsData:
        for key in ("images", "annotations"):
            if fault := pattern_fault(getattr(self, key), {"split"}):
                raise ValueError(f"data.{key} {fault}")
        names = [*self.classes, *([self.background] if self.background is not None else [])]
        for name in names:
            if not name.strip() or name != name.strip() or not name.isprintable():
                raise ValueError(f"data.classes must be printable names, got {shorten(name)}")
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("data.classes must name each class once")
        if len(set(names)) < 2:
            raise ValueError("data.classes and data.background must make two classes or more")
        return self


class OtherData(BaseModel):
    """A data set of a plug-in: its own options go to what registered the type."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True, allow_inf_nan=False)

    type: str

    @property
    def options(self) -> dict[str, Any]:
        """All keys but the type."""
        return dict(self.model_extra or {})


class Slips(Block):
    """The ``annotator`` block: what annotators do wrong, and how often; never by default.

    seed: of the slips. missed, wrong: shares of small objects that are overlooked (they get the
    label around them) or get another class. small_px: an object of at most so many pixels is small.
    jitter_px: standard deviation by which borders wander. click_noise: relative standard deviation
    of the number of polygon clicks per region.
    """

    seed: Seed = 0
    missed: Annotated[float, Field(ge=0, le=1)] = 0.0
    wrong: Annotated[float, Field(ge=0, le=1)] = 0.0
    small_px: Count = 64
    jitter_px: Annotated[float, Field(ge=0, le=100)] = 0.0
    click_noise: Annotated[float, Field(ge=0, le=10)] = 0.0

    @property
    def any(self) -> bool:
        """Whether anything ever goes wrong."""
        return max(self.missed, self.wrong, self.jitter_px, self.click_noise) > 0.0


class SecondsPerClick(Block):
    """How long each kind of click takes, in seconds: a model for a further column.

    Choice: every click takes the same time, so that Cityscapes' published 1.5 hours an image come
    out: 5400 s for its mean of 4,756,857 / 2975 vertices and 338,302 / 2975 components.
    """

    polygon: Annotated[float, Field(ge=0, le=1e6)] = 3.15
    intersection: Annotated[float, Field(ge=0, le=1e6)] = 3.15
    box: Annotated[float, Field(ge=0, le=1e6)] = 3.15
    classes: Annotated[float, Field(ge=0, le=1e6)] = 3.15

    def total(self, clicks: Clicks) -> float:
        """Return the annotation time of a bill, in seconds."""
        return (
            self.polygon * clicks.polygon
            + self.intersection * clicks.intersection
            + self.box * clicks.box
            + self.classes * clicks.classes
        )


class Training(Block):
    """Length of a training and its crops.

    The same for every strategy and for the full-data reference.

    steps: at the first labelled pixel; steps_per_image: more for each image's worth of labelled
    pixels; at most max_steps. crop: (height, width) in pixels, cut down to the image. flip: mirror
    half of the crops. jitter: brightness and colour. brightness, tint: by which factors all
    channels together and each alone are changed at most, less 1; shift: by how many grey values of
    255 at most. class_weights: 1 / sqrt(share) of each class among the labelled pixels. sampler:
    "cover" counts each labelled pixel once an epoch (``harness.segmentor.coverage``); "pixel" lays
    each crop around a uniformly drawn labelled pixel; "pipeline" shows images through the config's
    ``train_pipeline`` (``harness.segmentor.pipeline``). frozen_trunk: only the head is trained, on
    a trunk with given weights: a proxy of the full board. precision: of convolutions and products
    in training, on CPU and GPU; weights, loss and all predictions are float32. loss_stride: the
    loss is taken on every so many-th pixel of each axis, of any network. repeat: another order of
    crops and other dropout from the same initial weights: what ``harness noise`` varies.
    """

    steps: Count
    steps_per_image: Annotated[int, Field(ge=0)] = 0
    max_steps: Count
    batch_size: Count
    crop: Annotated[tuple[Count, Count], Field(strict=False)]
    flip: bool = True
    jitter: bool = True
    class_weights: bool = True
    brightness: Annotated[float, Field(ge=0, lt=1, json_schema_extra=LATER)] = 0.3
    tint: Annotated[float, Field(ge=0, lt=1, json_schema_extra=LATER)] = 0.15
    shift: Annotated[float, Field(ge=0, le=255, json_schema_extra=LATER)] = 20.0
    sampler: Annotated[Literal["pixel", "cover", "pipeline"], Field(json_schema_extra=LATER)] = (
        "pixel"
    )
    repeat: Annotated[int, Field(ge=0, le=1_000_000, json_schema_extra=LATER)] = 0
    frozen_trunk: Annotated[bool, Field(json_schema_extra=LATER)] = False
    precision: Annotated[Literal["float32", "bfloat16"], Field(json_schema_extra=LATER)] = "float32"
    loss_stride: Annotated[int, Field(ge=1, le=32, json_schema_extra=LATER)] = 1

    def steps_for(self, labelled_px: int, image_px: float) -> int:
        """Return the length of a training: it grows with the labels, whatever the strategy."""
        return min(
            self.max_steps, round(self.steps + self.steps_per_image * labelled_px / image_px)
        )


class CostModel(Block):
    """The cost head (docs/notebook/cost-model.md).

    hidden: units of each of two hidden layers. batch_cells: cells of 8 x 8 px in a step. sigma_px:
    of the Gaussian that spreads a recorded vertex. max_cells: at most so many are kept in memory,
    drawn uniformly.
    """

    hidden: Count = 64
    steps: Count = 300
    batch_cells: Count = 1024
    lr: Annotated[float, Field(gt=0, le=100)] = 3e-3
    weight_decay: Annotated[float, Field(ge=0, le=100)] = 1e-2
    sigma_px: Annotated[float, Field(gt=0, le=1000)] = 2.0
    max_cells: Count = 400_000

    @model_validator(mode="before")
    @classmethod
    def _of_older_versions(cls, values: Any) -> Any:
        """Pass over what older versions wrote for the one head and target that are left."""
        if not isinstance(values, dict):
            return values
        only = {"head": "trunk", "target": "density"}
        return {key: value for key, value in values.items() if only.get(key) != value}


class Protocol(Block):
    """The ``harness`` block: how much is asked for when, the same for every strategy.

    budgets: after the seed set, the share of the pool's pixels that may be labelled up to each
    round, rising; with ``budget_unit="clicks"`` the share of its clicks (cost_B) that may be spent,
    and the region that reaches it is the last (``harness.schedule``). It stands in the place of ``images_per_round``, equal steps of whole images, and
    ``rounds`` then is how many of them are used, all without it. pool_per_seed: each seed has a
    pool of its own, so many images drawn from the training set: claims are then about the kind of
    data and not about one pool, and intervals are wider. Choice: a share is rounded to
    whole images of the pool's mean size, so that strategies that ask for whole images can spend it
    too.
    """

    window: Count
    stride: Count = 1
    overlap: Literal["forbid", "allow"] = "forbid"
    seed_images: Count
    images_per_round: Count | None = None
    rounds: Annotated[int, Field(ge=0, le=1000)]
    budgets: Annotated[tuple[Share, ...], Field(strict=False, json_schema_extra=LATER)] = ()
    budget_unit: Annotated[Literal["pixels", "clicks"], Field(json_schema_extra=LATER)] = "pixels"
    committee: Annotated[int, Field(ge=2, le=255)] = 20
    pool_per_seed: Annotated[Count | None, Field(json_schema_extra=LATER)] = None
    seeds: Annotated[tuple[Seed, ...], Field(strict=False, min_length=1)]

    @model_validator(mode="before")
    @classmethod
    def _budgets_stand_for_rounds(cls, values: Any) -> Any:
        budgets = values.get("budgets") if isinstance(values, dict) else None
        if not isinstance(budgets, list | tuple) or not budgets:
            return values
        if values.get("images_per_round") is not None:
            raise ValueError(
                "harness.images_per_round must be None beside harness.budgets (or set budgets=[]), "
                f"got {shorten(values['images_per_round'])}"
            )
        rounds = values.get("rounds")
        if rounds is None:
            rounds = len(budgets)
        if type(rounds) is not int or not 0 <= rounds <= len(budgets):
            raise ValueError(
                f"harness.rounds must be at most {len(budgets)}, the number of harness.budgets "
                f"(or set budgets=[]), got {shorten(rounds)}"
            )
        return {**values, "rounds": rounds, "budgets": budgets[:rounds]}

    @model_validator(mode="after")
    def _some_budget(self) -> Protocol:
        if any(high <= low for low, high in itertools.pairwise(self.budgets)):
            raise ValueError("harness.budgets must rise from round to round")
        if self.rounds and not self.budgets and self.images_per_round is None:
            raise ValueError("harness needs images_per_round and rounds, or budgets")
        if self.budget_unit == "clicks" and self.rounds and not self.budgets:
            raise ValueError(
                "harness.budgets must hold shares of the clicks with budget_unit='clicks'"
            )
        return self

    @model_validator(mode="after")
    def _distinct_seeds(self) -> Protocol:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds {list(self.seeds)} repeat one; allowed: each seed once")
        return self


class Tune(Block):
    """What ``harness tune`` may choose, and on what.

    strategy: one name, or several to choose between. parameters: bounds of the strategies' own
    parameters, such as alpha. window, stride: sides and steps in pixels to choose between; the
    config's own without them. seeds: of tuning alone. city_share: the share of training images,
    whole cities of them, that tuning trials are scored on and never trained on.
    """

    strategy: Annotated[tuple[str, ...], Field(strict=False, min_length=1)]
    parameters: dict[str, Annotated[tuple[float, float], Field(strict=False)]] = {}
    window: Annotated[tuple[Count, ...], Field(strict=False)] = ()
    stride: Annotated[tuple[Count, ...], Field(strict=False)] = ()
    seeds: Annotated[tuple[Seed, ...], Field(strict=False, min_length=1)]
    trials: Count = 20
    grid_points: Annotated[int, Field(ge=2, le=1000)] = 5
    city_share: Share = 0.25


class Tuned(Block):
    """How a config's strategy and window were found.

    It stands beside the tuned strategy on every leaderboard.
    """

    strategy: str
    trials: Count
    objective: str
    clicks: Annotated[int, Field(ge=0, lt=2**53)]
    hours: Annotated[float, Field(ge=0, le=1e9)]
    seeds: Annotated[tuple[int, ...], Field(strict=False)] = ()
