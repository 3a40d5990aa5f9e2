"""All strategies of a board in one picture: every curve, and who can be told from whom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.drawing import save
from harness.publish.board import Board, Row
from harness.publish.significance import Significance
from harness.publish.text import figure_text, marks

_COLORS = mpl.colormaps["tab20"].colors  # type: ignore[attr-defined]
_MARKERS = "osD^vP*X<>hp8d"


def draw_curves(board: Board, path: Path) -> None:
    """Draw mIoU over pixels and over clicks; bands are one standard deviation over seeds."""
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
            axes.plot(x, mean, label=figure_text(row.label), **style)
            axes.fill_between(
                x, mean - std, mean + std, color=style["color"], alpha=0.08, linewidth=0
            )
    for axes, label in (
        (left, "labelled pixels, % of the training set"),
        (right, "clicks, % of the training set (cost B)"),
    ):
        _finish(axes, board, label)
    left.set_ylabel("mIoU on val, %")
    figure.suptitle(
        _titled(
            board,
            "equal pixels are enforced; clicks are what happens"
            if board.budget_unit == "pixels"
            else "equal clicks are enforced; pixels are what happens",
        ),
        fontsize=12,
    )
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize=8, frameon=False)
    save_figure(figure, path)


def _titled(board: Board, text: str) -> str:
    """Return a title with what must not be overlooked below it."""
    found = "; ".join(marks(board))
    return f"{figure_text(board.name)}: {text}" + f"\n{found}" * bool(found)


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


_VECTORS: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}


def save_figure(figure: Figure, path: Path, *, dpi: int = 110) -> None:
    """Write a figure in the form that the name of its file asks for: PNG, SVG or PDF.

    There are no dates or random names in it, so the same board gives the same file.
    """
    kind = path.suffix[1:]
    with mpl.rc_context({"svg.hashsalt": path.stem, "svg.fonttype": "none"}):
        save(figure, path, kind=kind, dpi=dpi, metadata=_VECTORS.get(kind, {}))


def draw_ranks(significance: Significance, board: Board, path: Path) -> None:
    """Draw who can be told from whom.

    Left a critical-difference diagram over AUBC, right the pairwise penalty matrix.

    A bar joins strategies of which no pair differs. A cell is the share of budgets at which the row
    beats the column.
    """
    rows = [row for row in board.rows if not row.is_bound]
    names = [figure_text(row.label) for row in rows]
    figure = Figure(figsize=(13, max(4.2, 1.6 + 0.34 * len(rows))), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1.25, 1])
    places = [100 * row.aubc_clicks.mean for row in rows]
    order = {row.strategy: number for number, row in enumerate(rows)}
    left.errorbar(
        places,
        range(len(rows)),
        xerr=[100 * (row.aubc_clicks.std or 0.0) for row in rows],
        fmt="o",
        color="0.15",
        ecolor="0.65",
    )
    left.set_yticks(range(len(rows)), names, fontsize=8)
    left.set_ylim(len(rows) - 0.5, -0.5)
    widest = max(places) - min(places) or 1.0
    farthest = max(100 * (row.aubc_clicks.mean + (row.aubc_clicks.std or 0.0)) for row in rows)
    for number, (first, last) in enumerate(significance.clicks.bars):
        x = farthest + widest * (0.08 + 0.06 * number)
        left.plot(
            [x, x],
            [order[first] - 0.15, order[last] + 0.15],
            color="firebrick",
            linewidth=3,
            solid_capstyle="butt",
        )
    left.set_xlabel(
        "AUBC over clicks, % mIoU (± std over seeds); a red bar joins what cannot be told apart"
    )
    left.spines[["top", "right"]].set_visible(False)
    left.grid(axis="x", alpha=0.25)
    matrix = np.array([[significance.penalty[a.strategy][b.strategy] for b in rows] for a in rows])
    right.imshow(matrix, cmap="Blues", vmin=0, vmax=1, aspect="auto")  # rows beside names
    for y, x in np.argwhere(matrix > 0):
        right.annotate(
            f"{matrix[y, x]:.1f}",
            (x, y),
            ha="center",
            va="center",
            fontsize=7,
            color="white" if matrix[y, x] > 0.5 else "black",
        )
    right.set_xticks(range(len(rows)), names, rotation=60, ha="right", fontsize=7)
    right.set_yticks(range(len(rows)), [])
    right.set_title(
        "share of budgets at which the row beats the column\n(moderated paired t-test, p < 0.05, "
        "uncorrected)",
        fontsize=9,
    )
    figure.suptitle(
        _titled(
            board,
            f"{significance.clicks.separable} of {len(significance.clicks.pairs)} pairs differ "
            f"after Holm's correction ({significance.seeds} seeds)",
        ),
        fontsize=11,
    )
    save_figure(figure, path)
