"""Every strategy, by name. A new one is one factory and one line here; other packages add theirs as entry points."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import entry_points
from typing import Any

from harness.errors import InputError, unknown_name
from harness.protocols import Strategy
from strategies import baselines, cereals

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
}

COSTS = ("predicted", "whole", "oracle", "constant")
"""Where the cost in a score may come from; the last two are brackets: labelled as bounds, never ranked."""

ENTRY_POINT_GROUP = "harness.strategies"
_IDENTITY = re.compile(r"^(?P<name>[a-z0-9][a-z0-9-]*)(?:\[(?P<parameters>[^\[\]]*)\])?$")


def available() -> dict[str, Callable[..., Strategy]]:
    """Return the built-in strategies and those that installed packages add.

    Raises:
        InputError: an entry point claims a name that is taken.
    """
    table = dict(STRATEGIES)
    for point in entry_points(group=ENTRY_POINT_GROUP):
        if point.name in table:
            raise InputError(
                f"strategy {point.name!r} of {point.value} is already taken; allowed: another name in the entry-point group {ENTRY_POINT_GROUP}"
            )
        table[point.name] = point.load()
    return table


def make(identity: str) -> Strategy:
    """Build a strategy from its identity, ``name`` or ``name[parameter=value,...]``.

    Raises:
        InputError: unknown name or parameter, malformed or out-of-range value.
    """
    match = _IDENTITY.match(identity)
    if match is None:
        raise InputError(
            f"cannot read strategy {identity!r}; allowed: name or name[parameter=value,...]"
        )
    name, table = match["name"], available()
    if name not in table:
        raise unknown_name("strategy", name, table)
    factory = table[name]
    defaults = {
        key: parameter.default for key, parameter in inspect.signature(factory).parameters.items()
    }
    given = _parameters(identity, match["parameters"] or "", defaults)
    strategy = factory(**given)
    changed = {key: value for key, value in sorted(given.items()) if value != defaults[key]}
    suffix = (
        "[" + ",".join(f"{key}={value}" for key, value in changed.items()) + "]" if changed else ""
    )
    return replace(strategy, name=name + suffix)


def _parameters(identity: str, text: str, defaults: dict[str, Any]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or key not in defaults:
            allowed = ", ".join(defaults) or "none"
            raise InputError(
                f"strategy {identity!r}: cannot set {part!r}; parameters of this strategy: {allowed}"
            )
        if key in given:
            raise InputError(f"strategy {identity!r}: {key} is given twice; allowed: once")
        given[key] = _value(identity, key, value, like=defaults[key])
    return given


def _value(identity: str, key: str, value: str, *, like: Any) -> float | int | str:
    if isinstance(like, str):
        if value not in COSTS:
            raise InputError(
                f"strategy {identity!r}: {key} is {value!r}; allowed: {', '.join(COSTS)}"
            )
        return value
    wants_float = isinstance(like, float)
    try:
        number = ast.literal_eval(value)
    except (ValueError, SyntaxError):
        number = None
    if wants_float and type(number) in (int, float):
        return float(number)
    if not wants_float and type(number) is int and 2 <= number <= 255:
        return number
    allowed = "a number" if wants_float else "a whole number from 2 to 255"
    raise InputError(f"strategy {identity!r}: {key} is {value!r}; allowed: {allowed}")


def parse_list(text: str) -> list[Strategy]:
    """Build the strategies of a command line: identities separated by commas (commas inside [] belong to one); ``all`` is every name.

    Raises:
        InputError: an empty list, an unknown name, the same strategy twice.
    """
    parts = [part.strip() for part in re.split(r",(?![^\[]*\])", text) if part.strip()]
    identities = [
        identity for part in parts for identity in (available() if part == "all" else [part])
    ]
    if not identities:
        raise InputError(
            f"no strategy in {text!r}; allowed: all, and names separated by commas: {', '.join(available())}"
        )
    chosen = [make(identity) for identity in identities]
    names = [strategy.name for strategy in chosen]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"strategy {name!r} is named twice; allowed: once")
    return chosen
