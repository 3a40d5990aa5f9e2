"""Figures of which each curve is named at its end, and what is not named is grey.

As PDF and SVG they are one column of a paper wide, with text of 7 points in a TrueType font; as PNG
they are as wide as a page. There is no title: a paper has its caption. What must not be overlooked
about a board stands above the axes, since figures travel alone.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath
from matplotlib.ticker import MaxNLocator
from scipy import stats

from harness.publish.board import NOISE_STRATEGY, Board, Row
from harness.publish.figures import save_figure
from harness.publish.significance import Significance
from harness.publish.text import figure_text, marks
from harness.statistics import Floats

SAFE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's colours: they stay apart for colour-blind readers."""

_COLUMN_IN, _PAGE_IN = 3.35, 6.5
"""Choice: the narrowest column among the usual templates is 3.25 inches, the widest 3.5."""
_HEIGHT_IN = 2.45
_TEXT_PT = 7.0
_LINE_PT = 8.4
_STYLE: Any = {
    "font.size": _TEXT_PT,
    "axes.titlesize": _TEXT_PT,
    "axes.labelsize": _TEXT_PT,
    "xtick.labelsize": _TEXT_PT,
    "ytick.labelsize": _TEXT_PT,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "axes.labelpad": 2.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "pdf.fonttype": 42,
}
_DASHES: tuple[Any, ...] = (
    "-",
    (0, (5, 1.2)),
    (0, (6, 1.2, 1.2, 1.2)),
    (0, (2.2, 1)),
    (0, (9, 1.5)),
    (0, (6, 1, 1, 1, 1, 1)),
)
"""Lines differ in more than colour, for those who see or print none."""
_GREY, _DARK = "0.8", "0.35"
_LONGEST_LINE, _MOST_LINES = 16, 4
"""Of a name in a column, in characters."""


@dataclass(frozen=True, slots=True)
class _End:
    """The end of a curve, and its name."""

    x: float
    y: float
    text: str
    color: str


def named_rows(board: Board) -> list[Row]:
    """Return the strategies that figures name, in the order of their colours.

    Choice: the five best by AUBC over clicks, bounds left out, and random-region.
    """
    ranked = [row for row in board.rows if not row.is_bound] or board.rows
    noise = [row for row in ranked if row.strategy == NOISE_STRATEGY]
    others = [row for row in ranked if row.strategy != NOISE_STRATEGY]
    return [*others[: len(SAFE) - len(noise)], *noise]


def draw_clicks(board: Board, path: Path) -> None:
    """Draw mIoU over clicks; six strategies are named, a bound with true clicks dotted."""
    _draw_curves(board, path, over_clicks=True)


def draw_pixels(board: Board, path: Path) -> None:
    """Draw mIoU over labelled pixels, as ``draw_clicks`` does over clicks."""
    _draw_curves(board, path, over_clicks=False)


def _draw_curves(board: Board, path: Path, *, over_clicks: bool) -> None:
    named = named_rows(board)
    with _column(board, path, height_in=_HEIGHT_IN) as axes:
        ends = []
        for row in [*(row for row in board.rows if row not in named), *named]:
            x, y = _curve(row, over_clicks=over_clicks)
            if row in named:
                number = named.index(row)
                axes.plot(x, y, color=SAFE[number], linestyle=_DASHES[number], linewidth=1.3)
                ends.append(_End(x[-1], y[-1], row.label, SAFE[number]))
            elif row.is_bound and "true clicks" in row.equation:
                axes.plot(x, y, color=_DARK, linestyle=":", linewidth=1.1)
                ends.append(_End(x[-1], y[-1], "true clicks (bound)", _DARK))
            else:
                axes.plot(x, y, color=_GREY, linewidth=0.8, zorder=1)
        axes.set_xlabel(f"{'clicks (cost B)' if over_clicks else 'pixels'}, % of the training set")
        axes.set_ylabel("mIoU on val, %")
        if board.threshold is not None:
            level = 100 * board.threshold
            axes.axhline(level, color=_DARK, linewidth=0.8, linestyle=(0, (6, 3)), zorder=0)
        _name(axes, ends)
        _name_threshold(axes, board)
        _say_grey(axes, len(board.rows) - len(ends))


