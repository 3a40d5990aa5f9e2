"""Builds, once per process, all that jobs need: data, oracle, trainer, store."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.acquisition import QueryRules, Tally
from harness.bench import Clock, Job
from harness.config import ExperimentSpec
from harness.data.cityscapes import ClickOracle, Split
from harness.data.source import open_splits
from harness.errors import InputError
from harness.loop import FULL_DATA, Schedule
from harness.networks import NetworkStore
from harness.protocols import ImageSizes, RunWriter, Strategy
from harness.provenance import Provenance
from harness.results import SCHEMA_VERSION, RunFolder, RunInfo, run_path
from harness.types import RoundRecord

_SMALLEST_FREE_BYTES = 1 << 28


def check_sizes(spec: ExperimentSpec, sizes: ImageSizes) -> None:
    """Refuse a protocol that the data cannot hold: before anything is trained.

    Raises:
        InputError: a window larger than the image, or more images asked for than there are.
    """
    smallest = min(min(size) for size in sizes.values())
    if spec.harness.window > smallest:
        raise InputError(f"harness.window is {spec.harness.window}; allowed: at most {smallest}, the smallest side of an image")
    asked = spec.harness.seed_images + spec.harness.rounds * spec.harness.images_per_round
    if asked > len(sizes):
        raise InputError(
            f"the harness block asks for {asked} images in all (seed_images + rounds x images_per_round); allowed: at most {len(sizes)}, the pool"
        )


def schedule_of(spec: ExperimentSpec) -> Schedule:
    """Return how much is bought when."""
    return Schedule(spec.harness.seed_images, spec.harness.images_per_round, spec.harness.rounds)


def rules_of(spec: ExperimentSpec) -> QueryRules:
    """Return how queries are made."""
    return QueryRules(spec.harness.window, spec.harness.stride, spec.harness.overlap == "allow", spec.harness.committee)


@dataclass(slots=True)
class BenchWorkshop:
    """What one worker process holds on to; see ``harness.bench.Workshop``."""

    out: Path
    oracle: ClickOracle
    sizes: ImageSizes
    schedule: Schedule
    rules: QueryRules
    strategies: dict[str, Strategy]
    networks: NetworkStore
    clock: Clock
    tally: Tally
    info: RunInfo
    _folders: dict[Job, RunFolder] = field(default_factory=dict)

    def open_run(self, job: Job) -> tuple[list[RoundRecord], RunWriter]:
        """Open or resume the folder of a run."""
        if shutil.disk_usage(self.out).free < _SMALLEST_FREE_BYTES:
            raise InputError(f"{self.out}: less than {_SMALLEST_FREE_BYTES >> 20} MiB of disk space left; allowed: more, or another --out")
        strategy = self.strategies.get(job.strategy)
        folder = RunFolder(run_path(self.out, job.strategy, job.seed))
        base = self.info
        info = RunInfo(
            schema_version=base.schema_version,
            strategy=job.strategy,
            equation=strategy.equation if strategy else "every label of the pool",
            is_bound=strategy.is_bound if strategy else False,
            seed=job.seed,
            data_fingerprint=base.data_fingerprint,
            totals=base.totals,
            train_images=base.train_images,
            train_px=base.train_px,
            val_images=base.val_images,
            config_sha256=base.config_sha256,
            config=base.config,
            provenance=base.provenance,
        )
        finished = folder.open(info)
        folder.clear_failure()
        return finished, _TimedWriter(folder, self.clock)

    def record_failure(self, job: Job, text: str) -> None:
        """Keep a traceback beside the run, if the disk still takes it."""
        try:
            RunFolder(run_path(self.out, job.strategy, job.seed)).record_failure(text)
        except OSError:
            return


@dataclass(slots=True)
class _TimedWriter:
    folder: RunFolder
    clock: Clock

    def append(self, record: RoundRecord) -> None:
        self.folder.append(record)
        self.folder.append_timings(record.round, self.clock.take())


def info_template(spec: ExperimentSpec, train: Split, val: Split, provenance: Provenance) -> RunInfo:
    """Return what the ``run.json`` files of a board have in common."""
    sizes = train.index.sizes
    return RunInfo(
        schema_version=SCHEMA_VERSION,
        strategy="",
        equation="",
        is_bound=False,
        seed=0,
        data_fingerprint=f"{train.index.fingerprint[:32]}-{val.index.fingerprint[:32]}",
        totals=train.index.totals,
        train_images=len(sizes),
        train_px=sum(height * width for height, width in sizes.values()),
        val_images=len(val.files),
        config_sha256=spec.digest(),
        config=spec.model_dump(mode="json", exclude={"device": True, "data": {"root"}}),
        provenance=provenance,
    )


def build_workshop(spec: ExperimentSpec, identities: Sequence[str], out: Path, provenance: Provenance, threads: int) -> BenchWorkshop:
    """Build the workshop of this process."""
    import torch

    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(spec.device == "cpu")

    import strategies
    from harness.segmentor.cost_head import CostRecipe
    from harness.segmentor.crops import CropRecipe
    from harness.segmentor.trainer import Recipe, SegmentorTrainer

    train, val = open_splits(spec.data)
    training = spec.training
    recipe = Recipe(
        model=spec.model,
        optim_wrapper=spec.optim_wrapper,
        param_scheduler=spec.param_scheduler,
        crop=CropRecipe(*training.crop, flip=training.flip, jitter=training.jitter),
        cost=CostRecipe(**spec.cost_model.model_dump()),
        steps=training.steps,
        steps_per_image=training.steps_per_image,
        max_steps=training.max_steps,
        batch_size=training.batch_size,
        class_weights=training.class_weights,
    )
    trainer = SegmentorTrainer(recipe, train_split=train, val_split=val, window_px=spec.harness.window, device=spec.device)
    clock, tally = Clock(), Tally()
    info = info_template(spec, train, val, provenance)
    rules = rules_of(spec)
    store_key = f"{info.data_fingerprint} {rules} {spec.device}"
    return BenchWorkshop(
        out=out,
        oracle=ClickOracle(train),
        sizes=train.index.sizes,
        schedule=schedule_of(spec),
        rules=rules,
        strategies={strategy.name: strategy for strategy in map(strategies.make, identities)},
        networks=NetworkStore(trainer, out / "work", data_fingerprint=store_key, stage=clock.stage, tally=tally),
        clock=clock,
        tally=tally,
        info=info,
    )


__all__ = ["FULL_DATA", "BenchWorkshop", "build_workshop", "check_sizes", "info_template", "rules_of", "schedule_of"]
