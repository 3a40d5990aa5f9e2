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


def _each_once(classes: Any) -> Any:
    """Refuse a class map that names one value in two ways, such as ``1`` and ``"1"``."""
    if not isinstance(classes, dict):
        return classes
    known: dict[Any, Any] = {}
    for key in classes:
        try:
            value = _mask_value(key)
            first = known.setdefault(value, key)
        except (ValueError, TypeError):
            continue  # no value of a mask: what is wrong with it is said later
        if first is not key:
            raise ValueError(
                f"each value must stand once in classes, got {shorten(first)} and {shorten(key)}"
            )
    return classes


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

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )

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
    """The embedded pack: generated street scenes."""
    height: Count
    """Height of an image, in pixels."""
    width: Count
    """Width of an image, in pixels."""
    train: Count
    """Images to learn from."""
    val: Count
    """Images to score on."""
    seed: Seed
    """Another seed is another set of streets."""
    redundancy: Count = 1
    """Near-duplicate frames of one scene."""
    visible_only: Annotated[bool, Field(json_schema_extra=LATER)] = False
    """Count only vertices with a pixel of their object's label around them."""


class CityscapesData(Block):
    """A folder in Cityscapes' layout."""

    type: Literal["cityscapes"]
    """A folder in Cityscapes' layout."""
    root: str | None = None
    """The folder, taken from the config's folder; ``--data-root`` goes before it and
    ``CITYSCAPES_DATASET`` after.
    """
    train_split: str = "train"
    """The name of the split that is learned from."""
    val_split: str = "val"
    """The name of the split that is scored on."""
    max_void_share: Annotated[float, Field(ge=0, le=1, json_schema_extra=LATER)] = 0.5
    """More void than this share of a split is refused."""
    visible_only: Annotated[bool, Field(json_schema_extra=LATER)] = False
    """Count only vertices with a pixel of their object's label around them."""


class MaskLayout(Block):
    """Where images and label images lie, and what the values of a label image mean."""

    images: str
    """A folder below the root, with ``{split}``; its sub-folders are read too."""
    labels: str
    """A folder likewise, or a pattern for the file, such as ``labels/{split}/{stem}_mask.png``."""
    classes: Annotated[
        dict[MaskValue, str], Field(min_length=2, max_length=254), BeforeValidator(_each_once)
    ]
    """Value to class name, or colour to class name; several values may be one class."""
    void: Annotated[tuple[MaskValue, ...] | None, Field(strict=False, json_schema_extra=LATER)] = (
        None
    )
    """The values that are void; None: all that are in no class."""
    lists: Annotated[str | None, Field(json_schema_extra=LATER)] = None
    """Text files with the images of a split, with ``{split}``; None: all images."""
    max_void_share: Annotated[float, Field(ge=0, le=1, json_schema_extra=LATER)] = 0.5
    """More void than this share of a split is refused."""
    tolerance_px: Annotated[float, Field(gt=0, le=100)] = 1.0
    """How far simulated polygons may stray from the mask, in pixels."""


class MasksData(MaskLayout):
    """A folder of images and label images without polygons: clicks are simulated."""

    type: Literal["masks"]
    """Images and label images; clicks are simulated."""
    root: str | None = None
    """The folder, taken from the config's folder; ``--data-root`` goes before it."""
    train_split: str = "train"
    """The name of the split that is learned from."""
    val_split: str = "val"
    """The name of the split that is scored on."""

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
    """Where images and the polygons that annotators set lie."""

    format: Literal["labelme", "coco", "cvat"]
    """Whose files the polygons are in."""
    images: str
    """A folder below the root, with ``{split}``; its sub-folders are read too."""
    annotations: str
    """LabelMe: a folder with a JSON file for each image; COCO and CVAT: one file, with ``{split}``.

    """
    classes: Annotated[tuple[str, ...], Field(strict=False, min_length=1, max_length=254)]
    """Names of shapes in the order of their numbers; other shapes are void, and their clicks count.

    """
    background: str | None = None
    """The class of pixels under no shape; None: they are void."""
    max_void_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    """More void than this share of a split is refused."""


class PolygonsData(PolygonLayout):
    """A folder of images with recorded polygons."""

    type: Literal["polygons"]
    """Images and polygons; recorded clicks are replayed."""
    root: str | None = None
    """The folder, taken from the config's folder; ``--data-root`` goes before it."""
    train_split: str = "train"
    """The name of the split that is learned from."""
    val_split: str = "val"
    """The name of the split that is scored on."""

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

    model_config = ConfigDict(
        frozen=True,
        extra="allow",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )

    type: str
    """The name that a plug-in registered; all other keys go to it."""

    @property
    def options(self) -> dict[str, Any]:
        """All keys but the type."""
        return dict(self.model_extra or {})


