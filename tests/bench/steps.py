"""Do more steps still help? A published run's last labels, trained again for other lengths.

    python -m tests.bench.steps --runs results/streets-standard --strategies random-region random-image --seeds 0 --steps 2820 5640

prints mIoU on val for each length. With the length of the board's own recipe it prints the board's own figure.
"""

import argparse
from pathlib import Path

import torch

from harness.config import ExperimentSpec
from harness.data.cityscapes import ClickOracle
from harness.data.source import open_splits
from harness.experiment import build_trainer
from harness.pool import LabelledPool
from harness.results import read_run, run_path
from harness.scoring import mean_iou


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--strategies", nargs="+", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--steps", type=int, nargs="+", required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for strategy in arguments.strategies:
        for seed in arguments.seeds:
            run = read_run(run_path(arguments.runs, strategy, seed))
            spec = ExperimentSpec.model_validate({**run.info.config, "device": "cpu"})
            train, val = open_splits(spec.data)
            oracle, pool = ClickOracle(train), LabelledPool(train.index.sizes)
            for record in run.rounds:
                pool.add(oracle.annotate([receipt.region for receipt in record.query], pool))
            print(
                f"{strategy} seed {seed}: on the board {100 * mean_iou(run.rounds[-1].areas):.1f}",
                flush=True,
            )
            for steps in arguments.steps:
                longer = spec.training.model_copy(
                    update={"steps": steps, "steps_per_image": 0, "max_steps": steps}
                )
                trainer = build_trainer(spec.model_copy(update={"training": longer}), train, val)
                network = trainer.fit(pool, seed, len(run.rounds) - 1, with_cost=False)
                print(
                    f"{strategy} seed {seed}: {steps} steps: {100 * mean_iou(network.evaluate()):.1f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
