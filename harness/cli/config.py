"""``harness config``: what a configuration says once its bases are merged."""

from __future__ import annotations

import pprint
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.streams import AsJson

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="What a configuration says once its bases are merged.",
)


@app.command("list")
def list_configs() -> None:
    """List the built-in configurations."""
    from harness.built_in import built_in_configs

    for name in built_in_configs():
        typer.echo(name)


@app.command("show")
def show(
    config: Annotated[
        Path | None,
        typer.Argument(help="A config file, or the name of a built-in one; streets without it."),
    ] = None,
    data_root: Annotated[Path | None, typer.Option(help="Where the data lie.")] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", "--cfg-options", help="Change one value, as harness bench does."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print a whole configuration, with the digest that identifies its board."""
    import json

    from harness.config import load_spec

    spec = load_spec(config, data_root=data_root, changes=changes or ())
    if as_json:
        typer.echo(json.dumps({**spec.model_dump(mode="json"), "digest": spec.digest()}, indent=1))
        return
    typer.echo(f"# {spec.name}, digest {spec.digest()[:12]}")
    for key, value in spec.model_dump(mode="python", exclude={"name"}).items():
        typer.echo(f"{key} = {pprint.pformat(value, width=92, sort_dicts=False)}")
