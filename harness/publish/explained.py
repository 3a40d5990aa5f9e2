"""An explanation as text, JSON and a picture."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from rich.markup import escape
from rich.table import Table

from harness.drawing import save
from harness.explanation import Explanation, ImageMaps, WindowReason
from harness.files import write_text
from harness.statistics import cost_quality


def to_json(explanation: Explanation, path: Path) -> None:
    """Write all reasons."""
    write_text(path, json.dumps(asdict(explanation), indent=1) + "\n")


def to_table(explanation: Explanation, windows: list[WindowReason]) -> Table:
    """Return the windows as a table for a terminal."""
    title = f"{explanation.strategy}, seed {explanation.seed}, round {explanation.round}: {explanation.equation}"
    table = Table(title=escape(title), box=None, pad_edge=False, title_justify="left")
    names = [
        "rank",
        "image",
        "top, left",
        "score",
        "I (nats)",
        "I scaled",
        "cost",
        "C scaled",
        "suppressed",
        "next to it",
        "c_p + c_i + c_b",
    ]
    for number, name in enumerate(names):
        table.add_column(name, justify="left" if number == 1 else "right", no_wrap=True)
    for window in windows:
        near = window.strongest_suppressed
        table.add_row(
            str(window.rank),
            escape(window.image_id),
            f"{window.top}, {window.left}",
            f"{window.score:.4f}",
            _number(window.information, 1),
            _number(window.information_scaled, 3),
            _number(window.cost, 1),
            _number(window.cost_scaled, 3),
            str(window.suppressed),
            "-" if near is None else f"{near.score:.4f} at {near.top}, {near.left}",
            f"{window.polygon} + {window.intersection} + {window.box}",
        )
    return table


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def draw(
    photo: npt.NDArray[np.uint8],
    maps: ImageMaps,
    windows: list[WindowReason],
    title: str,
    path: Path,
    *,
    stride: int,
) -> None:
    """Draw the photograph with its windows, and the maps of all placements, each at the middle of its window."""
    panels: list[tuple[str, npt.NDArray[np.float64]]] = [
        (name, values)
        for name, values in (
            ("information of the window, nats", maps.information),
            ("cost of the window, clicks", maps.cost),
        )
        if values is not None
    ]
    panels.append(("score", np.where(np.isfinite(maps.scores), maps.scores, np.nan)))
    height, width = photo.shape[:2]
    figure = Figure(
        figsize=(12, 12 * height / width * ((len(panels) + 2) // 2) / 2 + 0.8), layout="constrained"
    )
    grid = figure.subplots((len(panels) + 2) // 2, 2, squeeze=False).flatten()
    grid[0].imshow(photo)
    grid[0].set_title("what was asked for, by rank in the pool", fontsize=9)
    for axes, (name, values) in zip(grid[1:], panels, strict=False):
        if values.size > 1:
            rows, cols = values.shape
            left, top = (
                (width - (cols - 1) * stride) / 2 - stride / 2,
                (height - (rows - 1) * stride) / 2 - stride / 2,
            )
            shown = axes.imshow(
                values,
                cmap="viridis",
                extent=(left, left + cols * stride, top + rows * stride, top),
            )
            figure.colorbar(shown, ax=axes, shrink=0.7)
        else:
            axes.text(
                0.5, 0.5, f"{float(values.flat[0]):.4g}", transform=axes.transAxes, ha="center"
            )
        axes.set_title(name, fontsize=9)
    for axes in grid[: len(panels) + 1]:
        axes.set_xlim(-0.5, width - 0.5)
        axes.set_ylim(height - 0.5, -0.5)
        axes.set_aspect("equal")
        _mark(axes, windows)
    for axes in grid[len(panels) + 1 :]:
        axes.set_axis_off()
    figure.suptitle(title, fontsize=11)
    save(figure, path)


def draw_costs(explanation: Explanation, recorded: list[int], path: Path) -> None:
    """Plot recorded over predicted clicks of all windows that a query bought, with the mean of each tenth.

    Args:
        recorded: clicks of each window, of the kind that was predicted.
    """
    predicted = [window.cost or 0.0 for window in explanation.windows]
    quality = cost_quality(predicted, recorded)
    figure = Figure(figsize=(5.6, 5), layout="constrained")
    axes = figure.subplots()
    highest = max([*predicted, *recorded, 1.0])
    axes.plot([0, highest], [0, highest], color="0.6", linewidth=1, linestyle="--")
    axes.scatter(predicted, recorded, s=14, alpha=0.6, linewidths=0)
    axes.plot(
        [x for x, _ in quality.reliability],
        [y for _, y in quality.reliability],
        marker="o",
        markersize=4,
        color="C1",
    )
    axes.set_xlabel("predicted clicks of the window")
    axes.set_ylabel("recorded clicks")
    rho = "-" if quality.spearman is None else f"{quality.spearman:.2f}"
    axes.set_title(
        f"{explanation.strategy}, seed {explanation.seed}, round {explanation.round}: Spearman "
        f"{rho}",
        fontsize=10,
    )
    axes.spines[["top", "right"]].set_visible(False)
    save(figure, path)


def _mark(axes: Axes, windows: list[WindowReason]) -> None:
    for window in windows:
        axes.add_patch(
            Rectangle(
                (window.left - 0.5, window.top - 0.5),
                window.width,
                window.height,
                fill=False,
                edgecolor="red",
                linewidth=1.4,
            )
        )
        axes.text(
            window.left + 2,
            window.top + 2,
            str(window.rank),
            color="white",
            fontsize=8,
            va="top",
            backgroundcolor=(0.7, 0, 0, 0.7),
        )
