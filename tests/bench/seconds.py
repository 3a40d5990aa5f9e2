"""What each strategy adds to a board: seconds of a run by stage, from the timings of a board.

python -m tests.bench.seconds results/streets
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from harness.archive import unpacked
from harness.results import find_runs, read_info, read_timings


def main() -> None:
    """Print one row for each strategy: medians over its runs, the dearest acquisition first."""
    for folder in sys.argv[1:]:
        found = defaultdict(list)
        for path in find_runs(unpacked(Path(folder))):
            rows = read_timings(path)
            seconds: dict[str, float] = defaultdict(float)
            for row in rows:
                for stage, value in row.items():
                    seconds[stage] += value * (stage != "round")
            if rows:
                found[read_info(path).strategy].append(seconds)
        stages = sorted(
            {stage for runs in found.values() for run in runs for stage in run if stage != "round"}
        )
        print(f"\n{folder}: seconds of a run\n")
        print("| strategy | " + " | ".join(stages) + " | all |")
        print("|---" * (len(stages) + 2) + "|")
        medians = {
            name: [float(np.median([run[stage] for run in runs])) for stage in stages]
            for name, runs in found.items()
        }
        place = stages.index("acquisition") if "acquisition" in stages else 0
        for name, values in sorted(medians.items(), key=lambda item: -item[1][place]):
            cells = " | ".join(f"{value:.1f}" for value in values)
            print(f"| {name} | {cells} | {sum(values):.1f} |")


if __name__ == "__main__":
    main()
