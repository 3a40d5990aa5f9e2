"""Every strategy, by name. A new one is one factory and one line here.

Others are entry points, or files.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import math
import os
import re
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from harness.errors import InputError, one_line, shorten, unknown_name
from harness.protocols import RESERVED_NAMES, Strategy
from harness.sources import digest_of, with_imports
from strategies import baselines, cereals, field
from strategies.modifiers import MODIFIERS

STRATEGIES: dict[str, Callable[..., Strategy]] = {
    "random-image": baselines.random_image,
    "random-region": baselines.random_region,
    "entropy-image": baselines.entropy_image,
    "entropy-region": baselines.entropy_region,
    "vote-entropy-image": baselines.vote_entropy_image,
    "vote-entropy-region": baselines.vote_entropy_region,
    "cheapest-region": baselines.cheapest_region,
    "cereals-g1-entropy": cereals.g1_entropy,
    "cereals-g2-entropy": cereals.g2_entropy,
    "cereals-g3-entropy": cereals.g3_entropy,
    "cereals-g1-vote-entropy": cereals.g1_vote_entropy,
    "cereals-g2-vote-entropy": cereals.g2_vote_entropy,
    "cereals-g3-vote-entropy": cereals.g3_vote_entropy,
    "cereals-g2-entropy-oracle-cost": cereals.g2_entropy_oracle_cost,
    "margin": field.margin,
    "bald": field.bald,
    "ripu": field.ripu,
    "balanced-random": field.balanced_random,
    "coreset": field.coreset,
    "margin-image": field.margin_image,
    "least-confidence": field.least_confidence,
    "least-confidence-image": field.least_confidence_image,
    "bald-image": field.bald_image,
    "variation-ratio": field.variation_ratio,
    "mean-deviation": field.mean_deviation,
    "ripu-image": field.ripu_image,
    "equal": field.equal,
    "balanced-margin": field.balanced_margin,
    "typiclust": field.typiclust,
    "entropy-coreset": field.entropy_coreset,
    "entropy-spread": field.entropy_spread,
    "badge": field.badge,
    "metabox": field.metabox_plus,
    "spatial": field.spatial,
}

_OF_A_FAMILY = {"margin", "bald", "ripu", "balanced-random", "coreset"}
"""One of each family of the field, for ``all``: it has these and the paper's own."""
_FIELD = {name for name, factory in STRATEGIES.items() if factory.__module__ == field.__name__}

ENTRY_POINT_GROUP = "harness.strategies"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_PART = re.compile(r"(?P<name>[a-z0-9][a-z0-9-]*)(?:\[(?P<parameters>[^\[\]]*)\])?")
_WORD = re.compile(r"[\w.+-]{1,64}", re.ASCII)
_LONGEST = 160
"""An identity is the name of a folder."""

Factory = Callable[..., Strategy]


@dataclass(frozen=True, slots=True)
class Plugins:
    """What installed packages add.

    factories: by name. code: of each, what its source is. broken: by name, what is wrong.
    """

    factories: dict[str, Factory]
    code: dict[str, str]
    broken: dict[str, str]


def plugins() -> Plugins:
    """Return the strategies of other packages; one that is broken is named once on standard error.

    Nothing that a plug-in does wrong keeps the others from working.
    """
    return _load(tuple(entry_points(group=ENTRY_POINT_GROUP)))


@functools.cache
def _load(points: tuple[EntryPoint, ...]) -> Plugins:
    found = Plugins({}, {}, {})
    names = [point.name for point in points]
    for point in points:
        try:
            factory = _loaded(point, names)
        except _BrokenError as error:
            where = f" of {point.dist.name}" if point.dist else ""
            line = f"strategy {shorten(point.name)}{where} ({point.value}) is left out: {error}"
            if point.name not in STRATEGIES:
                found.broken[point.name] = line
            print(f"harness: {line}", file=sys.stderr)
            continue
        found.factories[point.name] = factory
        found.code[point.name] = _code_of(point, factory)
    return found


class _BrokenError(Exception):
    """What is wrong with a plug-in, in one line."""


