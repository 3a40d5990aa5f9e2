"""``harness data``: make the embedded pack, check a data root."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.errors import InputError

if TYPE_CHECKING:
    from harness.data.index import Index

app = typer.Typer(
    rich_markup_mode=None, no_args_is_help=True, help="Make the embedded pack, check a data root."
)


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
    train: Annotated[int, typer.Option(help="Images to learn from.")] = 200,
    val: Annotated[int, typer.Option(help="Images to validate on.")] = 60,
    seed: Annotated[int, typer.Option(help="Another seed is another set of streets.")] = 1,
    redundancy: Annotated[int, typer.Option(help="Near-duplicate frames of one sequence.")] = 1,
) -> None:
    """Write the embedded pack in Cityscapes' layout."""
    from harness.data.streets.pack import PackSpec, make_pack

    if pack != "streets":
        raise InputError(f"--pack is {pack!r}; allowed: streets")
    height, width = parse_size(size)
    make_pack(PackSpec(height, width, train, val, seed, redundancy), out)
    typer.echo(f"{train} + {val} images of {height}x{width} px in {out}")


DataRoot = Annotated[Path, typer.Option(help="A folder in Cityscapes' layout.")]
SplitName = Annotated[str, typer.Option(help="Which split.")]


@app.command()
def check(data_root: DataRoot) -> int:
    """Read every file once, list each problem, print what the set holds, and index it for later starts."""
    from harness.data.cityscapes import Split
    from harness.data.statistics import per_class
    from harness.files import cache_folder

    failed = False
    for name in ("train", "val"):
        split = Split(data_root, name, cache_folder())
        with _counter(name, len(split.files)) as each:
            index, problems = split.check(each=each)
        for problem in problems:
            print(f"harness: {problem}", file=sys.stderr)
        failed = failed or index is None
        if index is not None:
            typer.echo(_summary(name, index))
            typer.echo(per_class(split).to_string(index=False))
    return 2 if failed else 0


@contextmanager
def _counter(name: str, total: int) -> Iterator[Callable[[str], None]]:
    """Show a bar in a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _image_id: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task(f"reading {name}", total=total)
        yield lambda _image_id: bar.advance(task)


def _summary(name: str, index: Index) -> str:
    low, mean, high = index.vertices_per_image
    lines = [
        f"{name}: {len(index.sizes)} images, {sum(height * width for height, width in index.sizes.values())} px",
        f"  C_p = {index.totals.polygon} vertices, {low} / {mean:.0f} / {high} per image (min / mean / max); C_c = {index.totals.classes} components",
        f"  fingerprint {index.fingerprint[:32]}",
    ]
    if index.unknown_labels:
        named = ", ".join(f"{label} ({count})" for label, count in index.unknown_labels.items())
        lines.append(
            f"  labels that Cityscapes does not know, their vertices count as clicks: {named}"
        )
    if index.decoded is None:
        lines.append(
            "  decoded images are not kept: no room under HARNESS_CACHE_GIB or on the disk"
        )
    return "\n".join(lines)


@app.command()
def stats(
    data_root: DataRoot,
    split: SplitName = "train",
    plot: Annotated[
        Path | None,
        typer.Option(help="Draw clicks per class, per image, and against area into this PNG."),
    ] = None,
) -> None:
    """Print pixels and clicks per class."""
    from harness.data.cityscapes import Split
    from harness.data.statistics import draw_clicks, per_class
    from harness.files import cache_folder

    opened = Split(data_root, split, cache_folder())
    typer.echo(per_class(opened).to_string(index=False))
    if plot is not None:
        draw_clicks(opened, plot)
        typer.echo(f"wrote {plot}")


@app.command()
def receipt(
    data_root: DataRoot,
    image: Annotated[str, typer.Option(help="Image id, such as ahornau_000000_000019.")],
    region: Annotated[str, typer.Option(help="TOP,LEFT,HEIGHT,WIDTH in pixels.")],
    split: SplitName = "train",
    plot: Annotated[
        Path | None, typer.Option(help="Draw the region with its clicks into this PNG.")
    ] = None,
) -> None:
    """Print what annotating one region would cost, by kind of click."""
    from harness.clicks import count_region
    from harness.data.cityscapes import Split
    from harness.data.statistics import draw_receipt
    from harness.errors import unknown_name
    from harness.files import cache_folder
    from harness.types import ClickSeconds, Region

    opened = Split(data_root, split, cache_folder())
    if image not in opened.files:
        raise unknown_name("image", image, list(opened.files)[:5])
    parts = region.split(",")
    if len(parts) != 4 or not all(part.strip().isdecimal() for part in parts):
        raise InputError(f"--region is {region!r}; allowed: TOP,LEFT,HEIGHT,WIDTH in pixels")
    asked = Region(image, *(int(part) for part in parts))
    try:
        clicks = count_region(opened.vertices(image), opened.label_ids(image), asked)
    except ValueError as error:
        raise InputError(f"--region: {error}; allowed: a rectangle inside the image") from error
    totals = opened.index.totals
    typer.echo(
        f"c_p = {clicks.polygon}, c_i = {clicks.intersection}, c_b = {clicks.box}, c_c = {clicks.classes}; new pixels {asked.area_px}"
    )
    typer.echo(
        f"cost_A = {totals.cost_a(clicks):.6f}, cost_B = {totals.cost_b(clicks):.6f}, about {ClickSeconds().seconds(clicks):.0f} s"
    )
    if plot is not None:
        draw_receipt(opened, asked, clicks, plot)
        typer.echo(f"wrote {plot}")


@app.command()
def calibrate(
    data_root: DataRoot,
    split: SplitName = "train",
    window: Annotated[int, typer.Option(help="Window side in pixels.")] = 32,
    tolerances: Annotated[
        str, typer.Option(help="Polygon tolerances in pixels.")
    ] = "0.5,0.75,1,1.25,1.5,2,3",
) -> None:
    """Compare clicks simulated from masks with recorded ones, where both exist."""
    from harness.data.cityscapes import Split
    from harness.data.masks import calibrate as compare
    from harness.files import cache_folder

    try:
        values = tuple(float(part) for part in tolerances.split(","))
    except ValueError as error:
        raise InputError(
            f"--tolerances is {tolerances!r}; allowed: numbers separated by commas"
        ) from error
    if min(values) <= 0 or window < 1:
        raise InputError(
            f"--tolerances {tolerances} and --window {window}; allowed: numbers above 0"
        )
    typer.echo("tolerance_px  windows  correlation  simulated/recorded")
    for row in compare(Split(data_root, split, cache_folder()), values, window):
        typer.echo(
            f"{row.tolerance_px:12g}  {row.windows:7d}  {row.correlation:11.3f}  {row.ratio:18.3f}"
        )
