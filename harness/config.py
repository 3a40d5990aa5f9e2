"""An mmengine config file to a frozen, validated ExperimentSpec.

An unknown key is an error that names it and its file.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib.util
import io
import json
import math
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)

from harness.blocks import (
    Block,
    CityscapesData,
    CostModel,
    LabelNoise,
    MasksData,
    OtherData,
    PolygonsData,
    Protocol,
    SecondsPerClick,
    StreetsData,
    Training,
    Tune,
    Tuned,
)
from harness.built_in import built_in_configs, config_path, weights_named, weights_path
from harness.errors import InputError, one_line, shorten
from harness.identity import changed_constants
from harness.sources import digest_of, files_of, with_imports

DATA_ROOT_VARIABLE = "CITYSCAPES_DATASET"

NOT_IN_THE_DIGEST = ("device", "seconds_per_click", "remark", "tune", "tuned", "vis_backends")
COMPUTED = ("pretrained_sha256", "weights_sha256", "imports_sha256")
"""Hashes of files that a config names."""
_NOT_WRITTEN = {"name", "device", *COMPUTED}
WITH_ROOT = {"cityscapes", "masks", "polygons"}
"""Types of data whose folder is no part of a run, so that it has to be given."""
_ONLY_REFUSES = {"root", "max_void_share", "void"}
"""Options of a data set that decide whether it is read, never how.

The fingerprint says what was.
"""
_HELPERS = {"width", "channels"}
"""Names that a config may use for its own arithmetic."""
_MMSEG_S_OWN = {
    *("act_cfg", "auto_scale_lr", "backbone_norm_cfg", "checkpoint", "checkpoint_file", "conv_cfg"),
    *("crop_size", "data_preprocessor", "data_root", "dataset_type"),
    *("default_hooks", "default_scope", "env_cfg", "img_ratios", "launcher", "load_from"),
    *("log_level", "log_processor", "norm_cfg", "num_classes", "optimizer", "randomness", "resume"),
    *("test_cfg", "test_dataloader", "test_evaluator", "test_pipeline", "train_cfg"),
    *("train_dataloader", "tta_model", "tta_pipeline", "val_cfg"),
    *("val_dataloader", "val_evaluator", "val_pipeline", "visualizer", "work_dir"),
}
"""Keys of MMSegmentation's own training loop: passed over, and named once on standard error."""


_OURS = ("streets", "cityscapes", "masks", "polygons")


def _kind_of_data(value: Any) -> str:
    """Return which block reads a ``data`` block: ours by its type, else that of a plug-in."""
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return kind if kind in _OURS else "other"