def _loaded(point: EntryPoint, names: list[str]) -> Factory:
    """Import a plug-in's function, and build its strategy once to see that it can be."""
    if not _NAME.fullmatch(point.name):
        raise _BrokenError("its name must be lower-case letters, digits and hyphens")
    if point.name in STRATEGIES or point.name in RESERVED_NAMES:
        raise _BrokenError("its name is that of a built-in strategy")
    if names.count(point.name) > 1:
        raise _BrokenError("two plug-ins have this name")
    try:
        factory: Factory = point.load()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # an import may do anything, sys.exit too
        raise _BrokenError(f"it cannot be imported ({_said(error)})") from error
    if not callable(factory):
        raise _BrokenError(f"it must be a function that returns a Strategy, got {shorten(factory)}")
    try:
        parameters = parameters_of(factory)
    except Exception as error:
        raise _BrokenError(f"its signature cannot be read ({_said(error)})") from error
    if not any(parameter.default is inspect.Parameter.empty for parameter in parameters.values()):
        _built(factory, {})
    return factory


def _built(factory: Factory, given: dict[str, Any]) -> Strategy:
    """Call a factory, and check that what it returns is a strategy."""
    try:
        strategy = factory(**given)
    except KeyboardInterrupt:
        raise
    except InputError as error:
        raise _BrokenError(str(error)) from error
    except BaseException as error:
        raise _BrokenError(f"it cannot be built ({_said(error)})") from error
    if not isinstance(strategy, Strategy):
        raise _BrokenError(f"its function must return a Strategy, got {shorten(strategy)}")
    return strategy


def _said(error: BaseException) -> str:
    return one_line(f"{type(error).__name__}: {error}", 160)


def _code_of(point: EntryPoint, factory: Factory) -> str:
    """Return distribution, version and a hash of the source of a plug-in's package.

    A run of other code is another run: it is neither resumed nor averaged with this one.
    """
    module = sys.modules.get(getattr(factory, "__module__", ""), None)
    file = getattr(module, "__file__", None)
    sources: list[Path] = []
    if file is not None:
        package = sys.modules.get(module.__name__.partition(".")[0]) if module else None
        places = [Path(place) for place in getattr(package, "__path__", [])]
        sources = [path for place in places for path in sorted(place.rglob("*.py"))] or [Path(file)]
    name = f"{point.dist.name} {point.dist.version}" if point.dist else point.value
    return f"{name} {digest_of(sources)}"


def available() -> dict[str, Factory]:
    """Return the built-in strategies, those that installed packages add, and those of files."""
    own = {name: _from_file(Path(file), function) for name, (file, function) in _files().items()}
    return {**STRATEGIES, **plugins().factories, **own}


FILES_VARIABLE = "HARNESS_STRATEGY_FILES"
"""Names and places of strategies of files: worker processes inherit them."""


def add_file(place: str, parameters: str = "") -> str:
    """Make a strategy of a file known, in this process and in the workers that it starts.

    Args:
        place: ``path/to/file.py:function``.
        parameters: ``key=value,...``, where the function needs some.

    Returns:
        Its name: that of the strategy which the function returns.

    Raises:
        InputError: no such file or function, or one that is broken.
    """
    path, _, function = place.rpartition(":")
    file = Path(path).expanduser().resolve()
    try:
        factory = _from_file(file, function)
        name = _called(place, function, parameters, factory)[0].name
        if not _NAME.fullmatch(name):
            raise _BrokenError("its name must be lower-case letters, digits and hyphens")
        known = _files()
        others = {*STRATEGIES, *RESERVED_NAMES, *plugins().factories}
        if name in others or known.get(name, [str(file), function]) != [str(file), function]:
            raise _BrokenError(f"its name {name} is taken")
    except _BrokenError as error:
        raise InputError(f"strategy {shorten(place)}: {error}") from error
    os.environ[FILES_VARIABLE] = json.dumps({**known, name: [str(file), function]})
    return name


