"""How often a board's test errs, and what it finds: boards drawn from a model, not runs.

    python -m tests.bench.power --boards 400

Each board has 14 strategies whose AUBC scatters over seeds; the luck that a seed brings to all
of them cancels. With --spreads half every other strategy scatters twice as much; with --spreads one
the last scatters ten times as much as the others. One strategy is better by a gap. The table compares three tests of all pairs, each with
Holm's correction: a t-test of each pair alone, the moderated one that boards use, and one variance
pooled over everything.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy import stats

from harness.statistics import compare_pairs, holm

STRATEGIES = 14
LEVEL = 0.05
SPREADS = ("even", "half", "one")


def alone(scores):
    """Each pair by its own variance."""
    pairs = [(a, b) for a in range(len(scores)) for b in range(a + 1, len(scores))]
    return holm([float(stats.ttest_rel(scores[a], scores[b]).pvalue) for a, b in pairs])


def moderated(scores):
    """The test of a board; its val images are as good as infinitely many here."""
    still = np.repeat(scores.mean(1)[:, None], 2, axis=1)
    return compare_pairs(scores, still, 10**6).adjusted


def pooled(scores):
    """One variance for all: the residual of a two-way layout, seeds as blocks."""
    n, seeds = scores.shape
    rest = scores - scores.mean(0) - scores.mean(1)[:, None] + scores.mean()
    freedom = (n - 1) * (seeds - 1)
    error = np.sqrt(2 * (rest**2).sum() / freedom / seeds)
    means = scores.mean(1)
    pairs = [(a, b) for a in range(n) for b in range(a + 1, n)]
    return holm(
        [float(2 * stats.t.sf(abs(means[a] - means[b]) / error, freedom)) for a, b in pairs]
    )


TESTS = {"alone": alone, "moderated": moderated, "pooled": pooled}


def rate(test, seeds, gap, *, boards, spread, spreads):
    """Return the share of boards on which a test says that something differs (no gap), or finds the
    first strategy's pairs, on average."""
    rng = np.random.default_rng([seeds, round(1000 * gap), SPREADS.index(spreads)])
    scale = np.full(STRATEGIES, spread)
    if spreads == "half":
        scale[::2] *= 2.0
    elif spreads == "one":
        scale[-1] *= 10.0
    found = 0.0
    for _ in range(boards):
        scores = scale[:, None] * rng.standard_normal((STRATEGIES, seeds))
        scores[0] += gap
        adjusted = np.array(test(scores))
        differs = adjusted < LEVEL
        found += differs.any() if gap == 0.0 else differs[: STRATEGIES - 1].mean()
    return found / boards


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--boards", type=int, default=400)
    parser.add_argument("--spread", type=float, default=0.6, help="over seeds, points of AUBC")
    parser.add_argument("--spreads", choices=SPREADS, default="even")
    options = parser.parse_args()
    print(f"{STRATEGIES} strategies, spread {options.spread:g} points, {options.boards} boards")
    print("seeds  test        false alarm  " + "".join(f"gap {gap:3.1f}  " for gap in (0.5, 1, 2)))
    for seeds in (3, 5, 10, 20):
        for name, test in TESTS.items():
            row = [
                rate(
                    test,
                    seeds,
                    gap,
                    boards=options.boards,
                    spread=options.spread,
                    spreads=options.spreads,
                )
                for gap in (0.0, 0.5, 1.0, 2.0)
            ]
            figures = "".join(f"{share:9.2f}" for share in row[1:])
            print(f"{seeds:5d}  {name:10s}  {row[0]:11.3f}{figures}", flush=True)


if __name__ == "__main__":
    main()