class LabelNoise(Block):
    """What annotators do wrong, and how often; never by default."""

    seed: Seed = 0
    """Seed of the label noise; an image always gets the same."""
    missed: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of small objects that are overlooked: they get the label around them."""
    wrong: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of small objects that get another class."""
    small_px: Count = 64
    """An object of at most so many pixels is small."""
    jitter_px: Annotated[float, Field(ge=0, le=100)] = 0.0
    """Standard deviation by which borders are moved, in pixels."""
    click_noise: Annotated[float, Field(ge=0, le=10)] = 0.0
    """Relative standard deviation of the number of polygon clicks per region."""

    def __repr_name__(self) -> str:
        # part of the keys of stored networks: those of older code have this name
        return "Slips"

    @model_validator(mode="after")
    def _are_shares(self) -> LabelNoise:
        if self.missed + self.wrong > 1.0:
            raise ValueError(
                "annotator.missed and annotator.wrong must be at most 1 together, got "
                f"{self.missed:g} and {self.wrong:g}: an object is missed or wrong, not both"
            )
        return self

    @property
    def any(self) -> bool:
        """Whether anything ever goes wrong."""
        return max(self.missed, self.wrong, self.jitter_px, self.click_noise) > 0.0


class SecondsPerClick(Block):
    """How long each kind of click takes, in seconds: a model for the column of hours.

    Choice: every click takes the same time, so that Cityscapes' published 1.5 hours an image come
    out: 5400 s for its mean of 4,756,857 / 2975 vertices and 338,302 / 2975 components.
    """

    polygon: Annotated[float, Field(ge=0, le=1e6)] = 3.15
    """Seconds for a polygon vertex."""
    intersection: Annotated[float, Field(ge=0, le=1e6)] = 3.15
    """Seconds for a label change along a window's side."""
    box: Annotated[float, Field(ge=0, le=1e6)] = 3.15
    """Seconds for a click of the box."""
    classes: Annotated[float, Field(ge=0, le=1e6)] = 3.15
    """Seconds for naming the class of a component."""

    def total(self, clicks: Clicks) -> float:
        """Return the annotation time of a bill, in seconds."""
        return (
            self.polygon * clicks.polygon
            + self.intersection * clicks.intersection
            + self.box * clicks.box
            + self.classes * clicks.classes
        )


class Training(Block):
    """Length of a training and what it is shown.

    The same for every strategy and for the full-data reference.
    """

    steps: Count
    """Steps at the first labelled pixel."""
    steps_per_image: Annotated[int, Field(ge=0)] = 0
    """Further steps for each image's worth of labelled pixels."""
    max_steps: Count
    """No training is longer than this."""
    batch_size: Count
    """Crops in a step."""
    crop: Annotated[tuple[Count, Count], Field(strict=False)]
    """Height and width of a crop in pixels, cut down to the image."""
    flip: bool = True
    """Mirror half of the crops."""
    jitter: bool = True
    """Change brightness and colour."""
    class_weights: bool = True
    """Weight classes by 1 / sqrt(share) among the labelled pixels."""
    brightness: Annotated[float, Field(ge=0, lt=1, json_schema_extra=LATER)] = 0.3
    """By which factor all channels together are changed at most, less 1."""
    tint: Annotated[float, Field(ge=0, lt=1, json_schema_extra=LATER)] = 0.15
    """By which factor each channel alone is changed at most, less 1."""
    shift: Annotated[float, Field(ge=0, le=255, json_schema_extra=LATER)] = 20.0
    """By how many grey values of 255 at most."""
    sampler: Annotated[Literal["pixel", "cover", "pipeline"], Field(json_schema_extra=LATER)] = (
        "pixel"
    )
    """``pixel`` lays each crop around a uniformly drawn labelled pixel, ``cover`` counts each
    labelled pixel once an epoch, ``pipeline`` shows images through ``train_pipeline``.
    """
    repeat: Annotated[int, Field(ge=0, le=1_000_000, json_schema_extra=LATER)] = 0
    """Another order of crops and other dropout from the same initial weights: what ``harness
    noise`` varies.
    """
    frozen_trunk: Annotated[bool, Field(json_schema_extra=LATER)] = False
    """Train only the head, on a backbone with given weights: a proxy of the full board."""
    precision: Annotated[Literal["float32", "bfloat16"], Field(json_schema_extra=LATER)] = "float32"
    """Of convolutions and products in training; weights, loss and all predictions are float32."""
    loss_stride: Annotated[int, Field(ge=1, le=32, json_schema_extra=LATER)] = 1
    """The loss is taken on every so many-th pixel of each axis."""

    def steps_for(self, labelled_px: int, image_px: float) -> int:
        """Return the length of a training: it grows with the labels, whatever the strategy."""
        return min(
            self.max_steps, round(self.steps + self.steps_per_image * labelled_px / image_px)
        )


