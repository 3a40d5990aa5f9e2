"""The columns of a leaderboard: one list, from which every table takes what it shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.publish.board import LEVELS, Board, Crossing, Row, Spread
from harness.publish.significance import Estimate, Place, Significance

Number = float | int | None
Value = Number | str
"""What a column holds beside its text: a number, or who made a run."""
Ends = tuple[Number, Number]
"""Where an interval begins and where it ends."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column, filled.

    key: its name in CSV and JSON. title, short: in wide tables and in a terminal. says: what it
    means, in a sentence. cells: as text, one for each row. values: as numbers, for CSV and for
    sorting; None where there is none. An origin is a text there too. ends: of each value's
    interval, None where it has no end; None for a column that shows no interval.
    drop: which columns a narrow terminal leaves out first, the highest; 0 never; None: not shown
    there. answers: it is one of the five of the short table and of the LaTeX table.
    """

    key: str
    title: str
    short: str
    says: str
    cells: list[str]
    values: list[Value]
    drop: int | None = None
    answers: bool = False
    ends: list[Ends] | None = None


def columns_of(board: Board, significance: Significance | None) -> list[Column]:
    """Return all columns of a board, in the order of the wide table.

    A further column is one more entry here.
    """
    rows, last = board.rows, len(board.budget_shares) - 1

    def column(
        key: str,
        title: str,
        text: Callable[[Row], str],
        value: Callable[[Row], Value],
        *,
        says: str,
        short: str | None = None,
        drop: int | None = None,
        answers: bool = False,
        ends: Callable[[Row], Ends] | None = None,
    ) -> Column:
        return Column(
            key,
            title,
            short or title,
            says,
            [text(row) for row in rows],
            [value(row) for row in rows],
            drop,
            answers,
            None if ends is None else [ends(row) for row in rows],
        )

    def place(row: Row) -> Place | None:
        return significance.comparisons[row.strategy].clicks if significance else None

    def pixel_place(row: Row) -> Place | None:
        return significance.comparisons[row.strategy].pixels if significance else None

    def sooner(row: Row) -> float | None:
        return significance.comparisons[row.strategy].sooner if significance else None

    def lead(row: Row) -> float | None:
        return significance.comparisons[row.strategy].lead if significance else None

    def budget(number: int) -> Column:
        unit = "px" if board.budget_unit == "pixels" else "clicks"
        at = f"{100 * board.budget_shares[number]:.1f} % {unit}"
        if number == 0 and unit == "clicks":
            at = "the seed set"
        return column(
            f"miou_{number}",
            f"mIoU at {at}",
            lambda row: percent(row.miou[number]),
            lambda row: row.miou[number].mean,
            says="mIoU on the validation images after this round: mean and standard "
            "deviation over seeds.",
            short=at,
            drop=6 if number == last else 20 + last - number,
        )

    def level(number: int) -> Column:
        name = f"{100 * LEVELS[number]:.0f}"
        is_last = number == len(LEVELS) - 1
        return column(
            f"clicks_to_{name}",
            f"clicks % to {name} %",
            lambda row: crossing(row.clicks_to[number] if row.clicks_to else None),
            lambda row: row.clicks_to[number].value if row.clicks_to else None,
            says=f"Share of the clicks at which {name} % of the full-data mIoU is first reached: "
            "median over seeds with its 95 % interval.",
            short=f"clicks to {name} %",
            drop=2 if is_last else 12 + len(LEVELS) - number,
            answers=is_last,
            ends=lambda row: _ends(row.clicks_to[number] if row.clicks_to else None),
        )

    origin = column(
        "origin",
        "origin",
        lambda row: row.origin or "this board",
        lambda row: row.origin or None,
        says="Whose runs these are: the group's name, and what it says of them.",
    )
    return [
        column(
            "rank",
            "rank",
            lambda row: places(place(row)),
            lambda row: getattr(place(row), "rank", None),
            says="Places that a strategy may have by AUBC over clicks; none for bounds.",
            drop=1,
            answers=True,
            ends=lambda row: _places(place(row)),
        ),
        column(
            "strategy",
            "strategy",
            lambda row: row.label,
            lambda _: None,
            says="Its identity, with a mark where it is a bound, tuned or external.",
            drop=0,
            answers=True,
        ),
        *[level(number) for number in range(len(LEVELS))],
        column(
            "lead",
            "95 % against random-region",
            lambda row: sooner_or_later(lead(row)),
            lead,
            says="Whether it reaches 95 % of full data sooner or later than random windows; as a "
            "number, how many more of its runs had reached it than would be expected.",
        ),
        column(
            "sooner_p",
            "p of that",
            lambda row: p_value(sooner(row)),
            sooner,
            says="Its p-value: log-rank test by permutation of runs, Holm's correction.",
        ),
        column(
            "aubc_clicks",
            "AUBC clicks",
            lambda row: percent(row.aubc_clicks),
            lambda row: row.aubc_clicks.mean,
            says="Mean height of the mIoU curve over clicks.",
            drop=3,
            answers=True,
        ),
        column(
            "gain_clicks",
            "against random-region",
            lambda row: estimate(_gain(place(row))),
            lambda row: _value(place(row)),
            says="AUBC over clicks minus that of random windows, with Dunnett's 95 % interval.",
            short="vs random-region",
            drop=5,
            ends=lambda row: _ends(_gain(place(row))),
        ),
        column(
            "p95",
            "pixels % to 95 %",
            lambda row: crossing(row.p95),
            lambda row: row.p95.value if row.p95 else None,
            says="Share of the pixels at which 95 % of the full-data mIoU is first "
            "reached: median over seeds with its 95 % interval.",
            short="pixels to 95 %",
            drop=4,
            answers=True,
            ends=lambda row: _ends(row.p95),
        ),
        column(
            "aubc_pixels",
            "AUBC px",
            lambda row: percent(row.aubc_pixels),
            lambda row: row.aubc_pixels.mean,
            says="Mean height of the mIoU curve over pixels.",
        ),
        column(
            "rank_pixels",
            "rank by px",
            lambda row: places(pixel_place(row)),
            lambda row: getattr(pixel_place(row), "rank", None),
            says="Places that a strategy may have by AUBC over pixels; none for bounds.",
            ends=lambda row: _places(pixel_place(row)),
        ),
        column(
            "gain_pixels",
            "against random-region, px",
            lambda row: estimate(_gain(pixel_place(row))),
            lambda row: _value(pixel_place(row)),
            says="AUBC over pixels minus that of random windows, with Dunnett's 95 % interval.",
            ends=lambda row: _ends(_gain(pixel_place(row))),
        ),
        *[budget(number) for number in range(last + 1)],
        column(
            "share_of_full",
            "% of full",
            lambda row: percent(row.share_of_full),
            lambda row: row.share_of_full.mean if row.share_of_full else None,
            says="The last mIoU as a share of what the same recipe reaches with every label.",
        ),
        column(
            "clicks",
            "clicks % (B)",
            lambda row: percent(row.cost_b[-1]),
            lambda row: row.cost_b[-1].mean,
            says="Clicks spent at the end, as a share of all clicks of the training set (cost_B).",
            short="clicks B",
            drop=10,
        ),
        column(
            "hours",
            "hours",
            lambda row: f"{row.hours.mean:.1f}",
            lambda row: row.hours.mean,
            says="Those clicks as annotation time, by the model of seconds_per_click.",
        ),
        *([origin] if any(row.origin for row in rows) else []),
    ]


def figures(columns: Sequence[Column], number: int) -> dict[str, Value]:
    """Return the values of one row by the columns' keys, with ``_low`` and ``_high`` of intervals."""
    found: dict[str, Value] = {}
    for column in columns:
        found[column.key] = column.values[number]
        if column.ends is not None:
            found[f"{column.key}_low"], found[f"{column.key}_high"] = column.ends[number]
    return found


