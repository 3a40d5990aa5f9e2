"""Two workers of one thread against one worker of two threads: the same trainings, all of them, on two cores.

    python -m tests.bench.workers --steps 300

prints seconds from the first step to the last (the start of the processes apart), and whether the weights of the two are equal:
they need not be, since two threads add in another order.
"""

import argparse
import hashlib
import multiprocessing
import os
import time
from typing import Any


def work(threads: int, seeds: list[int], steps: int, ready: Any, answers: Any) -> None:
    os.environ["OMP_NUM_THREADS"] = str(threads)
    import torch

    from harness.config import config_path, load_spec
    from harness.data.source import open_splits
    from harness.experiment import build_trainer, oracle_of
    from harness.loop import draw_seed_set
    from harness.pool import LabelledPool
    from tests.bench.training import with_steps

    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    spec = with_steps(load_spec(config_path("streets_standard")), steps)
    train, val = open_splits(spec.data)
    trainer, pool = build_trainer(spec, train, val), LabelledPool(train.index.sizes)
    pool.add(
        oracle_of(spec, train).annotate(
            [candidate.region for candidate in draw_seed_set(pool.sizes, 4, 0)], pool
        )
    )
    ready.wait()
    for seed in seeds:
        weights = trainer.fit(pool, seed, 0, with_cost=False).model.state_dict()
        answers.put(
            (
                seed,
                hashlib.sha256(
                    b"".join(value.numpy().tobytes() for value in weights.values())
                ).hexdigest(),
            )
        )


def measure(groups: list[list[int]], threads: int, steps: int) -> tuple[float, dict[int, str]]:
    """Return the seconds that all trainings took, and a digest of each one's weights."""
    context = multiprocessing.get_context("spawn")
    ready, answers = context.Barrier(len(groups) + 1), context.Queue()
    processes = [
        context.Process(target=work, args=(threads, seeds, steps, ready, answers))
        for seeds in groups
    ]
    for process in processes:
        process.start()
    ready.wait()
    start = time.monotonic()
    found = dict(answers.get() for seeds in groups for _ in seeds)
    seconds = time.monotonic() - start
    for process in processes:
        process.join()
    return seconds, found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=300)
    steps = parser.parse_args().steps
    two, ours = measure([[0, 2], [1, 3]], 1, steps)
    one, theirs = measure([[0, 1, 2, 3]], 2, steps)
    alone, single = measure([[0, 1, 2, 3]], 1, steps)
    print(
        f"4 trainings of {steps} steps: two workers of one thread {two:.1f} s; one of two threads {one:.1f} s; one of one thread {alone:.1f} s"
    )
    print(
        f"two workers give the weights of one: {ours == single}; two threads give those of one: {theirs == single}"
    )


if __name__ == "__main__":
    main()
