"""A board as a picture: mIoU over pixels and over clicks, side by side, from one run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from harness.drawing import save
from harness.publish.board import NOISE_STRATEGY, Board, Row
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
    _save(figure, path)


_SAFE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's colours: they stay apart for colour-blind readers."""


def draw_answer(board: Board, path: Path) -> None:
    """Draw mIoU over clicks: six curves with their names at their ends, all others in grey.

    Choice: the five best by AUBC over clicks, bounds left out, and random-region.
    """
    ranked = [row for row in board.rows if not row.is_bound] or board.rows
    named = [row for row in ranked if row.strategy == NOISE_STRATEGY]
    others = [row for row in ranked if row.strategy != NOISE_STRATEGY]
    named = [*others[: len(_SAFE) - len(named)], *named]
    figure = Figure(figsize=(9.4, 5), layout="constrained")
    axes = figure.subplots()
    ends: list[tuple[float, float, str, str]] = []
    for row in [*(row for row in board.rows if row not in named), *named]:
        x = [100 * spread.mean for spread in row.cost_b]
        y = [100 * spread.mean for spread in row.miou]
        if row.is_bound and "true clicks" in row.equation:
            axes.plot(x, y, color="0.5", linewidth=1.2, linestyle=":", zorder=1)
            axes.annotate(
                "true clicks (bound)",
                (x[-1], y[-1]),
                (2, 3),
                textcoords="offset points",
                color="0.4",
                fontsize=8,
            )
            continue
        if row not in named:
            axes.plot(x, y, color="0.8", linewidth=1.2, zorder=1)
            continue
        color = _SAFE[named.index(row)]
        is_noise = row.strategy == NOISE_STRATEGY
        axes.plot(x, y, color=color, linewidth=2.2, linestyle="--" if is_noise else "-", zorder=3)
        ends.append((x[-1], y[-1], figure_text(row.label), color))
    _finish(axes, board, "clicks, % of the training set (cost B)")
    axes.set_ylabel("mIoU on val, %")
    low, high = axes.get_ylim()
    right = max(end[0] for end in ends)
    axes.set_xlim(right=right * 1.38)
    axes.set_xticks([tick for tick in axes.get_xticks() if 0 <= tick <= right * 1.02])
    ends.sort(key=_height)
    places = _apart([up for _, up, _, _ in ends], step=0.045 * (high - low), most=high)
    for (across, up, text, color), at in zip(ends, places, strict=True):
        axes.annotate(
            text,
            (across, up),
            (right * 1.04, at),
            color=color,
            fontsize=9,
            va="center",
            arrowprops={"arrowstyle": "-", "color": color, "linewidth": 0.6, "alpha": 0.6},
        )
    axes.set_title(_titled(board, "who needs the fewest clicks"), fontsize=11)
    _save(figure, path)


def _apart(heights: list[float], *, step: float, most: float) -> list[float]:
    """Move rising heights so that neighbours are a step apart and none is above ``most``."""
    places: list[float] = []
    for height in heights:
        places.append(max(height, places[-1] + step) if places else height)
    for number in reversed(range(len(places))):
        top = places[number + 1] - step if number + 1 < len(places) else most - step / 2
        places[number] = min(places[number], top)
    return places


def _height(end: tuple[float, float, str, str]) -> float:
    return end[1]


def draw_differences(board: Board, path: Path) -> None:
    """Draw mIoU minus random-region's at equal clicks, paired by seed, with pointwise 95 % bands."""
    rows = {row.strategy: {curve.seed: curve for curve in row.curves} for row in board.rows}
    noise = rows[NOISE_STRATEGY]
    figure = Figure(figsize=(9, 5.2), layout="constrained")
    axes = figure.subplots()
    for number, row in enumerate(sorted(board.rows, key=lambda item: item.strategy)):
        seeds = sorted(set(rows[row.strategy]) & set(noise))
        if row.strategy == NOISE_STRATEGY or len(seeds) < 2:
            continue
        pairs = [(rows[row.strategy][seed], noise[seed]) for seed in seeds]
        low = max(max(a.cost_b[0], b.cost_b[0]) for a, b in pairs)
        high = min(min(a.cost_b[-1], b.cost_b[-1]) for a, b in pairs)
        if high <= low:
            continue
        x = np.linspace(low, high, 60)
        gaps = np.array(
            [np.interp(x, a.cost_b, a.miou) - np.interp(x, b.cost_b, b.miou) for a, b in pairs]
        )
        mean = 100 * gaps.mean(axis=0)
        half = 100 * np.sqrt(gaps.var(axis=0, ddof=1) / len(pairs))
        half = half * float(stats.t.isf(0.025, len(pairs) - 1))
        color = _COLORS[number % 20]
        axes.plot(100 * x, mean, color=color, linestyle=_line(row), label=figure_text(row.label))
        axes.fill_between(100 * x, mean - half, mean + half, color=color, alpha=0.1, linewidth=0)
    axes.axhline(0.0, color="0.35", linewidth=0.9)
    axes.set_xlabel("clicks, % of the training set (cost B)")
    axes.set_ylabel(f"mIoU minus that of {NOISE_STRATEGY}, points")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(_titled(board, "difference at equal clicks, paired by seed"), fontsize=11)
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    _save(figure, path)


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


def _save(figure: Figure, path: Path) -> None:
    """Write a figure in the form that the name of its file asks for: PNG, SVG or PDF.

    There are no dates or random names in it, so the same board gives the same file.
    """
    kind = path.suffix[1:]
    with mpl.rc_context({"svg.hashsalt": path.stem, "svg.fonttype": "none"}):
        save(figure, path, kind=kind, metadata=_VECTORS.get(kind, {}))


def draw_ranks(verdicts: Significance, board: Board, path: Path) -> None:
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
    left.invert_yaxis()
    widest = max(places) - min(places) or 1.0
    farthest = max(100 * (row.aubc_clicks.mean + (row.aubc_clicks.std or 0.0)) for row in rows)
    for number, (first, last) in enumerate(verdicts.clicks.bars):
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
    matrix = np.array([[verdicts.penalty[a.strategy][b.strategy] for b in rows] for a in rows])
    right.imshow(matrix, cmap="Blues", vmin=0, vmax=1)
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
            f"{verdicts.clicks.separable} of {len(verdicts.clicks.pairs)} pairs differ after "
            "Holm's correction "
            f"({verdicts.seeds} seeds)",
        ),
        fontsize=11,
    )
    _save(figure, path)


def draw_calibration(
    entries: Sequence[tuple[str, Sequence[tuple[float, float]]]], path: Path
) -> None:
    """Draw recorded over predicted clicks of bought windows, in tenths of the windows by prediction."""
    figure = Figure(figsize=(6.4, 5), layout="constrained")
    axes = figure.subplots()
    highest = max((max(point) for _, points in entries for point in points), default=1.0)
    axes.plot([0, highest], [0, highest], color="0.6", linewidth=1, linestyle="--")
    for number, (name, points) in enumerate(entries):
        axes.plot(
            [x for x, _ in points],
            [y for _, y in points],
            marker=_MARKERS[number % len(_MARKERS)],
            label=figure_text(name),
            linewidth=1.2,
            markersize=4,
        )
    axes.set_xlabel("predicted clicks per window")
    axes.set_ylabel("recorded clicks per window")
    axes.set_title("what the cost model said, and what was billed", fontsize=11)
    axes.legend(fontsize=7, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    _save(figure, path)
