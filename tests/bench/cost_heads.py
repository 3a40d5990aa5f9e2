"""Which cost head predicts recorded clicks best, on images that were held out, and what it costs.

    python -m tests.bench.cost_heads --config streets-standard --seeds 0 1 2 3 4

For each seed and number of labelled images (the seed set's, then with as much again in random windows), one segmentation network is
trained on half of the training images, and every head on its frozen backbone; the other half scores them, in windows that tile the
images. val is never touched: the default head is chosen here. Times are of one thread: the head's training with its pass over the
labelled cells, relative to the segmentation network's training; and its prediction, relative to the plain forward pass.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from harness import segmentor  # noqa: F401
from harness.experiment import build_trainer
from harness.seeds import Purpose, torch_seed
from harness.segmentor.cost_head import train_cost_head
from tests.bench.training import Notebook, halves, label

HEADS = {
    "(b, c) backbone + probabilities, density, Poisson": {"hidden": 64, "weight_decay": 1e-2},
    "(b) with 16 hidden units": {"hidden": 16},
    "(b) with 16 hidden units, 100 steps": {"hidden": 16, "steps": 100},
    "(b) with 16 hidden units, weight decay 0.3": {"hidden": 16, "weight_decay": 0.3},
    "(b) with 100 steps": {"steps": 100},
    "(b) with 1,000 steps": {"steps": 1000},
    "(b) with sigma 4 px": {"sigma_px": 4.0},
}


def compare(notebook: Notebook, config: str, seeds: list[int], images: list[float]) -> None:
    """Train and score every head for every seed and number of labelled images."""
    spec, train, held_out = halves(config)
    trainer = build_trainer(spec, train, held_out)
    total = len(train.files)
    for seed in seeds:
        for labelled in images:
            if all(f"{labelled:g} images {name} seed {seed}" in notebook.known for name in HEADS):
                continue
            pool = label(train, labelled / total, spec.harness.window, seed)
            start = time.process_time()
            network = trainer.fit(pool, seed, 0, with_cost=False)
            training_s = time.process_time() - start
            for name, changes in HEADS.items():
                notebook.line(
                    f"{labelled:g} images {name} seed {seed}",
                    lambda changes=changes, network=network, pool=pool, seed=seed, training_s=training_s: (
                        _score(trainer, network, pool, seed, changes, training_s)
                    ),
                )


def _score(trainer, network, pool, seed, changes, training_s) -> dict[str, float]:
    options = trainer._spec.cost_model.model_copy(update=changes)
    start = time.process_time()
    cells = trainer.labelled_cells(network, pool, seed, 0)
    head = train_cost_head(cells, options, torch_seed(seed, 0, Purpose.COST_HEAD))
    head_s = time.process_time() - start
    priced = trainer._network(network._model, head, seed, 0)
    quality = priced.cost_quality()
    photos = [trainer._val.photo(image_id) for image_id in list(trainer._val.files)[:20]]
    start = time.process_time()
    seen = [priced.see(photo) for photo in photos]
    forward_s = time.process_time() - start
    start = time.process_time()
    for one in seen:
        priced._cost(one)
    cost_s = time.process_time() - start
    return {
        "pearson": quality.pearson,
        "spearman": quality.spearman,
        "mean_absolute_error": quality.mean_absolute_error,
        "relative_count_error": quality.relative_count_error,
        "of_training": head_s / training_s,
        "of_forward": cost_s / forward_s,
    }


def table(notebook: Notebook) -> None:
    """Print means and standard deviations over seeds."""
    groups: dict[str, list[dict[str, float]]] = {}
    for key, row in notebook.known.items():
        groups.setdefault(key.rpartition(" seed ")[0], []).append(row)
    print(
        "| labelled, head | Pearson | Spearman | mean abs. error, clicks | relative error | of training | of forward | seeds |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name, rows in sorted(groups.items()):
        cells = []
        for figure in ("pearson", "spearman", "mean_absolute_error", "relative_count_error"):
            values = np.array([row[figure] for row in rows if row[figure] is not None])
            cells.append(
                f"{values.mean():.2f} ± {values.std(ddof=1):.2f}" if len(values) > 1 else "-"
            )
        cells += [
            f"{100 * np.mean([row[figure] for row in rows]):.0f} %"
            for figure in ("of_training", "of_forward")
        ]
        print(f"| {name} | {' | '.join(cells)} | {len(rows)} |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="streets_standard")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--images", type=float, nargs="+", default=[4, 8])
    parser.add_argument("--out", type=Path, default=Path("out/cost-heads.jsonl"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    notebook = Notebook(arguments.out)
    compare(notebook, arguments.config, arguments.seeds, arguments.images)
    table(notebook)


if __name__ == "__main__":
    main()
