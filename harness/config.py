"""An mmengine config file to a frozen, validated ExperimentSpec; an unknown key is an error that names it and its file."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from harness.errors import InputError

_PACKAGE = Path(__file__).resolve().parent
DATA_ROOT_VARIABLE = "CITYSCAPES_DATASET"

_NOT_IN_THE_DIGEST = ("device", "seconds_per_click", "remark", "tune", "tuned")
_LATER_OPTIONS = (
    ("training", "sampler", "pixel"),
    ("training", "repeat", 0),
    ("cost_model", "head", "trunk"),
    ("cost_model", "target", "density"),
)
"""Block, key and default of options that came after the first published board."""

_HELPERS = {"width", "channels"}
"""Names that a config may use for its own arithmetic."""

Count = Annotated[int, Field(ge=1, le=1_000_000)]
Share = Annotated[float, Field(gt=0.0, le=1.0)]


class _Block(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class StreetsData(_Block):
    """The embedded pack, made on first use."""

    type: Literal["streets"]
    height: Count
    width: Count
    train: Count
    val: Count
    seed: Annotated[int, Field(ge=0)]
    redundancy: Count = 1
    visible_only: bool = False


class CityscapesData(_Block):
    """A folder in Cityscapes' layout; ``root`` may come from the command line or from CITYSCAPES_DATASET."""

    type: Literal["cityscapes"]
    root: str | None = None
    train_split: str = "train"
    val_split: str = "val"
    visible_only: bool = False


class MasksData(_Block):
    """A folder of images and label PNGs without polygons: clicks are simulated. See ``harness.data.masks.MaskLayout``."""

    type: Literal["masks"]
    root: str | None = None
    images: str
    labels: str
    classes: Annotated[dict[Annotated[int, Field(ge=0, le=255, strict=False)], str], Field(strict=False, min_length=2)]
    tolerance_px: Annotated[float, Field(gt=0, le=100)] = 1.0
    train_split: str = "train"
    val_split: str = "val"


class Annotator(_Block):
    """Annotators who err; see ``harness.data.annotators.Slips``. Off by default."""

    seed: Annotated[int, Field(ge=0)] = 0
    missed: Annotated[float, Field(ge=0, le=1)] = 0.0
    wrong: Annotated[float, Field(ge=0, le=1)] = 0.0
    small_px: Count = 64
    jitter_px: Annotated[float, Field(ge=0, le=100)] = 0.0
    click_noise: Annotated[float, Field(ge=0, le=10)] = 0.0


class SecondsPerClick(_Block):
    """The annotation-time model; see ``harness.types.ClickSeconds``."""

    polygon: Annotated[float, Field(ge=0)] = 3.15
    intersection: Annotated[float, Field(ge=0)] = 3.15
    box: Annotated[float, Field(ge=0)] = 3.15
    classes: Annotated[float, Field(ge=0)] = 3.15