def differences_of(board: Board) -> dict[str, tuple[Floats, Floats, Floats]]:
    """Return mIoU minus random-region's at equal clicks, paired by seed, in percent.

    For each strategy, by name: clicks, mean differences, half of their pointwise 95 % interval.
    """
    rows = {row.strategy: {curve.seed: curve for curve in row.curves} for row in board.rows}
    noise = rows[NOISE_STRATEGY]
    found = {}
    for name, own in sorted(rows.items()):
        seeds = sorted(set(own) & set(noise))
        if name == NOISE_STRATEGY or len(seeds) < 2:
            continue
        pairs = [(own[seed], noise[seed]) for seed in seeds]
        low = max(max(a.cost_b[0], b.cost_b[0]) for a, b in pairs)
        high = min(min(a.cost_b[-1], b.cost_b[-1]) for a, b in pairs)
        if high <= low:
            continue
        x = np.linspace(low, high, 60)
        gaps = np.array(
            [np.interp(x, a.cost_b, a.miou) - np.interp(x, b.cost_b, b.miou) for a, b in pairs]
        )
        half = np.sqrt(gaps.var(axis=0, ddof=1) / len(pairs))
        half = half * float(stats.t.isf(0.025, len(pairs) - 1))
        found[name] = (100 * x, 100 * gaps.mean(axis=0), 100 * half)
    return found


def draw_differences(board: Board, path: Path) -> None:
    """Draw mIoU minus random-region's over clicks, paired by seed, with pointwise 95 % bands."""
    found = differences_of(board)
    named = [row for row in named_rows(board) if row.strategy in found]
    with _column(board, path, height_in=_HEIGHT_IN) as axes:
        ends = []
        for name, (x, mean, half) in found.items():
            number = next((n for n, row in enumerate(named) if row.strategy == name), None)
            if number is None:
                axes.plot(x, mean, color=_GREY, linewidth=0.8, zorder=1)
                continue
            color = SAFE[number]
            axes.fill_between(x, mean - half, mean + half, color=color, alpha=0.1, linewidth=0)
            axes.plot(x, mean, color=color, linestyle=_DASHES[number], linewidth=1.3, zorder=3)
            ends.append(_End(x[-1], mean[-1], named[number].label, color))
        axes.axhline(0.0, color=_DARK, linewidth=0.8)
        ends.append(_End(axes.get_xlim()[1], 0.0, NOISE_STRATEGY, _DARK))
        axes.set_xlabel("clicks (cost B), % of the training set")
        axes.set_ylabel("difference in mIoU, points")
        _name(axes, ends)
        _say_grey(axes, len(found) - len(named))


def draw_places(significance: Significance, board: Board, path: Path) -> None:
    """Draw AUBC over clicks of all ranked strategies; a bar joins those of which no pair differs."""
    rows = [row for row in board.rows if not row.is_bound]
    names = [_shortened(row.label, 2 * _LONGEST_LINE) for row in rows]
    height_in = 0.75 + 0.135 * len(rows)
    with _column(board, path, height_in=height_in, left_pt=max(map(_width_pt, names)) + 8) as axes:
        places = [100 * row.aubc_clicks.mean for row in rows]
        spreads = [100 * (row.aubc_clicks.std or 0.0) for row in rows]
        axes.errorbar(
            places,
            range(len(rows)),
            xerr=spreads,
            fmt="o",
            markersize=3,
            color="0.15",
            ecolor="0.6",
            elinewidth=0.9,
        )
        axes.set_yticks(range(len(rows)), names)
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        low = min(place - spread for place, spread in zip(places, spreads, strict=True))
        high = max(place + spread for place, spread in zip(places, spreads, strict=True))
        order = {row.strategy: number for number, row in enumerate(rows)}
        step = 0.07 * (high - low or 1.0)
        for number, (first, last) in enumerate(significance.clicks.bars, start=1):
            x, ends = high + number * step, [order[first] - 0.2, order[last] + 0.2]
            axes.plot([x, x], ends, color=SAFE[1], linewidth=1.8, solid_capstyle="butt")
        axes.set_xlabel("AUBC over clicks, % mIoU (± std); bars: no pair differs", loc="right")
        axes.grid(axis="x", alpha=0.3, linewidth=0.5)


