"""Run folders to one leaderboard: every figure is computed again from class areas and receipts."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from harness.errors import InputError
from harness.loop import FULL_DATA
from harness.results import Run, find_runs, read_run, read_timings
from harness.scoring import aubc, mean_iou, share_at
from harness.statistics import mean_std, signal_to_noise

REFERENCE_SHARE = 0.95
NOISE_STRATEGY = "random-region"


@dataclass(frozen=True, slots=True)
class RunCurve:
    """One run as curves: after each round, shares of the training set's pixels and clicks (cost_A, cost_B), and mIoU."""

    seed: int
    pixel_share: list[float]
    cost_a: list[float]
    cost_b: list[float]
    polygon_clicks: list[int]
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
    """The share at which 95 % of the full-data mIoU is reached: the mean over the seeds that do, or censored.

    value: None where not every seed reaches it. beyond: the smallest share up to which a seed was followed in vain.
    """

    value: float | None
    beyond: float | None
    reached: int
    seeds: int


@dataclass(frozen=True, slots=True)
class Row:
    """One strategy of the board."""

    strategy: str
    equation: str
    is_bound: bool
    curves: list[RunCurve]
    miou: list[Spread]
    cost_b: list[Spread]
    cost_a: Spread
    polygon_clicks: Spread
    share_of_full: Spread | None
    p95: Crossing | None
    c95: Crossing | None
    aubc_pixels: Spread
    aubc_clicks: Spread
    cost_spearman: Spread | None


@dataclass(frozen=True, slots=True)
class Board:
    """All rows by falling AUBC over clicks, bounds last; and what must be said beside them."""

    name: str
    rows: list[Row]
    full_data: list[float]
    threshold: float | None
    pixel_shares: list[float]
    signal_to_noise: float | None
    notes: list[str]


def build_board(out: Path) -> Board:
    """Read all finished rounds below ``out``.

    Raises:
        InputError: no run, or runs of different data or configurations in one folder.
    """
    runs = [read_run(path) for path in find_runs(out)]
    runs = [run for run in runs if run.rounds]
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        groups[run.info.strategy].append(run)
    references = groups.pop(FULL_DATA, [])
    if not groups:
        raise InputError(f"{out}: no finished round; allowed: a folder that harness bench wrote")
    _check_same_board(out, runs)
    full = [mean_iou(run.rounds[0].areas) for run in references]
    threshold = REFERENCE_SHARE * sum(full) / len(full) if full else None
    complete = _complete_rounds(groups)
    rows = [_row(group, complete, threshold, full) for group in groups.values()]
    rows.sort(key=lambda row: (row.is_bound, -row.aubc_clicks.mean, row.strategy))
    noise = next((row for row in rows if row.strategy == NOISE_STRATEGY), rows[0])
    ratio = (
        signal_to_noise(full, [curve.miou[0] for curve in noise.curves], [curve.miou[-1] for curve in noise.curves])
        if noise.strategy == NOISE_STRATEGY
        else None
    )
    any_run = next(iter(groups.values()))[0]
    return Board(
        name=str(any_run.info.config.get("name", "board")),
        rows=rows,
        full_data=full,
        threshold=threshold,
        pixel_shares=rows[0].curves[0].pixel_share,
        signal_to_noise=ratio,
        notes=_notes(out, groups, references, full, threshold, ratio, complete),
    )


def _check_same_board(out: Path, runs: list[Run]) -> None:
    for what in ("config_sha256", "data_fingerprint"):
        values = {getattr(run.info, what) for run in runs}
        if len(values) > 1:
            raise InputError(f"{out}: its runs have {len(values)} different values of {what}; allowed: one board per folder")


def _complete_rounds(groups: dict[str, list[Run]]) -> int:
    """Return how many rounds every run has finished: a table compares equal budgets only."""
    return min(len(run.rounds) for group in groups.values() for run in group)


def _curve(run: Run, rounds: int) -> RunCurve:
    info, kept = run.info, run.rounds[:rounds]
    return RunCurve(
        info.seed,
        [record.labelled_px / info.train_px for record in kept],
        [info.totals.cost_a(record.clicks) for record in kept],
        [info.totals.cost_b(record.clicks) for record in kept],
        [record.clicks.polygon for record in kept],
        [mean_iou(record.areas) for record in kept],
    )


def _spread(values: list[float]) -> Spread:
    return Spread(*mean_std(values))


