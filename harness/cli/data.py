"""``harness data``: make the embedded pack, check a data root."""

from __future__ import annotations

import dataclasses
import difflib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.streams import AsJson
from harness.errors import InputError, shorten
from harness.files import can_be_written

if TYPE_CHECKING:
    import pandas as pd

    from harness.blocks import SecondsPerClick
    from harness.data.cityscapes import Split
    from harness.data.source import Data

app = typer.Typer(
    rich_markup_mode=None, no_args_is_help=True, help="Make the embedded pack, check a data root."
)


def _is_count(text: str) -> bool:
    """Return whether a text is a whole number from 0 on that is no absurdity."""
    return text.strip().isascii() and text.strip().isdigit() and len(text.strip()) <= 9


def parse_size(text: str) -> tuple[int, int]:
    """Read ``HxW``."""
    height, cross, width = text.lower().partition("x")
    if not (cross and _is_count(height) and _is_count(width)):
        raise InputError(
            f"--size must be HEIGHTxWIDTH in pixels, such as 128x256, got {shorten(text)}"
        )
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
        raise InputError(f"--pack must be streets, got {shorten(pack)}")
    height, width = parse_size(size)
    make_pack(PackSpec(height, width, train, val, seed, redundancy), out)
    typer.echo(f"{train} + {val} images of {height}x{width} px in {out}")


ConfigFile = Annotated[Path | None, typer.Option(help="A config whose data to take: any data set.")]
DataRoot = Annotated[
    Path | None,
    typer.Option(help="A folder: in Cityscapes' layout, or of the config's data set."),
]
SplitName = Annotated[str, typer.Option(help="train or val.")]


def _named(config: Path | None, data_root: Path | None) -> tuple[Data, SecondsPerClick]:
    """Return which data are meant, and how long each kind of click takes: as the config says.

    Raises:
        InputError: nothing is named.
    """
    from harness.blocks import CityscapesData, SecondsPerClick
    from harness.config import load_spec

    if config is not None:
        spec = load_spec(config, data_root=data_root)
        return spec.data, spec.seconds_per_click
    if data_root is None:
        raise InputError("the data must be named: --config FILE, or --data-root DIR for Cityscapes")
    return CityscapesData(type="cityscapes", root=str(data_root)), SecondsPerClick()


def _split(data: Data, name: str) -> Split:
    from harness.data.source import find_splits

    if name not in {"train", "val"}:
        raise InputError(f"--split must be train or val, got {shorten(name)}")
    return find_splits(data)[name == "val"]


def _check_target(option: str, path: Path | None) -> None:
    """Refuse a file that cannot be written, before any work.

    Raises:
        InputError: its folder is missing or cannot be written, or it is a folder itself.
    """
    if path is not None and not can_be_written(path):
        raise InputError(f"{option} must be a file in a folder that can be written, got {path}")


