"""Run folders to one leaderboard: every figure is computed again from class areas and receipts."""

from __future__ import annotations

import functools
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pandas as pd

from harness.archive import unpacked
from harness.blocks import SecondsPerClick
from harness.errors import InputError
from harness.results import (
    UNNAMED_GROUP,
    Run,
    RunInfo,
    accounting,
    find_runs,
    group_of,
    read_run,
)
from harness.scoring import aubc, mean_iou, share_at
from harness.statistics import mean_std, median_share
from harness.types import FULL_DATA

if TYPE_CHECKING:
    from harness.publish.significance import Significance

LEVELS = (0.8, 0.9, 0.95)
"""Choice: clicks are counted to these shares of the full-data mIoU; the last is the paper's."""
NEARLY_ALL = 0.9
"""Choice: AUBC over the axis that is not budgeted ends where this share of the ranked runs still
bought."""
NOISE_STRATEGY = "random-region"


@dataclass(frozen=True, slots=True)
class RunCurve:
    """One run as curves: after each round, shares of the training set's pixels and clicks (cost_A, cost_B), and mIoU."""

    seed: int
    pixel_share: list[float]
    cost_a: list[float]
    cost_b: list[float]
    polygon_clicks: list[int]
    seconds: list[float]
    miou: list[float]

    def over_pixels(self) -> list[tuple[float, float]]:
        """Return mIoU over labelled pixels."""
        return list(zip(self.pixel_share, self.miou, strict=True))

    def over_clicks(self) -> list[tuple[float, float]]:
        """Return mIoU over clicks, as cost_B."""
        return list(zip(self.cost_b, self.miou, strict=True))


@dataclass(frozen=True, slots=True)
class Spread:
    """A mean over seeds and its standard deviation (None for one seed)."""

    mean: float
    std: float | None


@dataclass(frozen=True, slots=True)
class Crossing:
    """The share of pixels or clicks at which a level of quality is reached.

    value: the median over seeds (Kaplan-Meier: seeds that never reach it were followed in vain);
    None where half of them do not reach it. low, high: its 95 % interval; None where it has no
    end. beyond: the smallest share up to which a seed was followed in vain; None where all reach.
    """

    value: float | None
    low: float | None
    high: float | None
    beyond: float | None
    reached: int
    seeds: int


@dataclass(frozen=True, slots=True)
class Row:
    """One strategy of the board. origin: who made its runs; empty for the board's own group."""

    strategy: str
    equation: str
    is_bound: bool
    is_tuned: bool
    origin: str
    curves: list[RunCurve]
    miou: list[Spread]
    cost_b: list[Spread]
    cost_a: Spread
    polygon_clicks: Spread
    hours: Spread
    share_of_full: Spread | None
    p95: Crossing | None
    clicks_to: list[Crossing]
    aubc_pixels: Spread
    aubc_clicks: Spread
    cost_spearman: Spread | None

    @property
    def c95(self) -> Crossing | None:
        """Clicks to 95 % of the full-data mIoU."""
        return self.clicks_to[-1] if self.clicks_to else None

    @property
    def label(self) -> str:
        """The strategy's name with what must never be overlooked about it."""
        marks = {"bound": self.is_bound, "tuned": self.is_tuned, group_of(self.origin): self.origin}
        return self.strategy + "".join(f" ({mark})" for mark, holds in marks.items() if holds)