def _row(group: list[Run], rounds: int, threshold: float | None, full: list[float]) -> Row:
    curves = [_curve(run, rounds) for run in sorted(group, key=lambda run: run.info.seed)]
    end = curves[0].pixel_share[-1]
    full_mean = sum(full) / len(full) if full else None
    last_quality = [run.rounds[rounds - 2 if rounds > 1 else 0].cost_quality for run in group]
    rho = [quality.spearman for quality in last_quality if quality is not None and quality.spearman is not None]
    return Row(
        strategy=group[0].info.strategy,
        equation=group[0].info.equation,
        is_bound=group[0].info.is_bound,
        curves=curves,
        miou=[_spread([curve.miou[number] for curve in curves]) for number in range(rounds)],
        cost_b=[_spread([curve.cost_b[number] for curve in curves]) for number in range(rounds)],
        cost_a=_spread([curve.cost_a[-1] for curve in curves]),
        polygon_clicks=_spread([float(curve.polygon_clicks[-1]) for curve in curves]),
        share_of_full=_spread([curve.miou[-1] / full_mean for curve in curves]) if full_mean else None,
        p95=_crossing([curve.over_pixels() for curve in curves], threshold),
        c95=_crossing([curve.over_clicks() for curve in curves], threshold),
        aubc_pixels=_spread([aubc(curve.over_pixels()) for curve in curves]),
        aubc_clicks=_spread([aubc(curve.over_clicks(), stop=max(end, curve.cost_b[0])) for curve in curves]),
        cost_spearman=_spread(rho) if rho else None,
    )


def _crossing(curves: list[list[tuple[float, float]]], threshold: float | None) -> Crossing | None:
    """Choice: a mean over seeds is given only where every seed reaches the threshold; otherwise the figure is censored."""
    if threshold is None:
        return None
    shares = [share_at(curve, threshold) for curve in curves]
    reached = [share for share in shares if share is not None]
    if len(reached) == len(shares):
        return Crossing(sum(reached) / len(reached), None, len(reached), len(shares))
    followed = [curve[-1][0] for curve, share in zip(curves, shares, strict=True) if share is None]
    return Crossing(None, min(followed), len(reached), len(shares))


def _notes(
    out: Path,
    groups: dict[str, list[Run]],
    references: list[Run],
    full: list[float],
    threshold: float | None,
    ratio: float | None,
    complete: int,
) -> list[str]:
    seeds = sorted({run.info.seed for group in groups.values() for run in group})
    info = next(iter(groups.values()))[0].info
    notes = []
    if full:
        mean, std = mean_std(full)
        notes.append(
            f"Full-data reference: mIoU {100 * mean:.1f}{f' ± {100 * std:.1f}' if std is not None else ''} ({len(full)} seeds); p95 and c95 are taken at {100 * (threshold or 0):.1f}."
        )
    else:
        notes.append("No full-data reference yet: p95 and c95 are unknown.")
    if ratio is not None:
        judgement = "the board can separate strategies" if ratio >= 6 else "too low to separate strategies: read no ranking into this board"
        notes.append(
            f"Signal-to-noise: {ratio:.1f} = (full-data mIoU - seed-set mIoU) / std of {NOISE_STRATEGY} over seeds at the last round; {judgement}."
        )
    else:
        notes.append(f"Signal-to-noise: unknown; it needs {NOISE_STRATEGY} with two seeds or more, and the full-data reference.")
    uneven = sorted(name for name, group in groups.items() if len({run.info.seed for run in group}) < len(seeds))
    if uneven:
        notes.append(f"Not every strategy has every seed: {', '.join(uneven)}. Compare with care.")
    shortfall = [
        run.info.strategy
        for group in groups.values()
        for run in group
        for record in run.rounds
        if record.budget_px - record.labelled_px >= record.query[0].region.area_px
    ]
    if shortfall:
        notes.append(f"Ran out of candidates before the budget: {', '.join(sorted(set(shortfall)))}.")
    notes.append(
        f"Seeds {', '.join(map(str, seeds))}; {complete} rounds; clicks as cost_B = (c_p + c_i + c_b) / C_p with C_p = {info.totals.polygon}; order: AUBC over clicks, not a test of significance."
    )
    notes.append(_provenance_note(out, references, groups))
    return notes


def _provenance_note(out: Path, references: list[Run], groups: dict[str, list[Run]]) -> str:
    runs = [*references, *(run for group in groups.values() for run in group)]
    seconds: dict[str, float] = defaultdict(float)
    for path in find_runs(out):
        for row in read_timings(path):
            for stage, value in row.items():
                if stage != "round":
                    seconds[stage] += value
    total = sum(seconds.values())
    info = runs[0].info
    commits = sorted({(run.info.provenance.commit or "unknown")[:10] + ("+changes" if run.info.provenance.dirty else "") for run in runs})
    share = f", {100 * seconds.get('training', 0.0) / total:.0f} % of it training" if total else ""
    return (
        f"Config {info.config_sha256[:12]}, data {info.data_fingerprint[:12]}, commit {', '.join(commits)}, torch {info.provenance.versions.get('torch', '?')}, "
        f"{info.provenance.machine}; {total / 3600:.2f} hours of work in runs{share}."
    )
