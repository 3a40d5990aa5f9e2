"""What must be said beside a leaderboard, so that nobody reads into it what is not there."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Sequence

from harness.publish.board import NEARLY_ALL, Board, Spread
from harness.publish.significance import FEWEST_SEEDS, LEVEL, Axis, Significance
from harness.results import Run, read_timings
from harness.statistics import mean_std
from harness.types import RoundRecord

USEFUL_SPEARMAN = 0.1
"""Choice: a cost model below this rank correlation is named beside the table."""


WARNING = "WARNING: "
"""Begins a note that stands above the table."""

SHORT_AXIS = 0.5
"""Choice: a click axis that ends before this share of the middle strategy's clicks is named."""
SMALL_CROP = 0.5
"""Choice: crops with a side below this share of the image's see too little of what is around."""


def notes(board: Board, significance: Significance | None) -> list[str]:
    """Return one line for each thing to know, warnings first: none depends on interruptions."""
    lines = [
        *(WARNING + line for line in _warnings(board)),
        *_proxy(board),
        str(board.any_run.info.config.get("remark", "")),
        _reference(board),
        *_missing(board),
        *_clicks(board),
        *_tuned(board),
        *_joined(board),
        *_cost_models(board),
        _order(board),
        _ranks(significance),
    ]
    return [line for line in [*lines, _provenance(board)] if line]


def _warnings(board: Board) -> list[str]:
    """Return what makes a reader doubt the whole table."""
    return [
        *_poor_reference(board),
        *_absent_classes(board),
        *_small_crops(board),
        *_short_axis(board),
    ]


