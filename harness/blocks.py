"""The blocks of a config: what each key means and what it may be."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Count = Annotated[int, Field(ge=1, le=1_000_000)]
Share = Annotated[float, Field(gt=0.0, le=1.0)]

LATER = {"later": True}
"""Marks an option that came after the first published board: at its default it does not count for a board's identity."""


class Block(BaseModel):
    """Frozen, strict, and without a key that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class StreetsData(Block):
    """The embedded pack, made on first use."""

    type: Literal["streets"]
    height: Count
    width: Count
    train: Count
    val: Count
    seed: Annotated[int, Field(ge=0)]
    redundancy: Count = 1
    visible_only: bool = False


class CityscapesData(Block):
    """A folder in Cityscapes' layout; ``root`` may come from the command line or from CITYSCAPES_DATASET."""

    type: Literal["cityscapes"]
    root: str | None = None
    train_split: str = "train"
    val_split: str = "val"
    visible_only: bool = False


class MasksData(Block):
    """A folder of images and label PNGs without polygons: clicks are simulated. See ``harness.data.masks.MaskLayout``."""

    type: Literal["masks"]
    root: str | None = None
    images: str
    labels: str
    classes: Annotated[
        dict[Annotated[int, Field(ge=0, le=255, strict=False)], str],
        Field(strict=False, min_length=2),
    ]
    tolerance_px: Annotated[float, Field(gt=0, le=100)] = 1.0
    train_split: str = "train"
    val_split: str = "val"


class Annotator(Block):
    """Annotators who err; see ``harness.data.annotators.Slips``. Off by default."""

    seed: Annotated[int, Field(ge=0)] = 0
    missed: Annotated[float, Field(ge=0, le=1)] = 0.0
    wrong: Annotated[float, Field(ge=0, le=1)] = 0.0
    small_px: Count = 64
    jitter_px: Annotated[float, Field(ge=0, le=100)] = 0.0
    click_noise: Annotated[float, Field(ge=0, le=10)] = 0.0


class SecondsPerClick(Block):
    """The annotation-time model; see ``harness.types.ClickSeconds``."""

    polygon: Annotated[float, Field(ge=0)] = 3.15
    intersection: Annotated[float, Field(ge=0)] = 3.15
    box: Annotated[float, Field(ge=0)] = 3.15
    classes: Annotated[float, Field(ge=0)] = 3.15


class Training(Block):
    """Length of a training and its crops; the same for every strategy and for the full-data reference.

    frozen_trunk: only the head is trained, on a trunk with given weights: a proxy of the full board.
    precision: of convolutions and products in training, on CPU and GPU; weights, loss and all predictions are float32.
    repeat: another order of crops and other dropout from the same initial weights: what ``harness noise`` varies.
    """

    steps: Count
    steps_per_image: Annotated[int, Field(ge=0)] = 0
    max_steps: Count
    batch_size: Count
    crop: Annotated[tuple[Count, Count], Field(strict=False)]
    flip: bool = True
    jitter: bool = True
    class_weights: bool = True
    sampler: Annotated[Literal["pixel", "cover"], Field(json_schema_extra=LATER)] = "pixel"
    repeat: Annotated[int, Field(ge=0, le=1_000_000, json_schema_extra=LATER)] = 0
    frozen_trunk: Annotated[bool, Field(json_schema_extra=LATER)] = False
    precision: Annotated[Literal["float32", "bfloat16"], Field(json_schema_extra=LATER)] = "float32"


class CostModel(Block):
    """The cost head; see ``harness.segmentor.cost_head.CostRecipe``."""

    head: Annotated[
        Literal["trunk", "probabilities", "borders"], Field(json_schema_extra=LATER)
    ] = "trunk"
    target: Annotated[Literal["density", "vertices"], Field(json_schema_extra=LATER)] = "density"
    hidden: Annotated[int, Field(ge=0, le=1_000_000)] = 64
    steps: Count = 300
    batch_cells: Count = 1024
    lr: Annotated[float, Field(gt=0)] = 3e-3
    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    sigma_px: Annotated[float, Field(gt=0)] = 2.0
    max_cells: Count = 400_000


class Protocol(Block):
    """The ``harness`` block: how much is asked for when, the same for every strategy."""

    window: Count
    stride: Count = 1
    overlap: Literal["forbid", "allow"] = "forbid"
    seed_images: Count
    images_per_round: Count
    rounds: Annotated[int, Field(ge=0, le=1000)]
    committee: Annotated[int, Field(ge=2, le=255)] = 20
    seeds: Annotated[
        tuple[Annotated[int, Field(ge=0, lt=2**31)], ...], Field(strict=False, min_length=1)
    ]

    @model_validator(mode="after")
    def _distinct_seeds(self) -> Protocol:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds {list(self.seeds)} repeat one; allowed: each seed once")
        return self


class Tune(Block):
    """What ``harness tune`` may choose, and on what.

    strategy: one name, or several to choose between. parameters: bounds of the strategies' own parameters, such as alpha.
    window, stride: sides and steps in pixels to choose between; the config's own without them. seeds: of tuning alone.
    city_share: the share of training images, whole cities of them, that tuning trials are scored on and never trained on.
    """

    strategy: Annotated[tuple[str, ...], Field(strict=False, min_length=1)]
    parameters: dict[str, Annotated[tuple[float, float], Field(strict=False)]] = {}
    window: Annotated[tuple[Count, ...], Field(strict=False)] = ()
    stride: Annotated[tuple[Count, ...], Field(strict=False)] = ()
    seeds: Annotated[
        tuple[Annotated[int, Field(ge=0, lt=2**31)], ...], Field(strict=False, min_length=1)
    ]
    trials: Count = 20
    grid_points: Annotated[int, Field(ge=2, le=1000)] = 5
    city_share: Share = 0.25


class Tuned(Block):
    """How a config's strategy and window were found: it stands beside the tuned strategy on every leaderboard."""

    strategy: str
    trials: Count
    objective: str
    clicks: Annotated[int, Field(ge=0)]
    hours: Annotated[float, Field(ge=0)]
    seeds: Annotated[tuple[int, ...], Field(strict=False)] = ()