class Training(_Block):
    """Length of a training and its crops; the same for every strategy and for the full-data reference.

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
    sampler: Literal["pixel", "cover"] = "pixel"
    repeat: Annotated[int, Field(ge=0, le=1_000_000)] = 0


class CostModel(_Block):
    """The cost head; see ``harness.segmentor.cost_head.CostRecipe``."""

    head: Literal["trunk", "probabilities", "borders"] = "trunk"
    target: Literal["density", "vertices"] = "density"
    hidden: Annotated[int, Field(ge=0, le=1_000_000)] = 64
    steps: Count = 300
    batch_cells: Count = 1024
    lr: Annotated[float, Field(gt=0)] = 3e-3
    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    sigma_px: Annotated[float, Field(gt=0)] = 2.0
    max_cells: Count = 400_000


class Protocol(_Block):
    """The ``harness`` block: how much is asked for when, the same for every strategy."""

    window: Count
    stride: Count = 1
    overlap: Literal["forbid", "allow"] = "forbid"
    seed_images: Count
    images_per_round: Count
    rounds: Annotated[int, Field(ge=0, le=1000)]
    committee: Annotated[int, Field(ge=2, le=255)] = 20
    seeds: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**31)], ...], Field(strict=False, min_length=1)]

    @model_validator(mode="after")
    def _distinct_seeds(self) -> Protocol:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds {list(self.seeds)} repeat one; allowed: each seed once")
        return self


class Tune(_Block):
    """What ``harness tune`` may choose, and on what.

    strategy: one name, or several to choose between. parameters: bounds of the strategies' own parameters, such as alpha.
    window, stride: sides and steps in pixels to choose between; the config's own without them. seeds: of tuning alone.
    city_share: the share of training images, whole cities of them, that tuning trials are scored on and never trained on.
    """

    strategy: Annotated[tuple[str, ...], Field(strict=False, min_length=1)]
    parameters: dict[str, Annotated[tuple[float, float], Field(strict=False)]] = {}
    window: Annotated[tuple[Count, ...], Field(strict=False)] = ()
    stride: Annotated[tuple[Count, ...], Field(strict=False)] = ()
    seeds: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**31)], ...], Field(strict=False, min_length=1)]
    trials: Count = 20
    grid_points: Annotated[int, Field(ge=2, le=1000)] = 5
    city_share: Share = 0.25


class Tuned(_Block):
    """How a config's strategy and window were found: it stands beside the tuned strategy on every leaderboard."""

    strategy: str
    trials: Count
    objective: str
    clicks: Annotated[int, Field(ge=0)]
    hours: Annotated[float, Field(ge=0)]
    seeds: Annotated[tuple[int, ...], Field(strict=False)] = ()


class ExperimentSpec(_Block):
    """One board, but for its strategies. ``model``, ``optim_wrapper`` and ``param_scheduler`` are mmseg's and mmengine's own."""

    name: str
    data: Annotated[StreetsData | CityscapesData | MasksData, Field(discriminator="type")]
    model: dict[str, Any]
    optim_wrapper: dict[str, Any]
    param_scheduler: list[dict[str, Any]]
    training: Training
    cost_model: CostModel
    harness: Protocol
    remark: str = ""
    annotator: Annotator = Annotator()
    seconds_per_click: SecondsPerClick = SecondsPerClick()
    tune: Tune | None = None
    tuned: Tuned | None = None
    device: str = "cpu"

    @model_validator(mode="after")
    def _tuning_is_apart(self) -> ExperimentSpec:
        if self.tuned is not None and (shared := sorted(set(self.tuned.seeds) & set(self.harness.seeds))):
            raise ValueError(f"seeds {shared} were tuned on; allowed: others")
        if self.tune is None:
            return self
        if shared := sorted(set(self.tune.seeds) & set(self.harness.seeds)):
            raise ValueError(f"tune.seeds and harness.seeds share {shared}; allowed: seeds that no reported run uses")
        for name, (low, high) in self.tune.parameters.items():
            if not low < high:
                raise ValueError(f"tune.parameters.{name} is ({low}, {high}); allowed: a lower bound, then a higher one")
        for name, choices, own in (("window", self.tune.window, self.harness.window), ("stride", self.tune.stride, self.harness.stride)):
            if choices and own not in choices:
                raise ValueError(f"tune.{name} is {list(choices)}; allowed: choices with harness.{name}, {own}, among them: it is trial 0")
        return self

    def digest(self) -> str:
        """Identify all that determines results: everything but seeds, the place of the data, device, time model, tuning.

        Options that came after the first published board count only where they differ from their default, so that a board
        stays the same board when the product learns something new.
        """
        document = self.model_dump(mode="json", exclude={"harness": {"seeds"}, "data": {"root"}} | dict.fromkeys(_NOT_IN_THE_DIGEST, True))
        if self.annotator == Annotator():
            del document["annotator"]
        if not document["data"].get("visible_only", True):
            del document["data"]["visible_only"]
        for block, key, default in _LATER_OPTIONS:
            if document[block][key] == default:
                del document[block][key]
        return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def config_path(name: str) -> Path:
    """Return the path of a configuration that ships with the product.

    It lies in the package when that is installed, beside it in a checkout.
    """
    inside = _PACKAGE / "configs" / f"{name}.py"
    return inside if inside.is_file() else _PACKAGE.parent / "configs" / f"{name}.py"