@dataclass(frozen=True)
class Board:
    """All rows by falling AUBC over clicks, bounds last; what the notes beside them are made from.

    budget_unit: what is equal for all strategies, pixels or clicks. budget_shares: of it, up to
    each round; the first is the seed set's share of the pixels. click_stop, pixel_stop: where AUBC
    over each axis ends, see ``nearly_all_reach``.
    """

    name: str
    rows: list[Row]
    full_data: list[float]
    threshold: float | None
    budget_shares: list[float]
    click_stop: float
    pixel_stop: float
    budget_unit: str
    groups: dict[str, list[Run]]
    references: list[Run]
    unfinished: list[str]
    folders: list[Path]

    @property
    def digest(self) -> str:
        """A SHA-256 of all run files but timings: what was published is what lies there."""
        rows = sorted(f"{run.info.strategy} {run.info.seed} {run.digest}" for run in self.runs)
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each strategy, seed and round.

        Columns: strategy, seed, round, pixel_share, cost_a, cost_b, hours, miou; shares in [0, 1].
        """
        rows = [
            (row.strategy, curve.seed, number, pixels, cost_a, cost_b, seconds / 3600, miou)
            for row in self.rows
            for curve in row.curves
            for number, (pixels, cost_a, cost_b, seconds, miou) in enumerate(
                zip(
                    curve.pixel_share,
                    curve.cost_a,
                    curve.cost_b,
                    curve.seconds,
                    curve.miou,
                    strict=True,
                )
            )
        ]
        names = ["strategy", "seed", "round", "pixel_share", "cost_a", "cost_b", "hours", "miou"]
        return pd.DataFrame(rows, columns=names)

    def summary(self) -> pd.DataFrame:
        """Return one row for each strategy, in the board's order: what its tables show.

        The index is the strategy; the columns are those of ``leaderboard.csv`` that hold for all
        rounds: ranks, clicks and pixels to 95 %, AUBC, each with ``_low`` and ``_high`` where it
        has an interval. Shares in [0, 1]; missing where a figure does not exist. The first call
        compares the strategies, which takes seconds.
        """
        from harness.publish.columns import columns_of, figures

        columns = columns_of(self, self._significance)
        columns = [column for column in columns if column.key != "strategy"]
        rows = [
            {"bound": row.is_bound, "tuned": row.is_tuned, **figures(columns, number)}
            for number, row in enumerate(self.rows)
        ]
        index = pd.Index([row.strategy for row in self.rows], name="strategy")
        frame = pd.DataFrame(rows, index=index)
        numbers = [key for key in frame.columns if key != "origin"]
        return frame.astype(dict.fromkeys(numbers[2:], float))

    def pairs(self, over: Literal["clicks", "pixels"] = "clicks") -> pd.DataFrame:
        """Return one row for each pair of ranked strategies, by the difference of their AUBC.

        Columns: first, second, difference (first minus second), low, high, p (Holm's correction
        over all pairs), differs, improvement (how often a run of the first beats one of the
        second). Empty where a board has nothing to compare: fewer than three seeds that all
        strategies have.

        Args:
            over: the axis of the AUBC: clicks or pixels.
        """
        if over not in {"clicks", "pixels"}:
            raise ValueError(f"over must be 'clicks' or 'pixels', got {over!r}")
        names = ["first", "second", "difference", "low", "high", "p", "differs", "improvement"]
        if self._significance is None:
            return pd.DataFrame(columns=names)
        axis = self._significance.clicks if over == "clicks" else self._significance.pixels
        rows = [
            (
                pair.first,
                pair.second,
                pair.difference.value,
                pair.difference.low,
                pair.difference.high,
                pair.p_adjusted,
                pair.differs,
                pair.improvement,
            )
            for pair in axis.pairs
        ]
        return pd.DataFrame(rows, columns=names)

    @functools.cached_property
    def _significance(self) -> Significance | None:
        from harness.publish.significance import compare_strategies

        return compare_strategies(self)

    @property
    def any_run(self) -> Run:
        """One run, for what all have in common."""
        return next(iter(self.groups.values()))[0]

    @property
    def runs(self) -> list[Run]:
        """All finished runs, references first."""
        return [*self.references, *(run for group in self.groups.values() for run in group)]

    def own_run(self, seed: int) -> Run | None:
        """Return one of the board's own runs of a seed: all strategies share its round 0."""
        runs = (run for group in self.groups.values() for run in group)
        return next((run for run in runs if run.info.seed == seed and not run.origin), None)

    def start_gap(self, strategy: str) -> float | None:
        """Return how far round 0 of a joined strategy is from that of the board's own runs.

        The largest difference of mIoU over seeds, 0 where it is the same; None where no own run
        has one of its seeds. Other processors and versions round otherwise.
        """
        pairs = [(run, self.own_run(run.info.seed)) for run in self.groups[strategy]]
        return max((start_gap(run, own) for run, own in pairs if own is not None), default=None)


def start_gap(run: Run, other: Run) -> float:
    """Return the difference in mIoU of two runs' round 0, which all runs of a seed share."""
    return abs(mean_iou(run.rounds[0].areas) - mean_iou(other.rounds[0].areas))