def _from_file(file: Path, function: str) -> Factory:
    if not file.is_file():
        raise _BrokenError(f"no such file: {file}")
    module = _module_of(file, hashlib.sha256(file.read_bytes()).hexdigest())
    factory = getattr(module, function, None)
    if not callable(factory):
        raise _BrokenError(f"there is no function {shorten(function)} in {file.name}")
    return factory  # type: ignore[no-any-return]


@functools.cache
def _module_of(file: Path, _digest: str) -> types.ModuleType:
    """Run a file, once for each content."""
    module = types.ModuleType(f"harness_strategy_{file.stem}")
    module.__file__ = str(file)
    sys.modules[module.__name__] = module
    if str(file.parent) not in sys.path:  # modules beside it, as python FILE finds them
        sys.path.append(str(file.parent))
    try:
        exec(compile(file.read_bytes(), str(file), "exec"), module.__dict__)  # noqa: S102
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise _BrokenError(f"it cannot be imported ({_said(error)})") from error
    return module


def _files() -> dict[str, list[str]]:
    """Return file and function of the strategies of files, by name."""
    known: dict[str, list[str]] = json.loads(os.environ.get(FILES_VARIABLE, "{}"))
    return known


def _code_of_file(file: Path) -> str:
    """Return a file's name with a hash of it, and of the modules of one's own that it imports.

    A file alone has the hash that it had before imports counted: its runs go on.
    """
    files = with_imports([file])
    alone = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    return f"{file.name} {digest_of(files) if len(files) > 1 else alone}"


def parameters_of(factory: Factory) -> dict[str, inspect.Parameter]:
    """Return the parameters of a strategy: those of its function, with their types.

    Types are those that are written down, or that of the default.

    Raises:
        ValueError: parameters without a name of their own.
    """
    found = dict(inspect.signature(factory).parameters)
    plain = factory.func if isinstance(factory, functools.partial) else factory
    hints = get_type_hints(plain, include_extras=True) if inspect.isfunction(plain) else {}
    for name, parameter in found.items():
        if parameter.kind not in {
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            inspect.Parameter.KEYWORD_ONLY,
        }:
            raise ValueError(f"parameter {parameter} must have a name")
        kind = hints.get(name, parameter.annotation)
        if kind is inspect.Parameter.empty:
            kind = str if parameter.default is parameter.empty else type(parameter.default)
        found[name] = parameter.replace(annotation=kind)
    return found


def split_identity(identity: str) -> list[str]:
    """Return a strategy and its modifiers, each with its parameters: what plus signs part."""
    return re.split(r"\+(?![^\[]*\])", identity)


def make(identity: str) -> Strategy:
    """Build a strategy from its identity.

    ``name``, ``name[parameter=value,...]``, or with modifiers.

    A modifier stands behind a plus sign, with parameters of its own: ``bald+g3[alpha=0.4]``.

    Raises:
        InputError: unknown name or parameter, malformed or out-of-range value, a broken plug-in.
    """
    parts = split_identity(identity) if len(identity) <= _LONGEST else []
    matches = [_PART.fullmatch(part) for part in parts]
    if not matches or None in matches:
        raise InputError(
            f"cannot read strategy {shorten(identity)}; it must be name or "
            "name[parameter=value,...], with +MODIFIER behind it, "
            f"of at most {_LONGEST} characters"
        )
    first, *modifiers = [match for match in matches if match is not None]
    name, added = first["name"], plugins()
    if name in added.broken:
        raise InputError(
            f"strategy {name!r} cannot be used: its plug-in is left out, as said above"
        )
    table = available()
    if name not in table:
        raise unknown_name("strategy", name, table)
    strategy, full = _called(identity, name, first["parameters"] or "", table[name])
    file = _files().get(name)
    code = added.code.get(name, "") if file is None else _code_of_file(Path(file[0]))
    if "superpixels" in [modifier["name"] for modifier in modifiers[:-1]]:
        raise InputError(f"+superpixels must be the last modifier, got {shorten(identity)}")
    for modifier in modifiers:
        if modifier["name"] not in MODIFIERS:
            raise unknown_name("modifier", modifier["name"], MODIFIERS)
        change = functools.partial(MODIFIERS[modifier["name"]], strategy)
        strategy, own = _called(identity, modifier["name"], modifier["parameters"] or "", change)
        full = f"{full}+{own}"
    return replace(strategy, name=full, code=code)


