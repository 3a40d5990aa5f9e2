"""What published boards say about the paper's claims: the tables of docs/notebook/findings.md.

python -m tests.bench.findings results/camvid results/streets
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from harness.publish.board import Board, build_board
from harness.publish.columns import crossing
from harness.publish.significance import Axis, Significance, compare_strategies
from harness.scoring import aubc

CLAIMS = (
    ("windows against whole images, by entropy", "entropy-region", "entropy-image"),
    ("windows against whole images, at random", "random-region", "random-image"),
    ("entropy against chance, windows", "entropy-region", "random-region"),
    ("entropy against chance, images", "entropy-image", "random-image"),
    ("vote entropy against entropy, windows", "vote-entropy-region", "entropy-region"),
    ("vote entropy against chance, windows", "vote-entropy-region", "random-region"),
    ("g1 against no cost", "cereals-g1-entropy", "entropy-region"),
    ("g2 against no cost", "cereals-g2-entropy", "entropy-region"),
    ("g3 against no cost", "cereals-g3-entropy", "entropy-region"),
    ("g3 against g2", "cereals-g3-entropy", "cereals-g2-entropy"),
    ("CEREALS g2 against random windows", "cereals-g2-entropy", "random-region"),
    ("CEREALS g3 against random windows", "cereals-g3-entropy", "random-region"),
    ("g1 of vote entropy against no cost", "cereals-g1-vote-entropy", "vote-entropy-region"),
    ("g1 of vote entropy against entropy", "cereals-g1-vote-entropy", "entropy-region"),
    ("g1 of vote entropy against random windows", "cereals-g1-vote-entropy", "random-region"),
    ("cheapest windows against random windows", "cheapest-region", "random-region"),
    ("margin against entropy", "margin", "entropy-region"),
    ("BALD against entropy", "bald", "entropy-region"),
    ("BALD against vote entropy", "bald", "vote-entropy-region"),
    ("RIPU against entropy", "ripu", "entropy-region"),
    ("core-set against random windows", "coreset", "random-region"),
    ("balanced random against random windows", "balanced-random", "random-region"),
    ("entropy per click against entropy", "entropy-region+ratio", "entropy-region"),
    ("entropy per click against g2", "entropy-region+ratio", "cereals-g2-entropy"),
    ("BADGE against core-set", "badge", "coreset"),
    ("MetaBox+ against entropy", "metabox", "entropy-region"),
    ("spatial diversity against entropy", "spatial", "entropy-region"),
    ("superpixels against windows, by entropy", "entropy-region+superpixels", "entropy-region"),
    (
        "superpixels of one click against polygons in them",
        "entropy-region+superpixels[label=dominant]",
        "entropy-region+superpixels",
    ),
    (
        "vote entropy per click against its g1",
        "vote-entropy-region+ratio",
        "cereals-g1-vote-entropy",
    ),
)


def difference(axis: Axis, first: str, second: str) -> str:
    """Return the difference of two AUBC in points, with the interval of Holm's test."""
    for pair in axis.pairs:
        if {pair.first, pair.second} == {first, second}:
            sign = 1 if pair.first == first else -1
            low, high = sorted((sign * pair.difference.low, sign * pair.difference.high))
            mark = " ✓" if pair.differs else ""
            value = 100 * sign * pair.difference.value
            return f"{value:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]{mark}"
    return "-"


def clicks(board: Board, name: str) -> str:
    """Return a strategy's clicks to 95 %."""
    return next((crossing(row.c95) for row in board.rows if row.strategy == name), "-")


def spread(board: Board) -> float:
    """Return the median over pairs of what a paired difference of AUBC varies by over seeds."""
    rows = [row for row in board.rows if not row.is_bound]
    areas = [
        {
            curve.seed: aubc(curve.over_clicks(), stop=max(board.click_stop, curve.cost_b[0]))
            for curve in row.curves
        }
        for row in rows
    ]
    pairs = [(a, b, sorted(a.keys() & b.keys())) for n, a in enumerate(areas) for b in areas[:n]]
    return float(np.median([np.std([a[k] - b[k] for k in seeds], ddof=1) for a, b, seeds in pairs]))


def against_strong_random(board: Board, found: Significance) -> None:
    """Print every ranked strategy's difference to nnActive's strong random."""
    if "balanced-random" not in {row.strategy for row in board.rows}:
        return
    print("\n| against balanced random | AUBC clicks | AUBC pixels |")
    print("|---|---|---|")
    for row in board.rows:
        if row.is_bound or row.strategy == "balanced-random":
            continue
        over = [
            difference(axis, row.strategy, "balanced-random")
            for axis in (found.clicks, found.pixels)
        ]
        print(f"| {row.strategy} | {' | '.join(over)} |")
    print()


def main() -> None:
    """Print a table for each board."""
    for folder in sys.argv[1:]:
        board = build_board(Path(folder))
        found = compare_strategies(board)
        if found is None:
            raise SystemExit(f"{folder}: too few seeds")
        print(f"\n{board.name}, {found.seeds} seeds\n")
        print("| claim | AUBC clicks | AUBC pixels | clicks to 95 %: first | second |")
        print("|---|---|---|---|---|")
        for claim, first, second in CLAIMS:
            names = {row.strategy for row in board.rows}
            if not {first, second} <= names:
                continue
            over = difference(found.clicks, first, second), difference(found.pixels, first, second)
            ends = clicks(board, first), clicks(board, second)
            print(f"| {claim} | {' | '.join((*over, *ends))} |")
        against_strong_random(board, found)
        bound = next((row for row in board.rows if row.strategy.endswith("oracle-cost")), None)
        if bound is not None:
            gain = found.clicks.places[bound.strategy].gain
            said = f"{100 * gain.value:+.1f} [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]"
            print(f"\n{bound.strategy} against random-region, AUBC clicks: {said}; ", end="")
            print(f"clicks to 95 %: {crossing(bound.c95)}")
        print(f"a paired difference varies by {100 * spread(board):.2f} points from seed to seed")


if __name__ == "__main__":
    main()
