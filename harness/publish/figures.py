"""A board as a picture: mIoU over pixels and over clicks, side by side, from one run."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.files import replacing
from harness.publish.board import Board, Row

_COLORS = mpl.colormaps["tab20"].colors  # type: ignore[attr-defined]
_MARKERS = "osD^vP*X<>hp8d"


def draw_curves(board: Board, path: Path) -> None:
    """Write the figure; bands are one standard deviation over seeds."""
    figure = Figure(figsize=(13, 5.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for number, row in enumerate(sorted(board.rows, key=lambda item: item.strategy)):
        style = {
            "color": _COLORS[number % 20],
            "marker": _MARKERS[number % len(_MARKERS)],
            "linestyle": _line(row),
            "markersize": 4.5,
            "linewidth": 1.4,
        }
        mean = np.array([spread.mean for spread in row.miou]) * 100
        std = np.array([spread.std or 0.0 for spread in row.miou]) * 100
        pixels = np.mean([curve.pixel_share for curve in row.curves], axis=0).tolist()
        for axes, shares in ((left, pixels), (right, [spread.mean for spread in row.cost_b])):
            x = np.array(shares) * 100
            axes.plot(x, mean, label=row.label, **style)
            axes.fill_between(x, mean - std, mean + std, color=style["color"], alpha=0.08, linewidth=0)
    for axes, label in ((left, "labelled pixels, % of the training set"), (right, "clicks, % of the training set (cost B)")):
        _finish(axes, board, label)
    left.set_ylabel("mIoU on val, %")
    figure.suptitle(f"{board.name}: equal pixels are enforced; clicks are what happens", fontsize=12)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize=8, frameon=False)
    with replacing(path) as draft:
        figure.savefig(draft, format="png", dpi=110)


def _line(row: Row) -> str:
    return ":" if row.is_bound else "--" if row.strategy.startswith("random") else "-"


def _finish(axes: Axes, board: Board, label: str) -> None:
    axes.set_xlabel(label)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if board.threshold is not None:
        axes.axhline(100 * board.threshold, color="0.35", linewidth=0.9, linestyle=(0, (6, 3)))
        axes.annotate(
            "95 % of full-data mIoU",
            (0.01, 100 * board.threshold),
            xycoords=("axes fraction", "data"),
            fontsize=8,
            va="bottom",
            color="0.35",
        )