def draw_cost_model(
    board: Board, entries: Sequence[tuple[str, Sequence[tuple[float, float]]]], path: Path
) -> None:
    """Draw recorded over predicted clicks of bought windows, in tenths of them by prediction."""
    with _column(board, path, height_in=_HEIGHT_IN) as axes:
        highest = max((max(point) for _, points in entries for point in points), default=1.0)
        axes.plot([0, highest], [0, highest], color=_DARK, linewidth=0.8, linestyle=":")
        ends = []
        for number, (name, points) in enumerate(entries):
            x, y = [x for x, _ in points], [y for _, y in points]
            if number >= len(SAFE):
                axes.plot(x, y, color=_GREY, linewidth=0.8, zorder=1)
                continue
            axes.plot(x, y, color=SAFE[number], linestyle=_DASHES[number], linewidth=1.3, zorder=3)
            ends.append(_End(x[-1], y[-1], name, SAFE[number]))
        axes.set_xlabel("predicted clicks per window")
        axes.set_ylabel("recorded clicks per window")
        _name(axes, ends)
        _say_grey(axes, len(entries) - len(ends))


# ----------------------------------------------------------------------------------- the column


@contextmanager
def _column(board: Board, path: Path, *, height_in: float, left_pt: float = 31.0) -> Iterator[Axes]:
    """Yield axes in a figure of one column, below what must be said; write it at the end.

    A PNG is for a screen: as wide as a page.
    """
    width_in = _COLUMN_IN
    if path.suffix == ".png":
        width_in, height_in = _PAGE_IN, height_in * 1.45
    seeds = len({curve.seed for row in board.rows for curve in row.curves})
    said = [figure_text(board.name), *marks(board), f"{seeds} seed{'s' * (seeds > 1)}"]
    lines = textwrap.wrap("; ".join(said), int(16 * width_in), max_lines=4, placeholder=" ...")
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width_in, height_in))
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        figure.text(
            2 / (72 * width_in), 1 - 2 / (72 * height_in), "\n".join(lines), va="top", color=_DARK
        )
        _set_margins(axes, left_pt=left_pt, right_pt=6.0, top_pt=_LINE_PT * len(lines) + 7.0)
        yield axes
        save_figure(figure, path, dpi=150)


def _set_margins(
    axes: Axes, *, right_pt: float, left_pt: float | None = None, top_pt: float | None = None
) -> None:
    """Place axes by their margins in points; without a left or top one, these stay."""
    width_in, height_in = axes.get_figure().get_size_inches()  # type: ignore[union-attr]
    box = axes.get_position()
    left = box.x0 if left_pt is None else left_pt / (72 * width_in)
    top = box.y1 if top_pt is None else 1 - top_pt / (72 * height_in)
    bottom = 26.0 / (72 * height_in)
    axes.set_position((left, bottom, 1 - right_pt / (72 * width_in) - left, top - bottom))


def _name(axes: Axes, ends: Sequence[_End]) -> None:
    """Write names beside the axes, moved apart, each joined to the end of its curve."""
    if not ends:
        return
    width_in, height_in = axes.get_figure().get_size_inches()  # type: ignore[union-attr]
    longest = _LONGEST_LINE if width_in == _COLUMN_IN else 2 * _LONGEST_LINE
    ends = [replace(end, text=_wrapped(end.text, longest)) for end in ends]
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    low, high = axes.get_ylim()
    axes.set_ylim(low, high)
    axes.set_xlim(axes.get_xlim())
    _set_margins(axes, right_pt=max(_width_pt(end.text) for end in ends) + 14.0)
    per_pt = (high - low) / (axes.get_position().height * height_in * 72)
    ends = sorted(ends, key=lambda end: end.y)
    sizes = [per_pt * _LINE_PT * (end.text.count("\n") + 1.2) for end in ends]
    for end, at in zip(ends, _apart([end.y for end in ends], sizes, low, high), strict=True):
        axes.annotate(
            end.text,
            (end.x, end.y),
            (1.0 + 9.0 / (72 * width_in * axes.get_position().width), at),
            textcoords=("axes fraction", "data"),
            va="center",
            linespacing=1.05,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": end.color,
                "linewidth": 0.5,
                "alpha": 0.7,
                "shrinkA": 1,
                "shrinkB": 0,
                "relpos": (0.0, 0.5),
            },
        )


def _apart(
    middles: Sequence[float], sizes: Sequence[float], low: float, high: float
) -> list[float]:
    """Move rising middles of boxes so that none overlaps another, from low to high if they fit.

    The mean of two ways that both keep boxes apart: moved upwards, and moved downwards.
    """
    upwards = _moved_up(middles, sizes, low, high)
    turned = [-middle for middle in reversed(middles)], [*reversed(sizes)]
    downwards = [-middle for middle in reversed(_moved_up(*turned, -high, -low))]
    return [(up + down) / 2 for up, down in zip(upwards, downwards, strict=True)]