class ExperimentSpec(Block):
    """One board, but for its strategies."""

    name: str
    """The config file's name, without suffix; it cannot be set."""
    data: Annotated[
        Annotated[StreetsData, Tag("streets")]
        | Annotated[CityscapesData, Tag("cityscapes")]
        | Annotated[MasksData, Tag("masks")]
        | Annotated[PolygonsData, Tag("polygons")]
        | Annotated[OtherData, Tag("other")],
        Discriminator(_kind_of_data),
    ]
    """The data set; its ``type`` says which keys it has."""
    model: dict[str, Any]
    """The network, as MMSegmentation writes it."""
    optim_wrapper: dict[str, Any]
    """The optimizer, as mmengine writes it."""
    param_scheduler: list[dict[str, Any]]
    """Learning-rate schedules, as mmengine writes them."""
    training: Training
    """Length of a training and what it is shown."""
    cost_model: CostModel
    """The cost head."""
    harness: Protocol
    """How much is asked for when."""
    remark: str = ""
    """A sentence that is shown beside the table."""
    annotator: LabelNoise = LabelNoise()
    """Label noise."""
    seconds_per_click: SecondsPerClick = SecondsPerClick()
    """How long each kind of click takes."""
    tune: Tune | None = None
    """What ``harness tune`` may choose."""
    tuned: Tuned | None = None
    """How the values were found; written by ``harness tune``."""
    custom_imports: dict[str, Any] | None = None
    """Modules to import, as in mmengine."""
    custom_hooks: Annotated[list[dict[str, Any]], Field(default_factory=list)]
    """mmengine's hooks; ``EMAHook`` alone has a place."""
    vis_backends: Annotated[list[dict[str, Any]], Field(default_factory=list)]
    """Where losses are shown, such as TensorBoard, as mmengine writes it."""
    train_pipeline: Annotated[list[dict[str, Any]], Field(default_factory=list)]
    """Transforms of training images, for ``sampler="pipeline"``."""
    pretrained_sha256: str = ""
    """SHA-256 of the backbone's weights; it is computed and cannot be set."""
    weights_sha256: Annotated[dict[str, str], Field(default_factory=dict)]
    """SHA-256 of each other file of weights; it is computed and cannot be set."""
    imports_sha256: str = ""
    """Hash of your own modules that ``custom_imports`` names; it is computed and cannot be set."""
    device: str = "cpu"
    """cpu or cuda; set by ``--device``."""

    @model_validator(mode="after")
    def _pipeline_is_there(self) -> ExperimentSpec:
        asked = self.training.sampler == "pipeline"
        if asked and not self.train_pipeline:
            raise ValueError(
                "training.sampler is 'pipeline', so train_pipeline must list transforms"
            )
        if asked and self.training.frozen_trunk:
            raise ValueError(
                "training.frozen_trunk must be False with a train_pipeline: features are made once"
            )
        return self

    @model_validator(mode="after")
    def _tuning_is_apart(self) -> ExperimentSpec:
        if self.tuned is not None and (
            shared := sorted(set(self.tuned.seeds) & set(self.harness.seeds))
        ):
            raise ValueError(
                f"harness.seeds must be others than those that were tuned on, got {shared}"
            )
        if self.tune is None:
            return self
        if shared := sorted(set(self.tune.seeds) & set(self.harness.seeds)):
            raise ValueError(
                f"tune.seeds must be seeds that no reported run uses, got {shared}, which "
                "harness.seeds has too"
            )
        for name, (low, high) in self.tune.parameters.items():
            if not low < high:
                raise ValueError(
                    f"tune.parameters.{name} must be a lower bound, then a higher one, "
                    f"got ({low}, {high})"
                )
        for name, choices, own in (
            ("window", self.tune.window, self.harness.window),
            ("stride", self.tune.stride, self.harness.stride),
        ):
            if choices and own not in choices:
                raise ValueError(
                    f"tune.{name} must have harness.{name}, {own}, among its choices, as it "
                    f"is trial 0, got {list(choices)}"
                )
        return self

    def digest(self) -> str:
        """Identify all that determines results.

        Everything but seeds, the place of the data, device, time model, tuning.

        Options that came after the first published board count only where they differ from their
        default, so that a board stays the same board when the product learns something new.
        """
        document = self.model_dump(mode="json", exclude=set(NOT_IN_THE_DIGEST))
        for name in ("data", "training", "cost_model", "harness"):
            block = getattr(self, name)
            if isinstance(block, Block):
                document[name] = block.identity()
        for key in _ONLY_REFUSES:
            document["data"].pop(key, None)
        del document["harness"]["seeds"]
        if self.annotator == LabelNoise():
            del document["annotator"]
        for key in (
            "pretrained_sha256",
            "weights_sha256",
            "imports_sha256",
            "custom_imports",
            "custom_hooks",
            "train_pipeline",
        ):
            if not document[key]:
                del document[key]
        document |= changed_constants()
        return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def check_types(spec: ExperimentSpec, place: Path) -> None:
    """Refuse, in a config that is data of somebody else, a ``type`` that mmengine would import and call: only registered names pass.

    Raises:
        InputError: one line that names the type.
    """
    waiting: list[Any] = [
        spec.model,
        spec.optim_wrapper,
        spec.param_scheduler,
        spec.custom_hooks,
        spec.vis_backends,
        spec.train_pipeline,
    ]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list | tuple):
            waiting += item
        elif isinstance(item, dict):
            waiting += item.values()
            for key in ("type", "constructor", "_scope_"):
                if key in item and not (isinstance(item[key], str) and item[key].isidentifier()):
                    raise InputError(
                        f"{place}: each {key} in its config must be the plain name of something "
                        f"registered, got {item[key]!r}"
                    )