def build_board(*folders: Path, external: Sequence[Path] = (), mixed: bool = False) -> Board:
    """Read all runs below the folders.

    Those with missing rounds are left out, since a table compares equal budgets only.

    Args:
        folders: of one or several machines; a run that lies in two of them counts once.
        external: folders of another group: their strategies are marked on the board, by their
            origin where they have one.
        mixed: allow runs of different configs, data or trainers on one board.

    Raises:
        InputError: no finished run, runs of different boards, or two runs of one identity that
            differ, both named.
    """
    folders = tuple(unpacked(folder) for folder in folders)
    external = [unpacked(folder) for folder in external]
    for folder in (*folders, *external):
        if not find_runs(folder):
            raise InputError(f"{folder}: must be a folder with runs of harness bench, found none")
    found = read_runs(folders, external)
    runs = [run for run in found if run.rounds]
    begun = [run for run in found if not run.rounds and run.info.strategy != FULL_DATA]
    check_runs(runs)
    where = ", ".join(map(str, [*folders, *external]))
    if not mixed:
        _check_same_board(where, runs)
    references = sorted(
        (run for run in runs if run.info.strategy == FULL_DATA), key=lambda run: run.info.seed
    )
    by_name, unfinished = _group([run for run in runs if run.info.strategy != FULL_DATA] + begun)
    _check_same_code(by_name)
    _check_same_origin(by_name)
    if not by_name:
        raise InputError(
            f"{where}: no finished run; give a folder where harness bench has finished at least one"
        )
    full = [mean_iou(run.rounds[0].areas) for run in references]
    thresholds = [level * sum(full) / len(full) for level in LEVELS] if full else []
    curves = {name: [curve_of(run) for run in group] for name, group in by_name.items()}
    ranked = [
        curve for name, own in curves.items() if not by_name[name][0].info.is_bound for curve in own
    ] or [curve for own in curves.values() for curve in own]
    some_run = next(iter(by_name.values()))[0]
    shares, unit = _budget_shares(some_run), budget_unit(some_run)
    if unit == "pixels":
        stop, pixel_stop = nearly_all_reach([curve.cost_b[-1] for curve in ranked]), shares[-1]
    else:
        stop, pixel_stop = shares[-1], nearly_all_reach([curve.pixel_share[-1] for curve in ranked])
    rows = sorted(
        (
            _row(group, curves[name], thresholds, (stop, pixel_stop), full)
            for name, group in by_name.items()
        ),
        key=lambda row: (row.is_bound, -row.aubc_clicks.mean, row.strategy),
    )
    return Board(
        name=str(some_run.info.config.get("name", "board")),
        rows=rows,
        full_data=full,
        threshold=thresholds[-1] if thresholds else None,
        budget_shares=shares,
        click_stop=stop,
        pixel_stop=pixel_stop,
        budget_unit=unit,
        groups=by_name,
        references=references,
        unfinished=unfinished,
        folders=[*folders, *external],
    )


def read_runs(folders: Iterable[Path], external: Iterable[Path] = ()) -> list[Run]:
    """Read every run once; the same one in two folders must be the same to the last byte of its rounds.

    Args:
        external: folders of another group: our own runs of a strategy stand for it.

    Raises:
        InputError: two runs of one strategy and seed that differ, both named.
    """
    found: dict[tuple[str, int], Run] = {}
    ours: set[str] = set()
    for folder, is_external in [*((f, False) for f in folders), *((f, True) for f in external)]:
        for path in find_runs(folder):
            run = read_run(path)
            key = run.info.strategy, run.info.seed
            if key in found and (
                found[key].info.identity != run.info.identity or found[key].rounds != run.rounds
            ):
                raise InputError(
                    f"{found[key].path} and {path} are both {key[0]} seed {key[1]}, and they "
                    "differ; give one of the two, or equal copies"
                )
            if not is_external:
                ours.add(run.info.strategy)
            elif run.info.strategy in ours:
                continue  # external runs add strategies
            else:
                run = replace(run, origin=run.origin or UNNAMED_GROUP)
            found.setdefault(key, run)
    return list(found.values())


def check_runs(runs: list[Run]) -> None:
    """Refuse runs that do not add up, and runs that were not scored on the same labels.

    Raises:
        InputError: with the two runs, or the round.
    """
    for run in runs:
        for fault in accounting(run.rounds):
            raise InputError(f"{run.path}: {fault}; restore the file or delete the run")
    for run in runs:
        _check_same_labels(runs[0], run)
    seen: dict[tuple[str, int], list[Run]] = defaultdict(list)
    for run in runs:
        for other in seen[run.info.strategy, len(run.rounds)]:
            if other.rounds == run.rounds:
                raise InputError(
                    f"{other.path} and {run.path} must be two runs, but their rounds are equal; "
                    "delete the copy"
                )
        seen[run.info.strategy, len(run.rounds)].append(run)


