"""Do two boards order strategies alike? Kendall's tau over the strategies that both have, with an interval over seeds.

    python -m tests.bench.agreement --first results/streets-standard --second results/streets

The order is by the mean over seeds of AUBC (over clicks, then over pixels); bounds take part, since their order counts too. The
interval resamples the seeds of both boards, independently.
"""

import argparse
from pathlib import Path

import numpy as np
from scipy import stats

from harness.publish.board import Board, build_board
from harness.scoring import aubc


def areas(board: Board, names: list[str], *, clicks: bool) -> np.ndarray:
    """Return (strategies, seeds) AUBC."""
    rows = {row.strategy: row for row in board.rows}
    return np.array(
        [
            [
                aubc(
                    curve.over_clicks() if clicks else curve.over_pixels(),
                    stop=_end(board, clicks=clicks),
                )
                for curve in rows[name].curves
            ]
            for name in names
        ]
    )


def _end(board: Board, *, clicks: bool) -> float:
    last = [
        curve.cost_b[-1] if clicks else curve.pixel_share[-1]
        for row in board.rows
        for curve in row.curves
    ]
    return min(last)


def tau(
    first: np.ndarray, second: np.ndarray, resamples: int = 10_000
) -> tuple[float, float, float]:
    """Return Kendall's tau of the means and its 95 % interval."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(resamples):
        drawn = [
            values[:, rng.integers(values.shape[1], size=values.shape[1])].mean(1)
            for values in (first, second)
        ]
        found.append(stats.kendalltau(*drawn).statistic)
    low, high = np.nanquantile(found, [0.025, 0.975])
    return float(stats.kendalltau(first.mean(1), second.mean(1)).statistic), float(low), float(high)


def halves(values: np.ndarray) -> float:
    """Return tau of a board with itself: one seed against the mean of the others, averaged."""
    seeds = range(values.shape[1])
    return float(
        np.mean(
            [
                stats.kendalltau(values[:, seed], np.delete(values, seed, axis=1).mean(1)).statistic
                for seed in seeds
            ]
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--first", type=Path, required=True)
    parser.add_argument("--second", type=Path, required=True)
    arguments = parser.parse_args()
    boards = [build_board(arguments.first), build_board(arguments.second)]
    names = sorted(set.intersection(*({row.strategy for row in board.rows} for board in boards)))
    print(f"{len(names)} strategies on both boards")
    for clicks in (True, False):
        first, second = (areas(board, names, clicks=clicks) for board in boards)
        value, low, high = tau(first, second)
        print(
            f"AUBC over {'clicks' if clicks else 'pixels'}: tau {value:.2f} [{low:.2f}, {high:.2f}]; "
            f"one seed against the others: {halves(first):.2f} on the first board, {halves(second):.2f} on the second"
        )


if __name__ == "__main__":
    main()