def load_spec(
    path: Path | None,
    *,
    data_root: Path | None = None,
    seeds: tuple[int, ...] | None = None,
    device: str | None = None,
    changes: Sequence[str] = (),
) -> ExperimentSpec:
    """Read a config file, with what the command line overrides.

    Args:
        changes: ``key.of.a.block=value`` each, as --set gives them; the values are Python's, or
            text.

    Raises:
        InputError: no such file, a file that does not run, an unknown key, a value out of range;
            one line that names the key.
    """
    file = _config_file(path)
    raw = _read(file)
    names = set(ExperimentSpec.model_fields) - _NOT_WRITTEN
    _check_keys(set(raw), names, file)
    document: dict[str, Any] = {key: raw[key] for key in raw if key in names}
    document["name"] = file.stem
    if not file.stem.isprintable():
        raise InputError(
            f"config {shorten(str(file))}: its name must be printable: it is the board's"
        )
    for change in changes:
        _set(document, change)
    training = document.get("training")
    own_crops = isinstance(training, dict) and training.get("sampler") != "pipeline"
    if own_crops and document.pop("train_pipeline", None):
        _say_unused(file, "train_pipeline (training.sampler='pipeline' uses it)")
    check_values(document, file)
    data = document.get("data")
    if isinstance(data, dict) and data.get("type") in WITH_ROOT:
        data["root"] = _data_root(data, file, data_root)
    elif data_root is not None:
        raise InputError(
            f"--data-root {data_root}: {file} makes its own data; give a config with data type "
            "'cityscapes', 'masks' or 'polygons'"
        )
    if seeds is not None and isinstance(document.get("harness"), dict):
        document["harness"]["seeds"] = list(seeds)
    if device is not None:
        document["device"] = device
    document["pretrained_sha256"] = _pretrained(document, file)
    document["weights_sha256"] = _weights(document.get("model"), file)
    document["imports_sha256"] = _imports(document.get("custom_imports"))
    return _validated(document, file)


def _check_keys(given: set[str], names: set[str], file: Path) -> None:
    """Name the keys that are passed over, and refuse those that nobody knows."""
    if ignored := sorted(given & _MMSEG_S_OWN):
        _say_unused(file, f"the loop is the harness's own: {', '.join(ignored)}")
    for key in sorted(given - names - _HELPERS - _MMSEG_S_OWN):
        raise InputError(
            f"{file}: unknown key {shorten(key)}; available: {', '.join(sorted(names | _HELPERS))}"
        )


def _say_unused(file: Path, what: str) -> None:
    print(f"harness: {file.name}: not used, {what}", file=sys.stderr)


def _validated(document: dict[str, Any], file: Path) -> ExperimentSpec:
    from harness.data.source import check_type

    try:
        spec = ExperimentSpec.model_validate(document)
        check_type(spec.data)
    except ValidationError as error:
        raise InputError(f"{file}: {_first_problem(error)}") from error
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
    return spec


def _set(document: dict[str, Any], change: str) -> None:
    """Make one change of --set.

    Raises:
        InputError: no equals sign, or a key below something that is no block.
    """
    key, equals, text = change.partition("=")
    *blocks, last = key.strip().split(".")
    if not equals or not all([*blocks, last]):
        raise InputError(f"--set must be key.of.a.block=value, got {shorten(change)}")
    if (first := [*blocks, last][0]) in _NOT_WRITTEN:
        instead = "--device sets it" if first == "device" else "it cannot be set"
        raise InputError(f"--set {shorten(change)}: {instead}")
    place: Any = document
    for name in blocks:
        place = place.setdefault(name, {}) if isinstance(place, dict) else None
    if not isinstance(place, dict):
        raise InputError(
            f"--set {shorten(change)}: {'.'.join(blocks)} must be a block of the config"
        )
    try:
        place[last] = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError):
        place[last] = text.strip()
        return
    if twice := _double_key(text.strip()):
        raise InputError(f"--set {shorten(change)}: a key must stand once, got {twice[0]} twice")


