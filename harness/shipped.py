"""Files that ship with the product: configurations, and weights that they name."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def config_path(name: str) -> Path:
    """Return the path of a configuration that ships with the product.

    It lies in the package when that is installed, beside it in a checkout.
    """
    inside = _PACKAGE / "configs" / f"{name}.py"
    return inside if inside.is_file() else _PACKAGE.parent / "configs" / f"{name}.py"


def shipped_configs() -> list[str]:
    """List the configurations that ship with the product."""
    return sorted(file.stem for file in config_path("streets").parent.glob("*.py"))


def weights_path(name: str) -> Path:
    """Return where weights lie: as named, or among those that ship with the configurations."""
    shipped = config_path("streets").parent / name
    return shipped if not Path(name).is_file() and shipped.is_file() else Path(name)