def _moved_up(
    middles: Sequence[float], sizes: Sequence[float], low: float, high: float
) -> list[float]:
    """Move each box up to the one below it, then all that are above the end down again."""
    tops: list[float] = []
    for middle, size in zip(middles, sizes, strict=True):
        bottom = max(middle - size / 2, tops[-1] if tops else low)
        tops.append(bottom + size)
    ceiling = max(high, low + sum(sizes))
    for number in reversed(range(len(tops))):
        tops[number] = min(tops[number], ceiling)
        ceiling = tops[number] - sizes[number]
    return [top - size / 2 for top, size in zip(tops, sizes, strict=True)]


def _curve(row: Row, *, over_clicks: bool) -> tuple[list[float], list[float]]:
    y = [100 * spread.mean for spread in row.miou]
    if over_clicks:
        return [100 * spread.mean for spread in row.cost_b], y
    count = len(row.curves)
    rounds = zip(*(curve.pixel_share for curve in row.curves), strict=True)
    return [100 * sum(shares) / count for shares in rounds], y


def _name_threshold(axes: Axes, board: Board) -> None:
    if board.threshold is None:
        return
    low, high = axes.get_ylim()
    level = (100 * board.threshold - low) / (high - low)
    gap = 1.2 * _share_of(axes, "")[1]
    places = [(x, y) for x in (1.0, 0.0) for y in (level - gap, level + 0.2 * gap)]
    _write(axes, "95 % of full data", places, _DARK)


def _say_grey(axes: Axes, others: int) -> None:
    """Say how many curves are grey."""
    if others > 0:
        text = f"grey: {others} other{'s' * (others > 1)}"
        corners = [(1.0, 0.01), (0.0, 1 - _share_of(axes, text)[1]), (0.0, 0.01)]
        _write(axes, text, corners, "0.45")


def _write(axes: Axes, text: str, places: Sequence[tuple[float, float]], color: str) -> None:
    """Write a text inside the axes where the fewest curves run, at the first such place.

    Args:
        places: its lower left corner, in shares of the axes; 1 on the right: it ends there.
    """
    width, height = _share_of(axes, text)
    corners = [(min(x + 0.01, 0.99 - width), y) for x, y in places]
    inside = [(x, y) for x, y in corners if 0 <= y <= 1] or corners
    points = _points(axes)

    def hidden(corner: tuple[float, float]) -> int:
        within = (points >= corner) & (points <= (corner[0] + width, corner[1] + height))
        return int(within.all(axis=1).sum())

    place = min(inside, key=hidden)
    behind = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.4}
    axes.annotate(text, place, xycoords="axes fraction", va="bottom", color=color, bbox=behind)


def _share_of(axes: Axes, text: str) -> tuple[float, float]:
    """Return how much of the axes' width and height a line of text takes."""
    width_in, height_in = axes.get_figure().get_size_inches()  # type: ignore[union-attr]
    box = axes.get_position()
    return _width_pt(text) / (72 * width_in * box.width), _LINE_PT / (72 * height_in * box.height)


def _points(axes: Axes) -> Floats:
    """Return points along all curves, (points, 2), in shares of the axes."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    dense = np.linspace(0.0, 1.0, 200)
    found = []
    for line in axes.lines:
        x, y = np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)
        if len(x) > 2:  # a curve, and no level
            at = np.interp(dense, np.linspace(0.0, 1.0, len(x)), x)
            up = np.interp(dense, np.linspace(0.0, 1.0, len(y)), y)
            found.append(np.stack([(at - left) / (right - left), (up - low) / (high - low)], 1))
    return np.concatenate(found) if found else np.empty((0, 2))


def _wrapped(text: str, longest: int) -> str:
    """Return a name on few short lines: broken before its options and marks, and behind hyphens."""
    if len(text) <= longest:
        return figure_text(text)
    parts = re.split(r" (?=\()|(?=\[)", figure_text(text))
    lines = [line for part in parts for line in textwrap.wrap(part, longest)]
    return "\n".join(lines if len(lines) <= _MOST_LINES else [*lines[:_MOST_LINES], "..."])


def _shortened(text: str, most: int) -> str:
    shown = figure_text(text)
    return shown if len(shown) <= most else f"{shown[: most - 3]}..."


def _width_pt(text: str) -> float:
    """Return how wide a text is set, its longest line."""
    lines = [line for line in text.split("\n") if line.strip()]
    return max(
        (TextPath((0, 0), line, size=_TEXT_PT).get_extents().width for line in lines), default=0.0
    )
