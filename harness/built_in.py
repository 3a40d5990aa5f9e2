"""Built-in files: configurations, and weights that they name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).resolve().parent


def config_path(name: str) -> Path:
    """Return the path of a built-in configuration.

    It lies in the package when that is installed, beside it in a checkout.
    """
    inside = _PACKAGE / "configs" / f"{name}.py"
    return inside if inside.is_file() else _PACKAGE.parent / "configs" / f"{name}.py"


def built_in_configs() -> list[str]:
    """List the built-in configurations."""
    return sorted(file.stem for file in config_path("streets").parent.glob("*.py"))


def weights_path(name: str) -> Path:
    """Return where weights lie: as named, or among the built-in ones."""
    built_in = config_path("streets").parent / name
    return built_in if not Path(name).is_file() and built_in.is_file() else Path(name)


_WEIGHTS = {"checkpoint", "checkpoint_path", "pretrained"}
"""Options of a model that name a file of weights."""


def weights_named(key: str, config: Any) -> Iterator[tuple[str, Any]]:
    """Yield the dotted key and the value of every option of a model that should name weights."""
    if isinstance(config, dict):
        for name, value in config.items():
            if name in _WEIGHTS and value not in (None, "", False):
                yield f"{key}.{name}", value
            else:
                yield from weights_named(f"{key}.{name}", value)
    elif isinstance(config, list | tuple):
        for number, value in enumerate(config):
            yield from weights_named(f"{key}[{number}]", value)