def _called(identity: str, name: str, text: str, factory: Factory) -> tuple[Strategy, str]:
    """Call a factory or a modifier; return the strategy, and its name with what is not default."""
    parameters = parameters_of(factory)
    given = _parameters(identity, name, text, parameters)
    for key, parameter in parameters.items():
        if parameter.default is inspect.Parameter.empty and key not in given:
            raise InputError(f"strategy {identity!r}: {key} must be given, as in {name}[{key}=...]")
    try:
        strategy = _built(factory, given)
    except _BrokenError as error:
        if isinstance(error.__cause__, InputError):
            raise error.__cause__ from None
        raise InputError(f"strategy {identity!r}: {error}") from error
    changed = [
        f"{key}={value}" for key, value in sorted(given.items()) if value != parameters[key].default
    ]
    return strategy, f"{name}[{','.join(changed)}]" if changed else name


def _parameters(
    identity: str, name: str, text: str, parameters: dict[str, inspect.Parameter]
) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or key not in parameters:
            allowed = ", ".join(parameters) or "none"
            raise InputError(
                f"strategy {identity!r}: cannot set {shorten(part)}; parameters of {name}: "
                f"{allowed}"
            )
        if key in given:
            raise InputError(f"strategy {identity!r}: {key} must be given once, not twice")
        given[key] = _value(identity, key, value, parameters[key].annotation)
    return given


def _value(identity: str, key: str, value: str, kind: Any) -> Any:
    """Read a value as the type of its parameter says."""
    try:
        found = TypeAdapter(kind).validate_strings(value)
    except ValidationError as error:
        said = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise InputError(f"strategy {identity!r}: {key} is {shorten(value)}: {said}") from error
    if isinstance(found, float) and not math.isfinite(found):
        raise InputError(f"strategy {identity!r}: {key} must be finite, got {value!r}")
    if isinstance(found, str) and not _WORD.fullmatch(found):
        raise InputError(
            f"strategy {identity!r}: {key} must be letters, digits and ._+- only, got {value!r}"
        )
    return found


def _all() -> list[str]:
    """Return the paper's strategies, one of each family of the field, and those of plug-ins."""
    return [name for name in _everything() if name not in _FIELD - _OF_A_FAMILY]


def _everything() -> list[str]:
    """Return every name that can be used without a parameter."""
    names = []
    for name, factory in available().items():
        defaults = [parameter.default for parameter in parameters_of(factory).values()]
        if inspect.Parameter.empty in defaults:
            print(
                f"harness: strategy {name!r} is left out: a parameter of it must be given",
                file=sys.stderr,
            )
            continue
        names.append(name)
    return names


def _known(identity: str) -> str:
    """Return an identity, that of a file's strategy where a file is named."""
    found = re.fullmatch(r"(?P<place>.+\.py:\w+)(?P<parameters>[\[+].*)?", identity)
    if found is None:
        return identity
    behind = found["parameters"] or ""
    own = re.match(r"\[([^\[\]]*)\]", behind)
    return add_file(found["place"], own[1] if own else "") + behind


def parse_list(text: str) -> list[Strategy]:
    """Build the strategies of a command line.

    Identities separated by commas (commas inside [] belong to one). ``all`` is the paper's and one
    of each family of the field, ``everything`` every name.

    Raises:
        InputError: an empty list, an unknown name, the same strategy twice.
    """
    parts = [part.strip() for part in re.split(r",(?![^\[]*\])", text) if part.strip()]
    named = {"all": _all, "everything": _everything}
    identities = [item for part in parts for item in (named[part]() if part in named else [part])]
    if not identities:
        raise InputError(
            f"no strategy in {shorten(text)}; give all, or names separated by commas: "
            f"{', '.join(available())}"
        )
    identities = [_known(identity) for identity in identities]
    chosen = [make(identity) for identity in identities]
    names = [strategy.name for strategy in chosen]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"strategy {name!r} must be named once, not twice")
    return chosen