def _data_root(data: dict[str, Any], file: Path, asked: Path | None) -> str:
    """Return the folder of the data: of the command line, the config, or the environment.

    Choice: what is written beside the classes goes before a variable that is set for other
    programs, too; and the variable is Cityscapes' alone.

    Raises:
        InputError: nobody names one.
    """
    if asked is not None:
        return str(asked)
    named = data.get("root")
    if isinstance(named, str) and named.strip():
        return str((file.resolve().parent / Path(named).expanduser()).absolute())
    if named is not None:
        raise InputError(f"{file}: data.root must be a folder, got {shorten(named)}")
    variable = os.environ.get(DATA_ROOT_VARIABLE)
    if variable and data["type"] == "cityscapes":
        return variable
    also = f", or {DATA_ROOT_VARIABLE} in the environment" if data["type"] == "cityscapes" else ""
    raise InputError(
        f"{file}: the data root is missing: write data.root, or give --data-root DIR{also}"
    )


def _pretrained(document: dict[str, Any], file: Path) -> str:
    """Return the SHA-256 of the backbone's weights, if some are named: part of a board's identity.

    Raises:
        InputError: no such file.
    """
    backbone = (
        document["model"].get("backbone") if isinstance(document.get("model"), dict) else None
    )
    name = backbone.get("pretrained") if isinstance(backbone, dict) else None
    if name is None:
        return ""
    if not isinstance(name, str):
        raise InputError(
            f"{file}: model.backbone.pretrained must be a file of weights, got {shorten(name)}"
        )
    try:
        return hashlib.sha256(weights_path(name).read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(
            f"{file}: model.backbone.pretrained must be weights of harness pretext, or of "
            f"torchvision, got {shorten(name)} ({error.strerror})"
        ) from error


def _imports(custom: Any) -> str:
    """Return a hash of the modules of one's own that a config imports; empty where it has none."""
    names = custom.get("imports") if isinstance(custom, dict) else None
    plain = [name for name in names or () if isinstance(name, str)]
    files = with_imports(file for name in plain for file in files_of(name))
    return digest_of(files) if files else ""


def _weights(model: Any, file: Path) -> dict[str, str]:
    """Return the SHA-256 of every other file of weights that a model names, by its dotted key.

    Raises:
        InputError: an address to load from, or no such file.
    """
    found: dict[str, str] = {}
    for key, value in weights_named("model", model):
        if key == "model.backbone.pretrained":
            continue  # has a place of its own in a board's identity
        if not isinstance(value, str) or "://" in value:
            raise InputError(f"{file}: {key} must be a file on this disk, got {shorten(value)}")
        try:
            found[key] = hashlib.sha256(weights_path(value).read_bytes()).hexdigest()
        except OSError as error:
            raise InputError(
                f"{file}: {key} must be a file of weights, got {shorten(value)} ({error.strerror})"
            ) from error
    return dict(sorted(found.items()))


_DEEPEST = 40


def check_values(document: Any, file: Path) -> None:
    """Refuse, anywhere in a config, what no option can be.

    Raises:
        InputError: a number that is not finite or absurdly large, a text that cannot be written, a
            value that is not plain Python, or blocks in blocks without end; with the dotted key.
    """
    waiting: list[tuple[str, Any, int]] = [("", document, 0)]
    while waiting:
        key, value, depth = waiting.pop()
        fault = None
        if depth > _DEEPEST:
            fault = f"must be at most {_DEEPEST} blocks deep"
        elif isinstance(value, dict):
            waiting += [(f"{key}.{name}", item, depth + 1) for name, item in value.items()]
            bad = [name for name in value if isinstance(name, str) and not name.isprintable()]
            fault = f"must have printable keys, got {shorten(bad[0])}" if bad else None
        elif isinstance(value, list | tuple | set):
            waiting += [(f"{key}[{n}]", item, depth + 1) for n, item in enumerate(value)]
        elif isinstance(value, float):
            fault = None if math.isfinite(value) else f"must be finite, got {value}"
        elif isinstance(value, int):
            small = -(2**63) < value < 2**63
            fault = None if small else "must be below 2^63, got a number of many digits"
        elif isinstance(value, str):
            plain = value.replace("\n", " ").replace("\t", " ")
            fault = None if plain.isprintable() else f"must be printable, got {shorten(value)}"
        elif value is not None:
            fault = f"must be a plain value, got {shorten(value)}"
        if fault is not None:
            raise InputError(f"{file}: {one_line(key.lstrip('.')) or 'the config'} {fault}")


def _config_file(path: Path | None) -> Path:
    """Return the file of a path, or of the bare name of a built-in configuration."""
    if path is None:
        return config_path("streets")
    built_in = config_path(path.stem if path.parent == Path() else "")
    return (
        built_in
        if not path.is_file() and path.suffix in {"", ".py"} and built_in.is_file()
        else path
    )


def _read(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise InputError(
            f"config {file}: no such file; give a Python config file, or the name of a built-in "
            f"one: {', '.join(built_in_configs())}"
        )
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it could not import
        from mmengine.config import Config

    try:
        _refuse_double_keys(file)
        with _other_bases(Config):
            return dict(Config.fromfile(str(file), lazy_import=False).to_dict())
    except (InputError, KeyboardInterrupt):
        raise
    except BaseException as error:  # a config is Python: anything can be raised, sys.exit too
        said = one_line(f"{type(error).__name__}: {error}")
        raise InputError(f"config {file}: cannot be read ({said})") from error


def _refuse_double_keys(file: Path) -> None:
    """Refuse a dictionary of a config in which a key stands twice: Python keeps the last alone.

    Raises:
        InputError: with the line.
    """
    if file.suffix != ".py" or not file.is_file():
        return
    twice = None
    with contextlib.suppress(SyntaxError, ValueError, RecursionError):  # said when it is read
        twice = _double_key(file.read_text(encoding="utf-8"))
    if twice:
        raise InputError(f"config {file}:{twice[1]}: a key must stand once, got {twice[0]} twice")


def _double_key(source: str) -> tuple[str, int] | None:
    """Return a key that stands twice in a dictionary of some Python text, and its line."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Dict):
            continue
        known: set[Any] = set()
        for key in filter(None, node.keys):  # None stands for **another
            try:
                value = ast.literal_eval(key)
                if value in known:
                    return shorten(value), key.lineno
                known.add(value)
            except (ValueError, TypeError):
                continue  # a key that is computed
    return None


@contextlib.contextmanager
def _other_bases(config: Any) -> Iterator[None]:
    """Let ``_base_`` name configs of mmseg and ours: ``mmseg::...``, ``harness::...``.

    mmengine looks for a distribution called mmsegmentation, which the maintained one is not.
    """
    original = config._get_cfg_path  # noqa: SLF001

    def found(base: str, file: str) -> tuple[str, str | None]:
        scope, _, rest = base.partition("::")
        if scope == "harness" and rest:
            path = config_path("streets").parent / rest
        elif scope == "mmseg" and rest:
            module = importlib.util.find_spec("mmseg")
            place = module.origin if module and module.origin else ""
            path = Path(place).parent / ".mim" / "configs" / rest.removeprefix("configs/")
        else:
            path, scope = original(base, file)
            _refuse_double_keys(Path(path))
            return str(path), scope or None
        if not path.is_file():
            raise InputError(f"config {file}: _base_ {shorten(base)}: no such config")
        return str(path), None

    config._get_cfg_path = staticmethod(found)  # noqa: SLF001
    try:
        yield
    finally:
        config._get_cfg_path = staticmethod(original)  # noqa: SLF001


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    place = [str(part) for part in problem["loc"] if part not in {*_OURS, "other"}]
    key = ".".join(place)
    if problem["type"] == "extra_forbidden":
        return f"unknown key {shorten(key)}; available there: {', '.join(_known_keys(place))}"
    if problem["type"] == "missing":
        return f"key {key!r} is missing"
    said = problem["msg"].removeprefix("Value error, ")
    if isinstance(problem["input"], dict) and problem["type"] == "value_error":
        return said  # a block: what is said names the option
    if said.startswith("Input should be "):
        wanted = said.removeprefix("Input should be ").replace("a valid tuple", "a list")
        wanted = wanted.partition(" or instance of ")[0].replace("a valid integer", "an integer")
        wanted = wanted.replace("valid ", "")
        return f"{one_line(key)} must be {wanted}, got {shorten(problem['input'])}"
    return f"{one_line(key)} is {shorten(problem['input'])}; {said}"


def _known_keys(place: list[str]) -> list[str]:
    blocks: dict[str, type[BaseModel]] = {
        "training": Training,
        "cost_model": CostModel,
        "harness": Protocol,
        "data": StreetsData,
        "annotator": LabelNoise,
        "seconds_per_click": SecondsPerClick,
        "tune": Tune,
        "tuned": Tuned,
    }
    return sorted(blocks.get(place[0], ExperimentSpec).model_fields)
