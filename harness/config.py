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


class CityscapesData(_Block):
    """A folder in Cityscapes' layout; ``root`` may come from the command line or from CITYSCAPES_DATASET."""

    type: Literal["cityscapes"]
    root: str | None = None
    train_split: str = "train"
    val_split: str = "val"


class Training(_Block):
    """Length of a training and its crops; the same for every strategy and for the full-data reference."""

    steps: Count
    steps_per_image: Annotated[int, Field(ge=0)] = 0
    max_steps: Count
    batch_size: Count
    crop: Annotated[tuple[Count, Count], Field(strict=False)]
    flip: bool = True
    jitter: bool = True
    class_weights: bool = True


class CostModel(_Block):
    """The cost head; see ``harness.segmentor.cost_head.CostRecipe``."""

    hidden: Count = 64
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
    committee: Annotated[int, Field(ge=2, le=10_000)] = 20
    seeds: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**31)], ...], Field(strict=False, min_length=1)]

    @model_validator(mode="after")
    def _distinct_seeds(self) -> Protocol:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds {list(self.seeds)} repeat one; allowed: each seed once")
        return self


class ExperimentSpec(_Block):
    """One board, but for its strategies. ``model``, ``optim_wrapper`` and ``param_scheduler`` are mmseg's and mmengine's own."""

    name: str
    data: Annotated[StreetsData | CityscapesData, Field(discriminator="type")]
    model: dict[str, Any]
    optim_wrapper: dict[str, Any]
    param_scheduler: list[dict[str, Any]]
    training: Training
    cost_model: CostModel
    harness: Protocol
    device: str = "cpu"

    def digest(self) -> str:
        """Identify all that determines results: everything but the list of seeds, the place of the data and the device."""
        document = self.model_dump(mode="json", exclude={"harness": {"seeds"}, "data": {"root"}, "device": True})
        return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def config_path(name: str) -> Path:
    """Return the path of a configuration that ships with the product.

    It lies in the package when that is installed, beside it in a checkout.
    """
    inside = _PACKAGE / "configs" / f"{name}.py"
    return inside if inside.is_file() else _PACKAGE.parent / "configs" / f"{name}.py"


def load_spec(
    path: Path | None, *, data_root: Path | None = None, seeds: tuple[int, ...] | None = None, device: str | None = None
) -> ExperimentSpec:
    """Read a config file, with what the command line overrides.

    Raises:
        InputError: no such file, a file that does not run, an unknown key, a value out of range; one line that names the key.
    """
    file = path or config_path("streets")
    raw = _read(file)
    names = set(ExperimentSpec.model_fields) - {"name", "device"}
    helpers = {key for key, value in raw.items() if not isinstance(value, dict | list) or key == "channels"}
    for key in sorted(set(raw) - names - helpers):
        raise InputError(f"{file}: unknown key {key!r}; allowed: {', '.join(sorted(names))}")
    document: dict[str, Any] = {key: raw[key] for key in raw if key in names}
    document["name"] = file.stem
    data = document.get("data")
    if isinstance(data, dict) and data.get("type") == "cityscapes":
        root = data_root or os.environ.get(DATA_ROOT_VARIABLE) or data.get("root")
        if root is None:
            raise InputError(f"{file}: the data root is missing; allowed: --data-root DIR, or {DATA_ROOT_VARIABLE} in the environment")
        data["root"] = str(root)
    elif data_root is not None:
        raise InputError(f"--data-root {data_root}: {file} makes its own data; allowed: a config with data type 'cityscapes'")
    if seeds is not None and isinstance(document.get("harness"), dict):
        document["harness"]["seeds"] = list(seeds)
    if device is not None:
        document["device"] = device
    try:
        return ExperimentSpec.model_validate(document)
    except ValidationError as error:
        raise InputError(f"{file}: {_first_problem(error)}") from error


def _read(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise InputError(f"config {file}: no such file; allowed: a Python config file")
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
    place = [str(part) for part in problem["loc"] if part not in {"streets", "cityscapes"}]
    key = ".".join(place)
    if problem["type"] == "extra_forbidden":
        return f"unknown key {key!r}; allowed there: {', '.join(_known_keys(place))}"
    if problem["type"] == "missing":
        return f"key {key!r} is missing"
    return f"{key} is {problem['input']!r}; {problem['msg'].removeprefix('Value error, ')}"


def _known_keys(place: list[str]) -> list[str]:
    blocks: dict[str, type[BaseModel]] = {"training": Training, "cost_model": CostModel, "harness": Protocol, "data": StreetsData}
    return sorted(blocks.get(place[0], ExperimentSpec).model_fields)