def _short_axis(board: Board) -> list[str]:
    """Name who bought so few clicks that AUBC over clicks ends early for all."""
    if board.budget_unit == "clicks":
        return []
    ends = {
        row.strategy: max(curve.cost_b[-1] for curve in row.curves)
        for row in board.rows
        if not row.is_bound
    }
    middle = sorted(ends.values())[len(ends) // 2] if ends else 0.0
    if board.click_stop >= SHORT_AXIS * middle:
        return []
    few = [name for name, end in ends.items() if end < SHORT_AXIS * middle]
    return [
        f"AUBC over clicks ends at {100 * board.click_stop:.1f} % of them, since "
        f"{', '.join(few) or 'some runs'} bought no more: half of the strategies went on to "
        f"{100 * middle:.1f} % or more"
    ]


def _is_above(last: Spread, seeds: int, board: Board) -> bool:
    """Return whether a strategy ends above the reference by more than both are known.

    Choice: by two standard errors of the difference; by anything where a spread is unknown.
    """
    mean, std = mean_std(board.full_data)
    if last.std is None or std is None:
        return last.mean > mean
    error = math.sqrt(last.std**2 / seeds + std**2 / len(board.full_data))
    return last.mean - mean > 2.0 * error


def _poor_reference(board: Board) -> list[str]:
    """Name what makes the reference none.

    Labels that do not help, or a strategy that ends above it.
    """
    if not board.full_data:
        return []
    full = mean_std(board.full_data)[0]
    start = mean_std([row.miou[0].mean for row in board.rows])[0]
    lines = []
    if full <= start:
        lines.append(
            f"the full-data reference ({100 * full:.1f}) is no better than the seed set "
            f"({100 * start:.1f}): more labels do not help this training, so no figure here means "
            "anything"
        )
    better = [row.strategy for row in board.rows if _is_above(row.miou[-1], len(row.curves), board)]
    if better and full > start:
        lines.append(
            f"the full-data reference ({100 * full:.1f}) is worse than {', '.join(better)} after "
            "the last round: the reference is trained too little"
        )
    at_once = [
        row.strategy
        for row in board.rows
        if board.threshold is not None and row.miou[0].mean >= board.threshold
    ]
    if at_once and full > start:
        lines.append(
            "95 % of the full-data mIoU is reached at the seed set, before any strategy has "
            "chosen: what it takes to reach it says nothing"
        )
    return lines


def _absent_classes(board: Board) -> list[str]:
    """Name the classes that the validation labels do not hold: nothing here says how they do."""
    info = board.any_run.info
    held = [
        sum(column)
        for column in zip(*(a.label for a in board.any_run.rounds[0].areas), strict=True)
    ]
    absent = [name for name, count in zip(info.class_names, held, strict=False) if not count]
    if not absent:
        return []
    return [
        f"val holds no pixel of {', '.join(absent)}: mIoU leaves "
        f"{'them' if len(absent) > 1 else 'it'} "
        "out, unless a network predicts it"
    ]


def _small_crops(board: Board) -> list[str]:
    """Say where a training sees small pieces of its images, by their mean area."""
    info = board.any_run.info
    training = info.config.get("training", {})
    crop = training.get("crop")
    if training.get("frozen_trunk") or not isinstance(crop, list | tuple) or len(crop) != 2:
        return []
    area = info.train_px / info.train_images
    share = math.sqrt(crop[0] * crop[1] / area)
    if share >= SMALL_CROP:
        return []
    return [
        f"crops of {crop[0]}x{crop[1]} px are small against images of {area:.0f} px: a network "
        "that sees little of what is around learns less (docs/notebook/training.md)"
    ]


def _proxy(board: Board) -> list[str]:
    """Say what was given before the first label.

    Weights, and whether anything but heads was trained.
    """
    config = board.any_run.info.config
    weights = str(config.get("pretrained_sha256", ""))
    frozen = config.get("training", {}).get("frozen_trunk", False)
    if not weights and not frozen:
        return []
    backbone = config.get("model", {}).get("backbone", {})
    kind = (
        "PROXY BOARD: the trunk is frozen and only heads were trained"
        if frozen
        else "The trunk did not start from scratch"
    )
    if not weights:
        return [f"{kind}; its weights are those that {backbone.get('type')} brings."]
    return [f"{kind}; its weights are {backbone.get('pretrained')} (SHA-256 {weights[:12]})."]


def _reference(board: Board) -> str:
    if board.threshold is None:
        return "No full-data reference yet: what reaches 95 % of it is unknown."
    mean, std = mean_std(board.full_data)
    spread = f" ± {100 * std:.1f}" if std is not None else ""
    return (
        f"Full-data reference: mIoU {100 * mean:.1f}{spread} ({len(board.full_data)} seeds); 95 % "
        f"of it is {100 * board.threshold:.1f}."
    )


def _seeds(board: Board) -> list[int]:
    return sorted({run.info.seed for group in board.groups.values() for run in group})


def _missing(board: Board) -> list[str]:
    seeds = _seeds(board)
    lines = []
    uneven = sorted(name for name, group in board.groups.items() if len(group) < len(seeds))
    if uneven:
        lines.append(f"Not every strategy has every seed: {', '.join(uneven)}. Compare with care.")
    differing = sorted(set(seeds) ^ {run.info.seed for run in board.references})
    if board.references and differing:
        lines.append(
            "References and runs do not have the same seeds; they differ in "
            f"{', '.join(map(str, differing))}."
        )
    if board.unfinished:
        lines.append(f"Left out, unfinished: {'; '.join(board.unfinished)}.")
    short = sorted(
        name
        for name, group in board.groups.items()
        if any(_ran_out(record) for run in group for record in run.rounds)
    )
    if short:
        lines.append(f"Ran out of candidates before the budget: {', '.join(short)}.")
    return lines


def _ran_out(record: RoundRecord) -> bool:
    """Return whether a round left room for another window."""
    if record.budget_clicks is not None:
        return record.round > 0 and record.clicks.billed < record.budget_clicks
    missing_px = record.budget_px - record.labelled_px
    if not record.query:
        return record.round > 0
    largest_px = record.query[-1].region.area_px
    if record.segments is not None:  # the next one may have been larger than all that were bought
        largest_px = 4 * max(receipt.new_px for receipt in record.query)
    return record.round > 0 and missing_px >= largest_px


def _clicks(board: Board) -> list[str]:
    info = board.any_run.info
    lines = []
    if info.simulated_clicks:
        lines.append(
            "SIMULATED CLICKS: this data set has masks and no polygons; clicks were derived from "
            "the masks' contours."
        )
    noise = info.config.get("annotator", {})
    if any(noise.get(key) for key in ("missed", "wrong", "jitter_px", "click_noise")):
        lines.append(f"Annotators who err: {noise}.")
    return lines


def _tuned(board: Board) -> list[str]:
    found = {
        json.dumps(run.info.config.get("tuned")) for group in board.groups.values() for run in group
    }
    return [
        f"Tuned: {how['strategy']} was found by harness tune in {how['trials']} trials "
        f"({how['objective']}) on training images and seeds of their own; "
        f"that took {how['clicks']} recorded clicks and {how['hours']:.2f} hours of computing, "
        "which no column holds."
        for how in map(json.loads, sorted(found))
        if how is not None
    ]


def _joined(board: Board) -> list[str]:
    """Say of each other group who it is, what it added and with what."""
    own = [run for run in board.runs if not run.origin]
    lines = []
    for origin in sorted({row.origin for row in board.rows} - {""}):
        names = [row.strategy for row in board.rows if row.origin == origin]
        runs = [run for name in names for run in board.groups[name]]
        gaps = {name: board.start_gap(name) for name in names}
        apart = [f"{name} by {100 * gap:.2f}" for name, gap in gaps.items() if gap]
        if apart:
            start = f"it differs from the board's: {', '.join(apart)} points of mIoU at most"
        elif None in gaps.values():
            start = "the board's own runs have other seeds"
        else:
            start = "it is the board's"
        lines.append(
            f"JOINED from {origin}: {', '.join(names)}; seeds "
            f"{', '.join(map(str, sorted({run.info.seed for run in runs})))}; "
            f"{versions(runs)} (the board's own: {versions(own)}). Round 0, which all strategies "
            f"of a seed share: {start}."
        )
    return lines


def versions(runs: Sequence[Run]) -> str:
    """Return the versions of harness, torch and mmseg that runs were made with, and their code."""
    marks = [run.info.provenance for run in runs]
    names = {"harness": "harness-al", "torch": "torch", "mmseg": "onedl-mmsegmentation"}
    said = [
        f"{name} {' and '.join(sorted({mark.versions.get(package, '?') for mark in marks}))}"
        for name, package in names.items()
    ]
    commits = " and ".join(sorted({(mark.commit or "unknown")[:10] for mark in marks}))
    return ", ".join([*said, f"commit {commits}"])


def _cost_models(board: Board) -> list[str]:
    weak = [
        f"{row.strategy} ({row.cost_spearman.mean:.2f})"
        for row in board.rows
        if row.cost_spearman is not None
        and not row.is_bound
        and row.cost_spearman.mean < USEFUL_SPEARMAN
    ]
    return (
        [
            "The cost model orders windows hardly better than a constant would (Spearman of "
            f"clicks per window on val): {', '.join(weak)}."
        ]
        if weak
        else []
    )


def _denominator(board: Board) -> str:
    """Say what clicks are shares of."""
    own = board.any_run.info.config["harness"].get("pool_per_seed")
    if not own:
        return f"C_p = {board.any_run.info.totals.polygon}"
    totals = [run.info.totals.polygon for group in board.groups.values() for run in group]
    return (
        f"C_p = {min(totals)} to {max(totals)}: each seed has a pool of its own, {own} images drawn "
        "from the training set"
    )


def _equal(board: Board) -> str:
    """Say what a board of equal clicks keeps equal; nothing for one of equal pixels."""
    if board.budget_unit == "pixels":
        return ""
    return (
        "EQUAL CLICKS: each round buys until its share of the clicks is spent, the last region in "
        f"full, and AUBC over pixels ends at {100 * board.pixel_stop:.1f} % of them; "
    )


def _order(board: Board) -> str:
    return (
        f"Seeds {', '.join(map(str, _seeds(board)))}; {len(board.budget_shares) - 1} rounds after "
        "the seed set; clicks as cost_B = (c_p + c_i + c_b) / C_p "
        f"with {_denominator(board)}; {_equal(board)}rows are ordered by AUBC over clicks, which "
        f"ends at {100 * board.click_stop:.1f} % of them: {100 * NEARLY_ALL:.0f} % of the ranked "
        "runs bought so much."
    )


def _ranks(significance: Significance | None) -> str:
    if significance is None:
        return f"No ranks: they need {FEWEST_SEEDS} seeds that all strategies have."
    clicks, pixels = significance.clicks, significance.pixels
    found = (
        f"{clicks.separable} of {len(clicks.pairs)} pairs differ"
        if clicks.separable
        else f"NOT SEPARABLE: none of {len(clicks.pairs)} pairs differs"
    )
    return (
        "Rank: from 1 + the number of strategies that are demonstrably better by AUBC over clicks "
        f"to the last place that those demonstrably worse leave; {found}, and {pixels.separable} "
        f"over pixels ({significance.seeds} seeds: moderated paired t-test for new seeds and new "
        f"val images, Holm's correction, p < {LEVEL}).{_power(clicks)} Against random-region: "
        "difference of that AUBC in points of mIoU with Dunnett's simultaneous 95 % interval. "
        "Clicks and pixels to a share of the full-data mIoU: the Kaplan-Meier median over seeds "
        "with its 95 % interval, ? where it has no end; > where half of the seeds do not reach it. "
        "95 % against random-region: log-rank test by permutation of runs, Holm's correction."
    )


def _power(axis: Axis) -> str:
    """Say from which gap on a pair would be found, and what the next pair would take."""
    power = axis.power
    if power is None:
        return ""
    gap = f" At even odds a pair is told apart from a gap of {100 * power.gap:.1f} points on"
    if power.closest is None:
        return gap + "."
    takes = (
        f"about {power.seeds} seeds"
        if power.seeds
        else "more val images: more seeds alone would not do"
    )
    first, second = power.closest
    return f"{gap}; the next pair, {first} and {second}, would take {takes}."


def work_done(board: Board) -> str:
    """Return the hours of work in the runs: of all tries, so it is no part of the document."""
    seconds: dict[str, float] = defaultdict(float)
    files = {
        file.relative_to(folder): file
        for folder in reversed(board.folders)
        for file in (folder / "runs").glob("*/seed-*/timings.jsonl")
    }
    for _, file in sorted(files.items()):
        for row in read_timings(file.parent):
            for stage, value in row.items():
                if stage != "round":
                    seconds[stage] += value
    total = sum(seconds.values())
    share = f", {100 * seconds.get('training', 0.0) / total:.0f} % of it training" if total else ""
    return f"{total / 3600:.2f} hours of work in runs{share}."


def _provenance(board: Board) -> str:
    runs = board.runs
    commits = sorted(
        {
            (run.info.provenance.commit or "unknown")[:10]
            + ("+changes" if run.info.provenance.dirty else "")
            for run in runs
        }
    )
    info = runs[0].info
    return (
        f"Config {info.config_sha256[:12]}, data {info.data_fingerprint[:12]}, commit "
        f"{', '.join(commits)}, torch {info.provenance.versions.get('torch', '?')}, {info.device}, "
        f"{info.provenance.machine}; runs {board.digest[:12]}."
    )
