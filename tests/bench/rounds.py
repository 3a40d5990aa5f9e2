"""What a round costs at each labelled share, from the seconds that a board's runs kept; and the whole matrix with and without sharing.

    python -m tests.bench.rounds --runs results/streets-standard
    python -m tests.bench.rounds --matrix streets --strategies all --seed 0

The second runs each strategy alone in a folder of its own with one worker, then all together with ``--workers``, and compares.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import strategies
from harness.archive import unpacked
from harness.results import find_runs, read_run, read_timings
from harness.types import FULL_DATA

STAGES = ("training", "evaluation", "acquisition")


def shares(runs: Path) -> None:
    """Print the median seconds of each stage of a round."""
    seconds: dict[int, dict[str, list[float]]] = {}
    labelled: dict[int, float] = {}
    for path in find_runs(unpacked(runs)):
        run = read_run(path)
        if run.info.strategy == FULL_DATA:
            continue
        labelled |= {record.round: record.labelled_px / run.info.train_px for record in run.rounds}
        for line in read_timings(path):
            for stage in STAGES:
                if stage in line:
                    seconds.setdefault(int(line["round"]), {}).setdefault(stage, []).append(
                        line[stage]
                    )
    print(
        f"{runs}: median seconds of a round, one worker\n| round | labelled | "
        + " | ".join(STAGES)
        + " |"
    )
    print("|---|---|" + "---|" * len(STAGES))
    for number in sorted(seconds):
        found = [seconds[number].get(stage) for stage in STAGES]
        print(
            f"| {number} | {100 * labelled[number]:.1f} % | {' | '.join(f'{np.median(part):.1f}' if part else '-' for part in found)} |"
        )


def timed(config: str, names: list[str], seed: int, workers: int, out: Path) -> tuple[float, str]:
    """Run a board and return its seconds and its last line."""
    command = [
        sys.executable,
        "-m",
        "harness",
        "bench",
        "--config",
        config,
        "--strategies",
        ",".join(names),
        "--seeds",
        str(seed),
    ]
    start = time.monotonic()
    done = subprocess.run(
        [*command, "--workers", str(workers), "--out", str(out)],
        capture_output=True,
        text=True,
        check=True,
    )
    return time.monotonic() - start, done.stdout.splitlines()[-1]


def matrix(config: str, names: list[str], seed: int, workers: int) -> None:
    """Compare strategies that share nothing, one after the other, with a matrix."""
    with tempfile.TemporaryDirectory() as folder:
        alone = 0.0
        for name in names:
            seconds, _ = timed(config, [name], seed, 1, Path(folder) / name)
            alone += seconds
        print(f"{len(names)} strategies alone, one after the other: {alone:.0f} s")
        for number in sorted({1, workers}):
            seconds, done = timed(config, names, seed, number, Path(folder) / f"together-{number}")
            print(
                f"together with {number} worker(s): {seconds:.0f} s, {alone / seconds:.1f} times faster; {done}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=Path, nargs="*", default=[])
    parser.add_argument("--matrix", help="a config")
    parser.add_argument("--strategies", default="all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    for runs in arguments.runs:
        shares(runs)
    if arguments.matrix:
        names = [strategy.name for strategy in strategies.parse_list(arguments.strategies)]
        matrix(arguments.matrix, names, arguments.seed, arguments.workers)


if __name__ == "__main__":
    main()
