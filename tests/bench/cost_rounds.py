"""How good a board's cost models were, round by round, and what other costs in the score brought.

python -m tests.bench.cost_rounds --runs results/streets results/streets-standard
"""

import argparse
from pathlib import Path

import numpy as np

from harness.publish.board import Board, build_board
from harness.statistics import cost_quality


def spread(values: list[float | None]) -> str:
    found = np.array([value for value in values if value is not None])
    return f"{found.mean():.2f} ± {found.std(ddof=1):.2f}" if len(found) > 1 else "-"


def quality(board: Board) -> None:
    """Print Spearman's rho by round: on windows of val, of the head that the round trained; on the windows that it then bought."""
    learned = {
        name: runs
        for name, runs in board.groups.items()
        if any(record.cost_quality for run in runs for record in run.rounds)
    }
    count = max(len(run.rounds) for runs in learned.values() for run in runs) - 1
    print(
        f"{board.name}: Spearman of clicks per window, mean and standard deviation over seeds; on val, and on the windows bought next"
    )
    print("| strategy |" + "".join(f" round {number} val | bought |" for number in range(count)))
    print("|---|" + "---|---|" * count)
    for name, runs in learned.items():
        cells = []
        for number in range(count):
            cells.append(
                spread(
                    [
                        run.rounds[number].cost_quality.spearman
                        for run in runs
                        if run.rounds[number].cost_quality
                    ]
                )
            )
            bought = [
                cost_quality(
                    [receipt.cost for receipt in run.rounds[number + 1].query],
                    [
                        receipt.polygon
                        + (receipt.intersection + receipt.box) * (run.info.cost == "whole")
                        for receipt in run.rounds[number + 1].query
                    ],
                ).spearman
                for run in runs
            ]
            cells.append(spread(bought))
        print(f"| {name} | {' | '.join(cells)} |")


def costs(board: Board) -> None:
    """Print clicks at the last budget and what they bought, by where the cost in the score came from."""
    print(f"{board.name}: at the last budget, percent")
    print("| strategy | clicks, cost_B | mIoU | c95 | AUBC over clicks |")
    print("|---|---|---|---|---|")
    for row in sorted(board.rows, key=lambda row: row.strategy):
        if row.cost_spearman is None and not row.is_bound and row.strategy != "random-region":
            continue
        c95 = (
            "-"
            if row.c95 is None
            else f"{100 * row.c95.value:.1f}"
            if row.c95.value is not None
            else f"> {100 * (row.c95.beyond or 0):.1f}"
        )
        cells = [
            f"{100 * figure.mean:.1f} ± {100 * (figure.std or 0):.1f}"
            for figure in (row.cost_b[-1], row.miou[-1])
        ]
        print(
            f"| {row.label} | {' | '.join(cells)} | {c95} | {100 * row.aubc_clicks.mean:.1f} ± {100 * (row.aubc_clicks.std or 0):.1f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=Path, nargs="+", required=True)
    for folder in parser.parse_args().runs:
        board = build_board(folder)
        quality(board)
        costs(board)


if __name__ == "__main__":
    main()
