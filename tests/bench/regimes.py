"""How strategies rank in each regime: the table of docs/notebook/regimes.md.

python -m tests.bench.regimes low=FOLDER standard=results/streets high=FOLDER redundant=FOLDER
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from harness.publish.board import build_board
from harness.publish.columns import estimate, places
from harness.publish.significance import compare_strategies


def main() -> None:
    """Print one row for each strategy that all boards have, ranked among these alone."""
    boards = {}
    for argument in sys.argv[1:]:
        name, _, folder = argument.partition("=")
        boards[name] = build_board(Path(folder))
    shared = set.intersection(*({row.strategy for row in board.rows} for board in boards.values()))
    heads, places_of = [], []
    for name, whole in boards.items():
        board = replace(
            whole,
            rows=[row for row in whole.rows if row.strategy in shared and not row.is_bound],
            groups={key: runs for key, runs in whole.groups.items() if key in shared},
        )
        significance = compare_strategies(board)
        if significance is None:
            raise SystemExit(f"{name}: too few seeds")
        first, last = 100 * board.budget_shares[0], 100 * board.budget_shares[-1]
        heads.append(f"{name}: {first:.0f} to {last:.0f} % px, {significance.seeds} seeds")
        places_of.append({key: one.clicks for key, one in significance.comparisons.items()})
    print("| strategy | " + " | ".join(heads) + " |")
    print("|---" * (len(heads) + 1) + "|")
    order = [
        row.strategy for row in next(iter(boards.values())).rows if row.strategy in places_of[0]
    ]
    for name in order:
        cells = [f"{places(found[name])}; {estimate(found[name].gain)}" for found in places_of]
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