@app.command()
def check(
    config: ConfigFile = None,
    data_root: DataRoot = None,
    sheet: Annotated[
        Path | None, typer.Option(help="Draw images with their labels and clicks into this PNG.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Read every file once, list each problem, print what the data hold.

    Exit code 2 if anything is wrong.
    """
    from harness.data.source import (
        check_classes,
        find_splits,
        remarks,
        same_files,
        same_palettes,
    )

    _check_target("--sheet", sheet)
    data, _ = _named(config, data_root)
    splits, of_cityscapes = find_splits(data), data.type == "cityscapes"
    problems = []
    for split in splits:
        with _counter(split.name, len(split.files)) as each:
            problems += split.check(each=each)[1]
    problems += same_files(*splits)
    if not problems:
        problems += [*check_classes(*splits), *same_palettes(*splits)]
    said = [] if problems else remarks(*splits)
    if sheet is not None and not problems:
        from harness.data.statistics import draw_sheet

        draw_sheet(splits, sheet)
    if as_json:
        typer.echo(json.dumps(_document(splits, problems, said), indent=1))
    else:
        for problem in problems:
            print(f"harness: {problem}", file=sys.stderr)
        for split in () if problems else splits:
            typer.echo("\n".join([*_summary(split, of_cityscapes=of_cityscapes), *_tables(split)]))
        for line in said:
            typer.echo(f"remark: {line}")
    if problems:
        return 2
    if not as_json:
        look = f"wrote {sheet}" if sheet else "--sheet FILE.png draws some images with their labels"
        typer.echo(f"no problem found; {look}: look whether classes and orientation are right")
    return 0


def _document(splits: Sequence[Split], problems: list[str], said: list[str]) -> dict[str, Any]:
    """Return what a check found, for other programs."""
    found: dict[str, Any] = {"problems": problems, "remarks": said, "splits": {}}
    for split in () if problems else splits:
        index = split.index
        found["splits"][split.name] = {
            "images": len(index.sizes),
            "pixels": index.total_px,
            "void_share": index.void_px / index.total_px,
            "polygon_clicks": index.totals.polygon,
            "class_clicks": index.totals.classes,
            "simulated_clicks": split.simulated_clicks,
            "fingerprint": index.fingerprint,
            "values": {split.name_of_value(v): count for v, count in index.value_px.items()},
            "classes": dict(zip(split.class_names, index.class_px, strict=True)),
            "images_with_class": dict(zip(split.class_names, index.class_images, strict=True)),
        }
    return found


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


def _tables(split: Split) -> list[str]:
    """Return stored values and classes of a split."""
    from harness.data.statistics import per_class, per_value

    tables = (per_value(split).head(40), per_class(split))
    return [table.to_string(index=False) for table in tables]


def _summary(split: Split, *, of_cityscapes: bool) -> list[str]:
    """Return the totals of a split; of Cityscapes' layout also what the real data set holds."""
    index = split.index
    low, mean, high = index.vertices_per_image
    sizes = sorted(set(index.sizes.values()))
    shape = f"{sizes[0][0]}x{sizes[0][1]}" + (
        f" to {sizes[-1][0]}x{sizes[-1][1]} ({len(sizes)} sizes)" if len(sizes) > 1 else ""
    )
    kind = "SIMULATED vertices" if split.simulated_clicks else "vertices"
    lines = [
        f"{split.name}: {len(index.sizes)} images of {shape} px, {index.total_px} px",
        f"  C_p = {index.totals.polygon} {kind}, {low} / {mean:.0f} / {high} per image "
        f"(min / mean / max); C_c = {index.totals.classes} components",
        f"  void: {100 * index.void_px / index.total_px:.2f} % of the pixels",
        f"  fingerprint {index.fingerprint[:32]}",
    ]
    if index.unknown_labels:
        named = ", ".join(f"{label} ({count})" for label, count in index.unknown_labels.items())
        lines.append(f"  unknown labels, their vertices count as clicks: {named}")
    if index.decoded is None:
        lines.append(
            "  decoded images are not kept: no room under HARNESS_CACHE_GIB or on the disk"
        )
    return [*lines, *_expected(split)] if of_cityscapes else lines


_CITYSCAPES = {"train": (2975, 4_756_857, 338_302), "val": (500, None, None)}
"""Images, C_p and C_c of the real data set."""


def _expected(split: Split) -> list[str]:
    """Return what the real Cityscapes holds, beside what is here; nothing for a generated pack."""
    from harness.data.manifest import has_manifest

    if has_manifest(split.root) or split.name not in _CITYSCAPES:
        return []
    images, polygon, classes = _CITYSCAPES[split.name]
    index = split.index
    found = (len(index.sizes), index.totals.polygon, index.totals.classes)
    rows = zip(("images", "C_p", "C_c"), (images, polygon, classes), found, strict=True)
    different = [
        f"{name} {wanted} (here {own})" for name, wanted, own in rows if wanted not in (None, own)
    ]
    if not different:
        return ["  these are the counts of the real Cityscapes"]
    return [f"  the real Cityscapes has {', '.join(different)}"]


@app.command()
def stats(
    config: ConfigFile = None,
    data_root: DataRoot = None,
    split: SplitName = "train",
    plot: Annotated[
        Path | None,
        typer.Option(help="Draw clicks per class, per image, and against area into this PNG."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print pixels and clicks per class."""
    from harness.data.statistics import draw_clicks, per_class

    _check_target("--plot", plot)
    opened = _split(_named(config, data_root)[0], split)
    _print_table(per_class(opened), opened, as_json=as_json)
    if plot is not None:
        draw_clicks(opened, plot)
        typer.echo(f"wrote {plot}", err=as_json)


@app.command()
def windows(
    sides: Annotated[
        str | None,
        typer.Option(
            help="Window sides in pixels, separated by commas; without it those of 32, 64 and 128 "
            "that fit."
        ),
    ] = None,
    config: ConfigFile = None,
    data_root: DataRoot = None,
    split: SplitName = "train",
    as_json: AsJson = False,
) -> None:
    """Print what windows of several sizes cost: for the choice of harness.window."""
    from harness.data.statistics import per_window

    opened = _split(_named(config, data_root)[0], split)
    largest = min(min(size) for size in opened.index.sizes.values())
    usual = [str(side) for side in (32, 64, 128) if side <= largest] or [str(largest)]
    parts = usual if sides is None else [part.strip() for part in sides.split(",")]
    if not all(part.isdecimal() and 1 <= int(part[:9]) <= largest for part in parts):
        raise InputError(
            f"--sides must be whole numbers from 1 to {largest}, the smallest side of an image, "
            f"got {shorten(sides)}"
        )
    table = per_window(opened, [int(part) for part in parts])
    if opened.simulated_clicks and not as_json:
        typer.echo("SIMULATED CLICKS: the data have masks and no polygons")
    _print_table(table, opened, as_json=as_json)


def _print_table(table: pd.DataFrame, split: Split, *, as_json: bool) -> None:
    if as_json:
        rows = json.loads(table.to_json(orient="records"))
        document = {"simulated_clicks": split.simulated_clicks, "rows": rows}
        typer.echo(json.dumps(document, indent=1, allow_nan=False))
    else:
        typer.echo(table.to_string(index=False))


@app.command()
def receipt(
    image: Annotated[str, typer.Option(help="Image id, such as ahornau_000000_000019.")],
    region: Annotated[str, typer.Option(help="TOP,LEFT,HEIGHT,WIDTH in pixels.")],
    config: ConfigFile = None,
    data_root: DataRoot = None,
    split: SplitName = "train",
    plot: Annotated[
        Path | None, typer.Option(help="Draw the region with its clicks into this PNG.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print what annotating one region would cost, by kind of click."""
    from harness.clicks import count_region
    from harness.data.statistics import draw_receipt
    from harness.types import Region

    _check_target("--plot", plot)
    parts = region.split(",")
    if len(parts) != 4 or not all(_is_count(part) for part in parts):
        raise InputError(f"--region must be TOP,LEFT,HEIGHT,WIDTH in pixels, got {shorten(region)}")
    data, seconds_per_click = _named(config, data_root)
    opened = _split(data, split)
    if image not in opened.files:
        close = difflib.get_close_matches(image, opened.files, n=1) or list(opened.files)[:1]
        raise InputError(
            f"--image must be an id of {split}, such as {close[0]}, got {shorten(image)}"
        )
    asked = Region(image, *(int(part) for part in parts))
    try:
        clicks = count_region(opened.vertices(image), opened.label_ids(image), asked)
    except ValueError as error:
        raise InputError(f"--region must be a rectangle inside the image: {error}") from error
    totals, seconds = opened.index.totals, seconds_per_click.total(clicks)
    if as_json:
        document = {
            "image": image,
            "region": list(map(int, parts)),
            "simulated_clicks": opened.simulated_clicks,
            **dataclasses.asdict(clicks),
            "cost_a": totals.cost_a(clicks),
            "cost_b": totals.cost_b(clicks),
            "seconds": seconds,
        }
        typer.echo(json.dumps(document, indent=1))
        if plot is not None:
            draw_receipt(opened, asked, clicks, plot)
        return
    if opened.simulated_clicks:
        typer.echo("SIMULATED CLICKS: the data have masks and no polygons")
    typer.echo(
        f"c_p = {clicks.polygon}, c_i = {clicks.intersection}, c_b = {clicks.box}, c_c = "
        f"{clicks.classes}; new pixels {asked.area_px}"
    )
    typer.echo(
        f"cost_A = {totals.cost_a(clicks):.6f}, cost_B = {totals.cost_b(clicks):.6f}, about "
        f"{seconds:.0f} s"
    )
    if plot is not None:
        draw_receipt(opened, asked, clicks, plot)
        typer.echo(f"wrote {plot}")


@app.command()
def calibrate(
    config: ConfigFile = None,
    data_root: DataRoot = None,
    split: SplitName = "train",
    window: Annotated[int, typer.Option(help="Window side in pixels.")] = 32,
    tolerances: Annotated[
        str, typer.Option(help="Polygon tolerances in pixels.")
    ] = "0.5,0.75,1,1.25,1.5,2,3",
) -> None:
    """Compare clicks simulated from masks with recorded ones, where both exist."""
    from harness.data.masks import calibrate as compare

    try:
        values = tuple(float(part) for part in tolerances.split(","))
    except ValueError as error:
        raise InputError(
            f"--tolerances must be numbers separated by commas, got {shorten(tolerances)}"
        ) from error
    if not all(0.0 < value <= 100.0 for value in values):
        raise InputError(f"--tolerances must be above 0, at most 100, got {shorten(tolerances)}")
    if not 1 <= window <= 100_000:
        raise InputError(f"--window must be from 1 to 100000 pixels, got {shorten(window)}")
    opened = _split(_named(config, data_root)[0], split)
    if opened.simulated_clicks:
        raise InputError("the data must have recorded clicks to compare with, got masks")
    typer.echo("tolerance_px  windows  correlation  simulated/recorded")
    for row in compare(opened, values, window):
        typer.echo(
            f"{row.tolerance_px:12g}  {row.windows:7d}  {row.correlation:11.3f}  {row.ratio:18.3f}"
        )