def _gain(found: Place | None) -> Estimate | None:
    return found.gain if found else None


def _ends(found: Estimate | Crossing | None) -> Ends:
    return (found.low, found.high) if found else (None, None)


def _places(found: Place | None) -> Ends:
    return (found.rank, found.worst_rank) if found else (None, None)


def _value(found: Place | None) -> float | None:
    return found.gain.value if found and found.gain else None


# ------------------------------------------------------------------------- figures as text, percent


def percent(spread: Spread | None) -> str:
    """Return a mean and its standard deviation."""
    if spread is None:
        return "-"
    text = f"{100 * spread.mean:.1f}"
    return text if spread.std is None else f"{text} ± {100 * spread.std:.1f}"


def crossing(found: Crossing | None) -> str:
    """Return a median with its interval; how far it was followed in vain where there is none."""
    if found is None:
        return "-"
    beyond = f"> {100 * (found.beyond or 0.0):.1f}"
    if found.value is None:
        return beyond + (f" ({found.reached}/{found.seeds})" if found.reached else "")
    if found.seeds == 1:
        return f"{100 * found.value:.1f}"
    low = f"{100 * found.low:.1f}" if found.low is not None else "0"
    high = f"{100 * found.high:.1f}" if found.high is not None else "?"
    partly = f" ({found.reached}/{found.seeds})" if found.reached < found.seeds else ""
    return f"{100 * found.value:.1f} [{low}, {high}]{partly}"


def places(place: Place | None) -> str:
    """Return the interval of places that a strategy may have, such as 1-4; - for a bound."""
    if place is None or place.rank is None:
        return "-"
    alone = place.worst_rank == place.rank
    return str(place.rank) if alone else f"{place.rank}-{place.worst_rank}"


def estimate(found: Estimate | None) -> str:
    """Return a difference in points with its interval."""
    if not found:
        return "-"
    low, high = f"{100 * found.low:+.1f}", f"{100 * found.high:+.1f}"
    return f"{100 * found.value:+.1f} [{low}, {high}]"


def sooner_or_later(lead: float | None) -> str:
    """Return whether more runs than expected had reached it, or fewer."""
    if lead is None:
        return "-"
    return "sooner" if lead > 0.0 else "later" if lead < 0.0 else "alike"


def p_value(p: float | None) -> str:
    """Return a p-value to three digits."""
    if p is None:
        return "-"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def answers(columns: Sequence[Column]) -> list[Column]:
    """Return the five columns that answer the board's question."""
    order = ["rank", "strategy", "clicks_to_95", "aubc_clicks", "p95"]
    found = {column.key: column for column in columns if column.answers}
    return [found[key] for key in order]
