"""``harness data``: make the embedded pack, check a data root."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.errors import InputError

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="Make the embedded pack, check a data root.")


def parse_size(text: str) -> tuple[int, int]:
    """Read ``HxW``."""
    height, cross, width = text.lower().partition("x")
    if not (cross and height.isdigit() and width.isdigit()):
        raise InputError(f"--size is {text!r}; allowed: HEIGHTxWIDTH in pixels, such as 128x256")
    return int(height), int(width)


@app.command()
def make(
    out: Annotated[Path, typer.Option(help="The new folder.")],
    pack: Annotated[str, typer.Option(help="Which pack.")] = "streets",
    size: Annotated[str, typer.Option(help="HEIGHTxWIDTH in pixels.")] = "128x256",
    train: Annotated[int, typer.Option(help="Images to learn from.")] = 120,
    val: Annotated[int, typer.Option(help="Images to validate on.")] = 40,
    seed: Annotated[int, typer.Option(help="Another seed is another set of streets.")] = 0,
    redundancy: Annotated[int, typer.Option(help="Near-duplicate frames of one sequence.")] = 1,
) -> None:
    """Write the embedded pack in Cityscapes' layout."""
    from harness.data.streets.pack import PackSpec, make_pack

    if pack != "streets":
        raise InputError(f"--pack is {pack!r}; allowed: streets")
    height, width = parse_size(size)
    make_pack(PackSpec(height, width, train, val, seed, redundancy), out)
    typer.echo(f"{train} + {val} images of {height}x{width} px in {out}")


@app.command()
def check(data_root: Annotated[Path, typer.Option(help="A folder in Cityscapes' layout.")]) -> None:
    """Read every file once, and print what the set holds."""
    from harness.data.cityscapes import Split
    from harness.files import cache_folder

    for name in ("train", "val"):
        split = Split(data_root, name, cache_folder() / "indices")
        index = split.index
        pixels = sum(height * width for height, width in index.sizes.values())
        typer.echo(
            f"{name}: {len(index.sizes)} images, {pixels} px, C_p = {index.totals.polygon} vertices, C_c = {index.totals.classes} components, fingerprint {index.fingerprint[:16]}"
        )


@app.command()
def stats(
    data_root: Annotated[Path, typer.Option(help="A folder in Cityscapes' layout.")],
    split: Annotated[str, typer.Option(help="Which split.")] = "train",
) -> None:
    """Print pixels and clicks per class."""
    from harness.data.cityscapes import Split
    from harness.data.statistics import per_class
    from harness.files import cache_folder

    typer.echo(per_class(Split(data_root, split, cache_folder() / "indices")).to_string(index=False))