class CostModel(Block):
    """The cost head (docs/notebook/cost-model.md)."""

    hidden: Count = 64
    """Units of each of two hidden layers."""
    steps: Count = 300
    """Steps of its training."""
    batch_cells: Count = 1024
    """Cells of 8 x 8 pixels in a step."""
    lr: Annotated[float, Field(gt=0, le=100)] = 3e-3
    """Learning rate."""
    weight_decay: Annotated[float, Field(ge=0, le=100)] = 1e-2
    """Weight decay."""
    sigma_px: Annotated[float, Field(gt=0, le=1000)] = 2.0
    """Of the Gaussian that spreads a recorded vertex, in pixels."""
    max_cells: Count = 400_000
    """At most so many cells are kept in memory, drawn uniformly."""

    @model_validator(mode="before")
    @classmethod
    def _of_older_versions(cls, values: Any) -> Any:
        """Pass over what older versions wrote for the one head and target that are left."""
        if not isinstance(values, dict):
            return values
        only = {"head": "trunk", "target": "density"}
        return {key: value for key, value in values.items() if only.get(key) != value}


class Protocol(Block):
    """How much is asked for when, the same for every strategy."""

    window: Count
    """Side of a window in pixels."""
    stride: Count = 1
    """Pixels between two placements of a window."""
    overlap: Literal["forbid", "allow"] = "forbid"
    """``forbid``: a window that touches a labelled pixel is no candidate; ``allow``: only new
    pixels are billed.
    """
    seed_images: Count
    """Whole images that are labelled at first."""
    images_per_round: Count | None = None
    """Images' worth of pixels in each round, where no ``budgets`` are given."""
    rounds: Annotated[int, Field(ge=0, le=1000)]
    """Rounds after the seed set; None beside ``budgets``: all of them."""
    budgets: Annotated[tuple[Share, ...], Field(strict=False, json_schema_extra=LATER)] = ()
    """Shares of the pool's pixels that may be labelled up to each round, rising, the seed set
    included; of its clicks (cost_B) with ``budget_unit="clicks"``. Choice: a share of pixels is
    rounded to whole images of the pool's mean size, so that strategies that ask for whole images
    can spend it too.
    """
    budget_unit: Annotated[Literal["pixels", "clicks"], Field(json_schema_extra=LATER)] = "pixels"
    """What is equal for all strategies."""
    committee: Annotated[int, Field(ge=2, le=255)] = 20
    """Members of a committee."""
    pool_per_seed: Annotated[Count | None, Field(json_schema_extra=LATER)] = None
    """Draw a pool of so many training images for each seed; None: all share the training set."""
    seeds: Annotated[tuple[Seed, ...], Field(strict=False, min_length=1)]
    """The runs of each strategy, one for each seed."""

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
            raise ValueError(f"harness.seeds must have each seed once, got {list(self.seeds)}")
        return self


class Tune(Block):
    """What ``harness tune`` may choose, and on what."""

    strategy: Annotated[tuple[str, ...], Field(strict=False, min_length=1)]
    """One name, or several to choose between."""
    parameters: dict[str, Annotated[tuple[float, float], Field(strict=False)]] = {}
    """Bounds of the strategies' own parameters, such as alpha."""
    window: Annotated[tuple[Count, ...], Field(strict=False)] = ()
    """Sides to choose between, in pixels; the config's own without them."""
    stride: Annotated[tuple[Count, ...], Field(strict=False)] = ()
    """Strides to choose between, in pixels; the config's own without them."""
    seeds: Annotated[tuple[Seed, ...], Field(strict=False, min_length=1)]
    """Seeds of tuning alone."""
    trials: Count = 20
    """How many trials."""
    grid_points: Annotated[int, Field(ge=2, le=1000)] = 5
    """Values of a parameter in a sweep."""
    city_share: Share = 0.25
    """Share of training images, whole cities of them, that trials are scored on and never trained
    on.
    """


class Tuned(Block):
    """How a config's strategy and window were found.

    It stands beside the tuned strategy on every leaderboard.
    """

    strategy: str
    """The tuned strategy."""
    trials: Count
    """How many trials it took."""
    objective: str
    """What was optimised."""
    clicks: Annotated[int, Field(ge=0, lt=2**53)]
    """Recorded clicks of all images that tuning used."""
    hours: Annotated[float, Field(ge=0, le=1e9)]
    """Hours of work."""
    seeds: Annotated[tuple[int, ...], Field(strict=False)] = ()
    """Seeds that were tuned on: no reported run may use them."""
