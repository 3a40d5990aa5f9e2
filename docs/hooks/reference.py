"""The reference pages, from the code: a page says ``<!-- generated: NAME -->`` where they go.

What a key, a column, an option or a field means is written where it is defined, and nowhere else.
"""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

MARK = re.compile(r"^<!-- generated: ([a-z-]+) -->$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill what is generated into a page, before its links are looked at."""
    return MARK.sub(lambda mark: GENERATED[mark[1]](), markdown)


# ------------------------------------------------------------------------------------------- types

_PLAIN = {
    int: "whole number",
    float: "number",
    str: "text",
    bool: "true or false",
    dict: "block",
    list: "list",
    tuple: "list",
    Any: "anything",
}


def kind(annotation: Any) -> str:
    """Say a type as a person reads it: bounds and choices, no class names."""
    made = _MADE.get(get_origin(annotation))
    if made is not None:
        return made(get_args(annotation))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "block"
    return _PLAIN.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _union(inside: Sequence[Any]) -> str:
    said = [kind(item) for item in inside if item is not type(None)]
    return " or ".join(dict.fromkeys([*said, *(["none"] if type(None) in inside else [])]))


def _tuple(inside: Sequence[Any]) -> str:
    number = "list" if inside[-1] is ... else f"{len(inside)} values"
    return f"{number}: {kind(inside[0])}"


_MADE: dict[Any, Callable[[Sequence[Any]], str]] = {
    Annotated: lambda inside: within(kind(inside[0]), inside[1:]),
    Literal: lambda inside: " or ".join(f"`{choice}`" for choice in inside),
    Union: _union,
    types.UnionType: _union,
    tuple: _tuple,
    list: lambda inside: f"list: {kind(inside[0])}",
    dict: lambda inside: "block" if inside[1] is Any else f"block of {kind(inside[1])}",
}
"""How a type that is made of others is said, by what it is made with."""


def within(said: str, details: Sequence[Any]) -> str:
    """Add bounds to the name of a type; ``details`` are those of pydantic's fields."""
    flat = [
        item
        for detail in details
        for item in (detail.metadata if isinstance(detail, FieldInfo) else [detail])
    ]
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    bounds = [
        f"{word} {getattr(item, name):,}"
        for name, word in words.items()
        for item in flat
        if getattr(item, name, None) is not None
    ]
    return f"{said}, {' and '.join(bounds)}" if bounds else said


def shown(value: Any) -> str:
    """Return a default as a config would write it."""
    if isinstance(value, BaseModel):
        return "its own defaults"
    return f"`{value!r}`"


# ------------------------------------------------------------------------------------- config keys


def config_keys() -> str:
    """Every key of a config, block by block."""
    from harness.config import ExperimentSpec

    top, blocks = [], []
    for name, field in ExperimentSpec.model_fields.items():
        found = list(_blocks(field.annotation))
        top.append(_key("", name, field, linked=bool(found)))
        for block in found:
            tag = block.model_fields["type"] if name == "data" else None
            blocks += _block(name, block, tag)
    return "\n".join(["## The top level", "", *top, *blocks])


def _blocks(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the blocks that a type is made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inside in get_args(annotation):
        yield from _blocks(inside)


def _block(name: str, block: type[BaseModel], tag: FieldInfo | None) -> list[str]:
    which = get_args(tag.annotation) if tag else ()
    title = f"`{name}`" + (f', type="{which[0]}"' if which else ", other types" if tag else "")
    anchor = f"{name}-{which[0]}" if which else f"{name}-other" if tag else name
    lines = ["", f"## {title} {{ #{anchor} }}", "", inspect.cleandoc(block.__doc__ or ""), ""]
    return lines + [_key(f"{anchor}.", key, field) for key, field in block.model_fields.items()]


def _key(prefix: str, name: str, field: FieldInfo, *, linked: bool = False) -> str:
    said = within(kind(field.annotation), field.metadata)
    if field.default_factory is not None:
        default = f"default {shown(field.default_factory())}"  # type: ignore[call-arg]
    elif field.default is PydanticUndefined:
        default = "must be given"
    else:
        default = f"default {shown(field.default)}"
    title = f"[`{name}`](#{name})" if linked and name != "data" else f"`{name}`"
    about = " ".join((field.description or "").split())
    anchor = f"{prefix}{name}{'-key' if linked else ''}"
    return f"### {title} {{ #{anchor} }}\n\n*{said}; {default}.* {double(about)}\n"


def double(text: str) -> str:
    """Return reStructuredText's double backquotes as single ones."""
    return text.replace("``", "`")


# ----------------------------------------------------------------------------- columns, strategies


def columns() -> str:
    """Every column of a leaderboard, in the order of the wide table."""
    from harness.publish.board import Board
    from harness.publish.columns import columns_of

    shares = [0.02, 0.1, 0.3]
    board = Board("", [], [], None, shares, 1.0, 1.0, "pixels", {}, [], [], [])
    return "\n".join(
        f"### {column.title}\n\n`{column.key}` in CSV and JSON{_where(column)}.\n\n{column.says}\n"
        for column in columns_of(board, None)
    )


def _where(column: Any) -> str:
    return "; in the short table and in LaTeX" if column.answers else ""


def strategy_list() -> str:
    """Every built-in strategy: score, what it asks for, parameters, source."""
    from strategies import STRATEGIES, make, parameters_of
    from strategies.modifiers import MODIFIERS

    lines = []
    for name, factory in STRATEGIES.items():
        strategy = make(name)
        bound = " A bound: listed, never ranked." if strategy.is_bound else ""
        lines += [
            f"### {name}\n",
            f"Score `{strategy.equation}`: {strategy.summary}.{bound}\n",
            *_about(factory, parameters_of(factory)),
        ]
    lines.append("## Modifiers\n")
    for name, modifier in MODIFIERS.items():
        own = dict(list(parameters_of(modifier).items())[1:])
        lines += [f"### +{name}\n", *_about(modifier, own)]
    return "\n".join(lines)


def _about(factory: Callable[..., Any], parameters: Any) -> Iterator[str]:
    yield double(inspect.getdoc(factory) or "") + "\n"
    for name, parameter in parameters.items():
        yield f"- `{name}`: {kind(parameter.annotation)}; default `{parameter.default}`"
    yield ""


# --------------------------------------------------------------------------------------- commands


def commands() -> str:
    """Every command with its arguments and options."""
    import typer.main

    from harness.cli.main import app

    return "\n".join(_command("harness", typer.main.get_command(app)))


def _command(name: str, command: Any) -> Iterator[str]:
    context = command.context_class(command, info_name=name)
    yield f"## {name}\n"
    yield "\n\n".join(" ".join(part.split()) for part in (command.help or "").split("\n\n")) + "\n"
    for parameter in command.params:
        if parameter.name in ("help", "install_completion", "show_completion"):
            continue
        yield _parameter(parameter, context)
    for inner, below in sorted(getattr(command, "commands", {}).items()):
        yield from _command(f"{name} {inner}", below)


def _parameter(parameter: Any, context: Any) -> str:
    about = getattr(parameter, "help", None) or ""
    if parameter.param_type_name == "argument":
        return f"`{parameter.name.upper()}`\n\n:   {about}\n"
    flags = ", ".join(f"`{flag}`" for flag in [*parameter.opts, *parameter.secondary_opts])
    default = parameter.get_default(context)
    if parameter.required:
        about += " Must be given."
    elif default not in (None, False, ()) and not callable(default):
        default = parameter.opts[0] if default is True else default
        about += f" Default `{default}`."
    return f"{flags}\n\n:   {about}\n"


def exit_codes() -> str:
    """What single commands say of their exit codes."""
    import typer.main

    from harness.cli.main import app

    return "\n".join(_codes("harness", typer.main.get_command(app)))


def _codes(name: str, command: Any) -> Iterator[str]:
    said = " ".join((command.help or "").split())
    for sentence in re.findall(r"Exit code[^.]*\.", said):
        yield f"- `{name}`: {sentence}"
    for inner, below in sorted(getattr(command, "commands", {}).items()):
        yield from _codes(f"{name} {inner}", below)


# ------------------------------------------------------------------------------------------- files


def leaderboard_json() -> str:
    """The fields of ``leaderboard.json``."""
    from harness.publish.document import DOCUMENT

    return _schema(DOCUMENT.json_schema(mode="serialization"))


def run_json() -> str:
    """The fields of ``run.json``."""
    from harness.results import RunInfo

    return _schema(TypeAdapter(RunInfo).json_schema())


def rounds_jsonl() -> str:
    """The fields of a line of ``rounds.jsonl``."""
    from harness.types import RoundRecord

    return _schema(TypeAdapter(RoundRecord).json_schema())


def _schema(schema: dict[str, Any]) -> str:
    parts = [_fields(schema)]
    for name, inner in schema.get("$defs", {}).items():
        parts.append(f"#### {name}\n\n{_fields(inner)}")
    return "\n".join(parts)


def _fields(schema: dict[str, Any]) -> str:
    about = double(inspect.cleandoc(schema.get("description", "")))
    rows = [
        f"| `{name}` | {_json_kind(field)} |"
        for name, field in schema.get("properties", {}).items()
    ]
    return "\n".join([about, "", "| field | type |", "|---|---|", *rows, ""])


def _json_kind(field: dict[str, Any]) -> str:
    if "$ref" in field:
        return field["$ref"].rpartition("/")[2]
    if "anyOf" in field:
        return " or ".join(map(_json_kind, field["anyOf"]))
    if field.get("type") == "array":
        return f"list of {_json_kind(field.get('items', {}))}"
    if field.get("type") == "object":
        more = field.get("additionalProperties")
        return f"map to {_json_kind(more)}" if isinstance(more, dict) else "map"
    return str(field.get("type", "anything"))


# ------------------------------------------------------------------------------------------ Python

_PUBLIC = (
    ("harness.api.Experiment", "from_config,run"),
    ("harness.api.load_board", ""),
    ("harness.publish.board.Board", "to_frame,summary,pairs"),
    ("harness.protocols.Strategy", ""),
    ("harness.views.View", ""),
    ("harness.data.source.register_dataset", ""),
    ("harness.testing.check_strategy", ""),
)


def python() -> str:
    """The public names, for mkdocstrings."""
    return "\n".join(f"::: {name}\n{_members(members)}" for name, members in _PUBLIC)


def _members(names: str) -> str:
    return f"    options:\n      members: [{names}]\n" if names else ""


GENERATED = {
    "config-keys": config_keys,
    "columns": columns,
    "strategies": strategy_list,
    "commands": commands,
    "exit-codes": exit_codes,
    "leaderboard-json": leaderboard_json,
    "run-json": run_json,
    "rounds-jsonl": rounds_jsonl,
    "python": python,
}