def _check_same_labels(first: Run, run: Run) -> None:
    """Refuse a run whose val images, classes or label areas are not those of the others.

    Choice: also on a mixed board: scores on other labels cannot stand in one table, and neither
    can equal pixels beside equal clicks.
    """
    what = {
        "classes": first.info.class_names != run.info.class_names,
        "val images": first.info.val_images != run.info.val_images,
        "unit of their budgets": budget_unit(first) != budget_unit(run),
    }
    truth = [(areas.image_id, areas.label) for areas in first.rounds[0].areas]
    what["label areas"] = any(
        [(areas.image_id, areas.label) for areas in record.areas] != truth for record in run.rounds
    )
    different = [name for name, differs in what.items() if differs]
    if different:
        raise InputError(
            f"{first.path} and {run.path} must have the same {', '.join(different)}: they cannot "
            "stand in one table"
        )


def _check_same_board(where: str, runs: list[Run]) -> None:
    for what in _shared(runs[0]) if runs else ():
        values = {_shared(run)[what]: run.info for run in runs}
        if what in _OF_A_POOL and runs[0].info.config["harness"].get("pool_per_seed"):
            values = _of_any_seed(runs, what)
        if len(values) > 1:
            named = " and ".join(
                f"{info.strategy} seed {info.seed}" for info in list(values.values())[:2]
            )
            raise InputError(
                f"{where}: {named} have different {what}; give runs of one board, or --allow-mixed"
            )


_OF_A_POOL = ("train_px", "totals")
"""What seeds do not share where each has a pool of its own."""


def _of_any_seed(runs: list[Run], what: str) -> dict[object, RunInfo]:
    """Return the values of the first seed whose runs disagree; else those of any."""
    by_seed: dict[int, dict[object, RunInfo]] = defaultdict(dict)
    for run in runs:
        by_seed[run.info.seed][_shared(run)[what]] = run.info
    return max(by_seed.values(), key=len)


def _shared(run: Run) -> dict[str, object]:
    """Return what all runs of a board have in common."""
    info = run.info
    return {
        **info.board,
        "train_px": info.train_px,
        "train_images": info.train_images,
        "totals": info.totals,
    }


def _group(runs: list[Run]) -> tuple[dict[str, list[Run]], list[str]]:
    """Group finished runs by strategy; name those that are not finished."""
    groups: dict[str, list[Run]] = defaultdict(list)
    unfinished = []
    for run in sorted(runs, key=lambda run: (run.info.strategy, run.info.seed)):
        wanted = int(run.info.config["harness"]["rounds"]) + 1
        if len(run.rounds) < wanted:
            unfinished.append(
                f"{run.info.strategy} seed {run.info.seed} ({len(run.rounds)} of {wanted} rounds)"
            )
        else:
            groups[run.info.strategy].append(run)
    return dict(groups), unfinished


def _check_same_code(groups: dict[str, list[Run]]) -> None:
    """Refuse seeds of one strategy that were made by different code of a plug-in."""
    for name, group in groups.items():
        codes = sorted({run.info.code for run in group})
        if len(codes) > 1:
            raise InputError(
                f"the seeds of {name} must be of one code of its plug-in, got {' and '.join(codes)}"
            )


def _check_same_origin(groups: dict[str, list[Run]]) -> None:
    """Refuse seeds of one strategy that came from different groups."""
    for name, group in groups.items():
        origins = sorted({run.origin or "this board" for run in group})
        if len(origins) > 1:
            raise InputError(
                f"the seeds of {name} must be of one origin, got {' and '.join(origins)}"
            )


def budget_unit(run: Run) -> str:
    """Return what is equal for all strategies of a run's board: pixels, or clicks."""
    return str(run.info.config["harness"].get("budget_unit", "pixels"))


def budget_share(run: Run, number: int) -> float:
    """Return the share of the training set that may be bought up to a round, in the board's unit.

    The seed set's is one of pixels in both: its clicks have no bound.
    """
    record = run.rounds[number]
    if record.budget_clicks is not None:
        return record.budget_clicks / run.info.totals.polygon
    return record.budget_px / run.info.train_px


