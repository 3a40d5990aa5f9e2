"""``harness strategies``: what there is, with the paper's equations."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

import typer

from harness.cli.publish import console_width
from harness.cli.streams import AsJson
from harness.errors import InputError, shorten


def list_strategies(
    name: Annotated[
        str | None, typer.Argument(help="One of them, or FILE.py:FUNCTION: all about it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List every strategy with one line and its equation, or show one with its parameters."""
    if as_json:
        _as_json(name)
        return
    if name is not None:
        _show(name)
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from strategies import available, make, parameters_of, plugins
    from strategies.modifiers import MODIFIERS

    added = plugins()
    table = Table(box=None, pad_edge=False)
    for column in (
        "strategy",
        "score, higher is asked for earlier",
        "what it asks for",
        "parameters",
    ):
        table.add_column(column, no_wrap=column == "strategy")
    for known, factory in available().items():
        own = parameters_of(factory)
        wanted = [key for key, item in own.items() if item.default is item.empty]
        parameters = ", ".join(
            f"{key}=..." if key in wanted else f"{key}={item.default}" for key, item in own.items()
        ).replace("passes=None", "passes=<config>")
        origin = f" (of {added.code[known].rpartition(' ')[0]})" if known in added.code else ""
        if wanted:
            table.add_row(known, "", f"needs a parameter{origin}", escape(parameters))
            continue
        strategy = make(known)
        bound = " (bound)" if strategy.is_bound else ""
        table.add_row(
            known,
            escape(strategy.equation),
            escape(strategy.summary + bound + origin),
            escape(parameters),
        )
    console = Console(highlight=False, width=console_width())
    console.print(table)
    console.print(
        "I, C: window sums, scaled to [0, 1] over the pool. Set a parameter as in "
        "cereals-g3-entropy[alpha=0.3].",
        markup=False,
    )
    console.print(
        f"Behind any of them: +{', +'.join(MODIFIERS)}, as in bald+g2, ripu+g3[alpha=0.4] or "
        "margin+ratio. --strategies all: the paper's and one of each family of the field; "
        "everything: every name.",
        markup=False,
    )


def _as_json(identity: str | None) -> None:
    """Print strategies as data: one, or every name that needs no parameter."""
    from strategies import parse_list

    document = [
        {
            "name": strategy.name,
            "summary": strategy.summary,
            "equation": strategy.equation,
            "cost": strategy.cost,
            "whole_image": strategy.whole_image,
            "superpixels": strategy.superpixels is not None,
            "committee": strategy.asks_committee,
            "bound": strategy.is_bound,
            "code": strategy.code,
        }
        for strategy in parse_list(identity or "everything")
    ]
    typer.echo(json.dumps(document, indent=1))


def _show(identity: str) -> None:
    """Print one strategy: what it asks for, its parameters with their types and defaults."""
    from strategies import available, parameters_of, parse_list, split_identity
    from strategies.modifiers import MODIFIERS

    found = parse_list(identity)
    if len(found) != 1:
        raise InputError(f"one strategy must be named, got {shorten(identity)}")
    strategy = found[0]
    names = [part.partition("[")[0] for part in split_identity(strategy.name)]
    typer.echo(f"{strategy.name}: {strategy.summary}")
    typer.echo(f"  score: {strategy.equation}")
    if strategy.is_bound:
        typer.echo("  a bound: listed, never ranked")
    own = available()[names[0]]
    _describe(names[0], own, parameters_of(own))
    for name in names[1:]:
        changed = dict(list(parameters_of(MODIFIERS[name]).items())[1:])
        _describe(f"+{name}", MODIFIERS[name], changed)
    if strategy.code:
        typer.echo(f"  of {strategy.code}")


def _describe(
    name: str, factory: Callable[..., Any], parameters: Mapping[str, inspect.Parameter]
) -> None:
    """Print what a function says of itself, and its parameters."""
    typer.echo(f"  {name}: {(inspect.getdoc(factory) or '').partition(chr(10))[0]}")
    for key, parameter in parameters.items():
        default = "must be given" if parameter.default is parameter.empty else parameter.default
        typer.echo(f"    {key}: {_kind(parameter.annotation)}, default {default}")


def _kind(annotation: Any) -> str:
    """Say a parameter's type as a person reads it: bounds and choices, no class names."""
    if get_origin(annotation) is Annotated:
        kind, *more = get_args(annotation)
        bounds = [repr(item) for field in more for item in getattr(field, "metadata", [])]
        said = ", ".join(text.partition("(")[2].rstrip(")") for text in bounds)
        return f"{_kind(kind)} ({said})" if said else _kind(kind)
    if get_origin(annotation) is Literal:
        return "one of " + ", ".join(map(str, get_args(annotation)))
    if get_args(annotation):
        return " or ".join(_kind(kind) for kind in get_args(annotation) if kind is not type(None))
    return str(getattr(annotation, "__name__", annotation))