def shipped_configs() -> list[str]:
    """List the configurations that ship with the product."""
    return sorted(file.stem for file in config_path("streets").parent.glob("*.py"))


def load_spec(
    path: Path | None, *, data_root: Path | None = None, seeds: tuple[int, ...] | None = None, device: str | None = None
) -> ExperimentSpec:
    """Read a config file, with what the command line overrides.

    Raises:
        InputError: no such file, a file that does not run, an unknown key, a value out of range; one line that names the key.
    """
    file = _config_file(path)
    raw = _read(file)
    names = set(ExperimentSpec.model_fields) - {"name", "device"}
    for key in sorted(set(raw) - names - _HELPERS):
        raise InputError(f"{file}: unknown key {key!r}; allowed: {', '.join(sorted(names | _HELPERS))}")
    document: dict[str, Any] = {key: raw[key] for key in raw if key in names}
    document["name"] = file.stem
    data = document.get("data")
    if isinstance(data, dict) and data.get("type") in ("cityscapes", "masks"):
        root = data_root or os.environ.get(DATA_ROOT_VARIABLE) or data.get("root")
        if root is None:
            raise InputError(f"{file}: the data root is missing; allowed: --data-root DIR, or {DATA_ROOT_VARIABLE} in the environment")
        data["root"] = str(root)
    elif data_root is not None:
        raise InputError(f"--data-root {data_root}: {file} makes its own data; allowed: a config with data type 'cityscapes' or 'masks'")
    if seeds is not None and isinstance(document.get("harness"), dict):
        document["harness"]["seeds"] = list(seeds)
    if device is not None:
        document["device"] = device
    try:
        return ExperimentSpec.model_validate(document)
    except ValidationError as error:
        raise InputError(f"{file}: {_first_problem(error)}") from error


def _config_file(path: Path | None) -> Path:
    """Return the file of a path, or of the bare name of a configuration that ships with the product."""
    if path is None:
        return config_path("streets")
    shipped = config_path(path.stem if path.parent == Path() else "")
    return shipped if not path.is_file() and path.suffix in {"", ".py"} and shipped.is_file() else path


def _read(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise InputError(
            f"config {file}: no such file; allowed: a Python config file, or the name of one that ships: {', '.join(shipped_configs())}"
        )
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it could not import
        from mmengine.config import Config

    try:
        return dict(Config.fromfile(str(file), lazy_import=False).to_dict())
    except InputError:
        raise
    except Exception as error:  # a config is Python: anything can be raised while it runs
        raise InputError(f"config {file}: cannot be read ({type(error).__name__}: {' '.join(str(error).split())})") from error


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    place = [str(part) for part in problem["loc"] if part not in {"streets", "cityscapes", "masks"}]
    key = ".".join(place)
    if problem["type"] == "extra_forbidden":
        return f"unknown key {key!r}; allowed there: {', '.join(_known_keys(place))}"
    if problem["type"] == "missing":
        return f"key {key!r} is missing"
    return f"{key} is {problem['input']!r}; {problem['msg'].removeprefix('Value error, ')}"


def _known_keys(place: list[str]) -> list[str]:
    blocks: dict[str, type[BaseModel]] = {
        "training": Training,
        "cost_model": CostModel,
        "harness": Protocol,
        "data": StreetsData,
        "annotator": Annotator,
        "seconds_per_click": SecondsPerClick,
        "tune": Tune,
        "tuned": Tuned,
    }
    return sorted(blocks.get(place[0], ExperimentSpec).model_fields)