def _budget_shares(run: Run) -> list[float]:
    return [budget_share(run, number) for number in range(len(run.rounds))]


def curve_of(run: Run) -> RunCurve:
    """Return a run's curve; a run that is not finished gives the rounds that it has."""
    info = run.info
    model = SecondsPerClick(**info.config.get("seconds_per_click", {}))
    return RunCurve(
        info.seed,
        [record.labelled_px / info.train_px for record in run.rounds],
        [info.totals.cost_a(record.clicks) for record in run.rounds],
        [info.totals.cost_b(record.clicks) for record in run.rounds],
        [record.clicks.polygon for record in run.rounds],
        [model.total(record.clicks) for record in run.rounds],
        [mean_iou(record.areas) for record in run.rounds],
    )


def nearly_all_reach(ends: Sequence[float]) -> float:
    """Return the largest share that nearly all runs reach, of where each of them ends.

    Equal pixels cost different clicks, so the click axis needs an end of its own: at the pixel
    budget's number most of what a strategy of dear windows bought would count for nothing. So does
    the pixel axis of a board of equal clicks.
    """
    ends = sorted(ends)
    return ends[int((1.0 - NEARLY_ALL) * len(ends) + 1e-9)]


def _spread(values: list[float]) -> Spread:
    return Spread(*mean_std(values))


def _row(
    group: list[Run],
    curves: list[RunCurve],
    thresholds: list[float],
    stops: tuple[float, float],
    full: list[float],
) -> Row:
    stop, pixel_stop = stops
    rounds = range(len(group[0].rounds))
    full_mean = sum(full) / len(full) if full else None
    return Row(
        strategy=group[0].info.strategy,
        equation=group[0].info.equation,
        is_bound=group[0].info.is_bound,
        origin=group[0].origin,
        is_tuned=any(
            (run.info.config.get("tuned") or {}).get("strategy") == run.info.strategy
            for run in group
        ),
        curves=curves,
        miou=[_spread([curve.miou[number] for curve in curves]) for number in rounds],
        cost_b=[_spread([curve.cost_b[number] for curve in curves]) for number in rounds],
        cost_a=_spread([curve.cost_a[-1] for curve in curves]),
        polygon_clicks=_spread([float(curve.polygon_clicks[-1]) for curve in curves]),
        hours=_spread([curve.seconds[-1] / 3600 for curve in curves]),
        share_of_full=_spread([curve.miou[-1] / full_mean for curve in curves])
        if full_mean
        else None,
        p95=_crossing([curve.over_pixels() for curve in curves], thresholds[-1])
        if thresholds
        else None,
        clicks_to=[_crossing([curve.over_clicks() for curve in curves], t) for t in thresholds],
        aubc_pixels=_spread(
            [
                aubc(curve.over_pixels(), stop=max(pixel_stop, curve.pixel_share[0]))
                for curve in curves
            ]
        ),
        aubc_clicks=_spread(
            [aubc(curve.over_clicks(), stop=max(stop, curve.cost_b[0])) for curve in curves]
        ),
        cost_spearman=_cost_spearman(group),
    )


def _cost_spearman(group: list[Run]) -> Spread | None:
    """Return how well the cost network ordered validation windows when it was last used."""
    qualities = [record.cost_quality for run in group for record in run.rounds[-2:-1]]
    values = [
        quality.spearman
        for quality in qualities
        if quality is not None and quality.spearman is not None
    ]
    return _spread(values) if values else None


def _crossing(curves: list[list[tuple[float, float]]], threshold: float) -> Crossing:
    found = reached_at(curves, threshold)
    median, low, high = median_share(found)
    reached = sum(is_reached for _, is_reached in found)
    beyond = min((share for share, is_reached in found if not is_reached), default=None)
    return Crossing(median, low, high, beyond, reached, len(found))


def reached_at(
    curves: list[list[tuple[float, float]]], threshold: float
) -> list[tuple[float, bool]]:
    """Return for each curve the share at which it reaches a threshold, or its last share in vain."""
    shares = [share_at(curve, threshold) for curve in curves]
    return [
        (curve[-1][0], False) if share is None else (share, True)
        for curve, share in zip(curves, shares, strict=True)
    ]
