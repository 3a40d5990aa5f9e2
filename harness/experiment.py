"""Builds, once per process, all that jobs need: data, oracle, trainer, store."""

from __future__ import annotations

import importlib
import itertools
import math
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.acquisition import Counters
from harness.bench import Job, Timer
from harness.claims import claim
from harness.config import ExperimentSpec
from harness.data.annotators import NoisyOracle
from harness.data.cityscapes import ClickOracle, Split
from harness.data.source import open_splits
from harness.errors import FailedBeforeError, InputError, one_line, shorten
from harness.loop import draw_pool, draw_seed_set
from harness.maps import QueryRules
from harness.networks import FEATURE_FOLDER, SUPERPIXEL_FOLDER, NetworkStore
from harness.pool import LabelledPool
from harness.protocols import ImageSizes, RunWriter, Strategy
from harness.provenance import Provenance
from harness.results import SCHEMA_VERSION, TRAINER_VERSION, RunFolder, RunInfo, run_path
from harness.schedule import ClickSchedule, Schedule
from harness.superpixels import Superpixels
from harness.types import ImageThumbnails, LossPoint, RoundRecord

if TYPE_CHECKING:
    from harness.segmentor.trainer import SegmentorTrainer

WORK_FOLDER = ".harness-work"
"""Below an output folder: networks, maps and features of a board that is not finished."""
CLAIM_FOLDER = "claims"

_SMALLEST_FREE_BYTES = 1 << 28
_PROBE_BYTES = 1 << 16


def check_sizes(
    spec: ExperimentSpec, sizes: ImageSizes, n_classes: int, val_sizes: ImageSizes
) -> None:
    """Refuse a protocol that the data cannot hold: before anything is trained.

    Raises:
        InputError: a window larger than the image, more images asked for than there are, or a head
            with another number of classes.
    """
    smallest = min(min(size) for size in (*sizes.values(), *val_sizes.values()))
    if spec.harness.window > smallest:
        raise InputError(
            f"harness.window must be at most {smallest}, the smallest side of an image, "
            f"got {spec.harness.window}"
        )
    head = spec.model.get("decode_head")
    written = head.get("num_classes", n_classes) if isinstance(head, dict) else n_classes
    if written != n_classes:
        raise InputError(
            f"model.decode_head.num_classes must be {n_classes}, the classes of the data, "
            f"got {shorten(written)}; it may be left out"
        )
    own = spec.harness.pool_per_seed
    if own is not None and own > len(sizes):
        raise InputError(
            f"harness.pool_per_seed must be at most {len(sizes)}, the training images, got {own}"
        )
    sizes = pool_sizes(spec, sizes)
    schedule = schedule_of(spec)
    images = [schedule.images(number, len(sizes)) for number in range(schedule.rounds + 1)]
    if max(images) > len(sizes):
        raise InputError(
            "harness.seed_images + harness.images_per_round x harness.rounds must be at most "
            f"{len(sizes)}, the training images, got {max(images)}"
        )
    in_images = spec.harness.budget_unit == "pixels"
    if in_images and spec.harness.overlap == "forbid":
        _check_room(spec, sizes, max(images))
    if in_images and any(later <= sooner for sooner, later in itertools.pairwise(images)):
        raise InputError(
            "harness.budgets must buy an image's worth or more each round, from the seed set of "
            f"{schedule.seed_images} images on: got {', '.join(map(str, images))} images of "
            f"{len(sizes)}"
        )


def _check_room(spec: ExperimentSpec, sizes: ImageSizes, images: int) -> None:
    """Refuse a grid of windows on which the budget cannot be spent.

    Raises:
        InputError: one line with window, stride and both numbers of pixels.
    """
    window, stride = spec.harness.window, spec.harness.stride
    apart = -(-window // stride) * stride  # the next placement that shares no pixel
    room = sum(
        math.prod((side - window) // apart + 1 for side in size) * window**2
        for size in sizes.values()
    )
    budget = sum(math.prod(size) for size in list(sizes.values())[:images])
    if room < budget:
        raise InputError(
            f"harness.window={window} and harness.stride={stride} must leave room for the budget of "
            f"{budget} px: windows that do not overlap hold at most {room} px of the pool"
        )


def check_seed_sets(spec: ExperimentSpec, train: Split) -> None:
    """Refuse a first budget that a seed's seed set has spent already.

    Raises:
        InputError: one line with the seed and both numbers.
    """
    protocol = spec.harness
    if protocol.budget_unit == "pixels":
        _check_seed_pixels(spec, train.index.sizes)
    if protocol.budget_unit != "clicks" or not protocol.budgets:
        return
    for seed in protocol.seeds:
        own = protocol.pool_per_seed
        part = train if own is None else train.only(draw_pool(train.index.sizes, own, seed))
        sizes, oracle = part.index.sizes, oracle_of(spec, part)
        query = draw_seed_set(sizes, protocol.seed_images, seed)
        answers = oracle.annotate([one.region for one in query], LabelledPool(sizes))
        spent = sum(answer.clicks.billed for answer in answers)
        if spent >= (first := protocol.budgets[0] * part.index.totals.polygon):
            raise InputError(
                f"harness.budgets must begin above what the seed set costs: seed {seed}'s takes "
                f"{spent} clicks, the first budget is {first:.0f} "
                f"({100 * protocol.budgets[0]:g} %)"
            )


def _check_seed_pixels(spec: ExperimentSpec, sizes: ImageSizes) -> None:
    """Refuse a first budget of pixels that large images of a seed set have spent already.

    Raises:
        InputError: one line with the seed and both numbers.
    """
    protocol, schedule = spec.harness, schedule_of(spec)
    if len(set(sizes.values())) < 2 or schedule.rounds < 1:
        return
    for seed in protocol.seeds:
        own = protocol.pool_per_seed
        pool = sizes if own is None else {key: sizes[key] for key in draw_pool(sizes, own, seed)}
        query = draw_seed_set(pool, protocol.seed_images, seed)
        spent, first = sum(one.region.area_px for one in query), schedule.budget_px(1, pool)
        if spent > first:
            raise InputError(
                f"round 1's budget must hold the seed set, whose images differ in size: seed {seed}'s "
                f"has {spent} px, the budget is {first} px"
            )


def check_whole_images(
    spec: ExperimentSpec, strategies: Iterable[Strategy], sizes: ImageSizes
) -> None:
    """Refuse a strategy of whole images where the largest is more than a round's budget.

    Its query would end at that image in every round.

    Raises:
        InputError: one line with the strategy, the image and both numbers.
    """
    names = [strategy.name for strategy in strategies if strategy.whole_image]
    schedule = schedule_of(spec)
    if not names or spec.harness.budget_unit != "pixels" or len(set(sizes.values())) < 2:
        return
    budgets = [schedule.budget_px(number, sizes) for number in range(schedule.rounds + 1)]
    least = min((later - sooner for sooner, later in itertools.pairwise(budgets)), default=0)
    largest = max(sizes, key=lambda key: math.prod(sizes[key]))
    if schedule.rounds and math.prod(sizes[largest]) > least:
        raise InputError(
            f"each round's budget must hold the largest image for {names[0]}, which asks for whole "
            f"images: {largest} has {math.prod(sizes[largest])} px, a round buys {least} px; leave "
            f"out {', '.join(names)}, or buy more a round"
        )


def pool_sizes(spec: ExperimentSpec, sizes: ImageSizes) -> ImageSizes:
    """Return the sizes of as many images as a seed's pool has."""
    return dict(list(sizes.items())[: spec.harness.pool_per_seed])


def schedule_of(spec: ExperimentSpec) -> Schedule:
    """Return how much is bought when."""
    protocol = spec.harness
    kind = ClickSchedule if protocol.budget_unit == "clicks" else Schedule
    return kind(
        protocol.seed_images, protocol.images_per_round or 0, protocol.rounds, protocol.budgets
    )


def rules_of(spec: ExperimentSpec, superpixels: Superpixels | None = None) -> QueryRules:
    """Return how queries are made."""
    return QueryRules(
        spec.harness.window,
        spec.harness.stride,
        spec.harness.overlap == "allow",
        spec.harness.committee,
        superpixels,
    )


def superpixels_of(train: Split, folder: Path) -> Superpixels:
    """Return the superpixels of a training set, kept below a folder; none is made before it is asked for."""
    return Superpixels(train.photo, folder / SUPERPIXEL_FOLDER / train.index.fingerprint[:16])


def oracle_of(
    spec: ExperimentSpec, train: Split, superpixels: Superpixels | None = None
) -> ClickOracle:
    """Return the annotators of a board: they err where the config says so."""
    if spec.annotator.any:
        return NoisyOracle(train, spec.annotator, superpixels)
    return ClickOracle(train, superpixels)


LossLog = Callable[[str, Sequence[LossPoint]], None]
"""Takes the name of a training and its losses."""


def loss_log(backends: Sequence[dict[str, Any]], folder: Path) -> LossLog:
    """Return what passes the losses of trainings on to mmengine's backends, in folders below one."""
    if not backends:
        return lambda _name, _losses: None
    from harness.segmentor.logs import write_losses

    return lambda name, losses: write_losses(backends, folder / name, losses)


@dataclass(slots=True)
class ExperimentContext:
    """What one worker process holds on to between jobs; made once per process."""

    out: Path
    oracle: ClickOracle
    sizes: ImageSizes
    schedule: Schedule
    rules: QueryRules
    strategies: dict[str, Strategy]
    networks: NetworkStore
    timer: Timer
    counters: Counters
    info: RunInfo
    log: LossLog
    first_seed: int | None = None
    train: Split | None = None
    pool_per_seed: int | None = None
    _seed: int | None = None

    def turn_to(self, seed: int) -> None:
        """Take the pool of a seed in hand, where each seed has its own."""
        if self.pool_per_seed is None or self.train is None or seed == self._seed:
            return  # counting a pool's clicks reads all of its images
        self._seed = seed
        part = self.train.only(draw_pool(self.train.index.sizes, self.pool_per_seed, seed))
        self.sizes, self.oracle = part.index.sizes, self.oracle.over(part)
        self.info = replace(self.info, **_counts(part))

    def claim(self, job: Job) -> AbstractContextManager[bool]:
        """Keep a job to this process while it lasts."""
        return claim(self.out / WORK_FOLDER / CLAIM_FOLDER, job.title)

    def open_run(self, job: Job) -> tuple[list[RoundRecord], RunWriter]:
        """Open or resume the folder of a run.

        Raises:
            FailedBeforeError: it failed in an earlier invocation; its record says how.
        """
        if shutil.disk_usage(self.out).free < _SMALLEST_FREE_BYTES:
            raise InputError(
                f"{self.out}: less than {_SMALLEST_FREE_BYTES >> 20} MiB of disk space left; "
                "free some, or give another --out"
            )
        strategy = self.strategies.get(job.strategy)
        folder = RunFolder(run_path(self.out, job.strategy, job.seed))
        info = replace(
            self.info,
            strategy=job.strategy,
            equation=strategy.equation if strategy else "every label of the pool",
            is_bound=strategy.is_bound if strategy else False,
            seed=job.seed,
            cost=strategy.cost if strategy else "none",
            code=strategy.code if strategy else "",
        )
        finished = folder.open(info)
        self.check_failure(job)
        keeps_maps = job.seed == self.first_seed
        return finished, _TimedWriter(folder, self.timer, self.log, keeps_maps=keeps_maps)

    def check_failure(self, job: Job) -> None:
        """Pass over a job that failed in an earlier invocation.

        Raises:
            FailedBeforeError: with the first line of its record.
        """
        if (failure := RunFolder(run_path(self.out, job.strategy, job.seed)).failure()) is not None:
            raise FailedBeforeError(f"{failure} (failed before; --retry-failed tries again)")

    def disk_fault(self) -> str | None:
        """Return what is wrong with the disk of the output folder, found out by writing there."""
        probe = self.out / f".harness-probe-{os.getpid()}"
        try:
            probe.write_bytes(b"0" * _PROBE_BYTES)
        except OSError as error:
            return f"{self.out}: {error.strerror}"
        finally:
            with suppress(OSError):
                probe.unlink(missing_ok=True)
        return None

    def keep_timings(self, job: Job) -> None:
        """Keep seconds and losses of work that no single run owns, in a folder of its own."""
        folder = RunFolder(run_path(self.out, job.strategy, job.seed))
        folder.path.mkdir(parents=True, exist_ok=True)
        _keep_beside(folder, 0, self.timer, self.log)

    def record_failure(self, job: Job, text: str) -> None:
        """Keep a traceback beside the run, if the disk still takes it."""
        with suppress(OSError):
            RunFolder(run_path(self.out, job.strategy, job.seed)).record_failure(text)


@dataclass(slots=True)
class _TimedWriter:
    folder: RunFolder
    timer: Timer
    log: LossLog
    keeps_maps: bool

    def keep_maps(self, round_number: int, maps: Sequence[ImageThumbnails]) -> None:
        """Keep the small pictures of the first seed's maps: the page shows that one."""
        self.folder.keep_maps(round_number, maps)

    def append(self, record: RoundRecord) -> None:
        """Write the seconds first: a run whose last round is there is finished, and nobody opens its files again."""
        _keep_beside(self.folder, record.round, self.timer, self.log)
        self.folder.append(record)


def _keep_beside(folder: RunFolder, round_number: int, timer: Timer, log: LossLog) -> None:
    """Keep what no result depends on: seconds by stage, and the losses of trainings."""
    folder.append_timings(round_number, timer.pop_seconds())
    for number, losses in timer.pop_losses().items():
        if losses:
            folder.append_losses(number, losses)
            log(f"{folder.path.parent.name}/{folder.path.name}/round-{number}", losses)


def _counts(train: Split) -> dict[str, Any]:
    """Return what a run's shares of pixels and clicks are shares of."""
    sizes = train.index.sizes.values()
    return {
        "totals": train.index.totals,
        "train_images": len(sizes),
        "train_px": sum(height * width for height, width in sizes),
    }


def info_template(
    spec: ExperimentSpec, train: Split, val: Split, provenance: Provenance
) -> RunInfo:
    """Return what the ``run.json`` files of a board have in common."""
    return RunInfo(
        schema_version=SCHEMA_VERSION,
        strategy="",
        equation="",
        is_bound=False,
        seed=0,
        data_fingerprint=f"{train.index.fingerprint[:32]}-{val.index.fingerprint[:32]}",
        **_counts(train),
        val_images=len(val.files),
        config_sha256=spec.digest(),
        config=spec.model_dump(mode="json", exclude={"device": True, "data": {"root"}}),
        provenance=provenance,
        device=spec.device,
        trainer_version=TRAINER_VERSION,
        simulated_clicks=train.simulated_clicks,
        class_names=list(train.class_names),
    )


def build_trainer(
    spec: ExperimentSpec,
    train: Split,
    val: Split,
    *,
    check: bool = False,
    votes: Sequence[str] = (),
    feature_folder: Path | None = None,
    feature_bytes: int = 0,
) -> SegmentorTrainer:
    """Build the trainer, and with it the model once: a bad config is refused here.

    Args:
        check: run a step and the schedules too, before any work depends on them.
        votes: names of the strategies that ask a committee, for ``check``.
        feature_folder: where processes share a frozen backbone's features.
        feature_bytes: what this process may write there.

    Raises:
        InputError: one line that names the block.
    """
    from harness.segmentor.trainer import SegmentorTrainer

    import_modules(spec)
    trainer = SegmentorTrainer(
        spec,
        train_split=train,
        val_split=val,
        feature_folder=feature_folder,
        feature_bytes=feature_bytes,
    )
    if check:
        pool, schedule = len(train.files), schedule_of(spec)
        bought = (schedule.images(number, pool) for number in range(schedule.rounds + 1))
        trainer.check([pool, *bought], votes=votes)
    return trainer


def check_network(
    spec: ExperimentSpec, train: Split, val: Split, asked: Sequence[Strategy]
) -> None:
    """Build the trainer of a board of these strategies once, and try it, before any work.

    Raises:
        InputError: one line that names the block.
    """
    votes = [strategy.name for strategy in asked if strategy.asks_committee]
    build_trainer(spec, train, val, check=True, votes=votes)


def import_modules(spec: ExperimentSpec) -> None:
    """Import what a config names, so that its types are registered: in worker processes too.

    Raises:
        InputError: a module that cannot be imported.
    """
    if not spec.custom_imports:
        return
    options = dict(spec.custom_imports)
    names = options.pop("imports", [])
    forgiving = options.pop("allow_failed_imports", False)
    plain = isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)
    if not plain or options or not isinstance(forgiving, bool):
        raise InputError(
            "custom_imports must be dict(imports=[names of modules], allow_failed_imports=False), "
            f"got {shorten(spec.custom_imports)}"
        )
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:
            said = one_line(f"{type(error).__name__}: {error}")
            if not forgiving:
                raise InputError(f"custom_imports must name modules, but {said}") from error


def set_up_torch(device: str, threads: int = 1, *, deterministic: bool = True) -> None:
    """Fix what results depend on besides seeds.

    Threads, and algorithms that give the same bits each time.

    On a GPU an operation that has no such algorithm is named in a warning; ours are all written so
    that they have one: up-sampling is two matrix products, since the backward of torch's own adds
    in any order.
    """
    import torch

    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic, warn_only=device != "cpu")
    # nothing of ours reads memory that was not written: filling it took a tenth of a step
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = not deterministic


def build_experiment(
    spec: ExperimentSpec,
    identities: Sequence[str],
    out: Path,
    provenance: Provenance,
    *,
    map_bytes: int | None = None,
    feature_bytes: int = 0,
    data_fingerprint: str | None = None,
) -> ExperimentContext:
    """Build the experiment of this process.

    Args:
        map_bytes: what the region maps of one pass may take on disk.
        feature_bytes: what this process may write of a frozen backbone's features.
        data_fingerprint: of the data that the command read.

    Raises:
        InputError: this process reads other data.
    """
    import strategies

    set_up_torch(spec.device, provenance.threads, deterministic=provenance.deterministic)
    import_modules(spec)
    train, val = open_splits(spec.data)
    timer, counters = Timer(), Counters()
    info = info_template(spec, train, val, provenance)
    if data_fingerprint not in {None, info.data_fingerprint}:
        raise InputError(
            f"must read the data that the command reads, fingerprint {data_fingerprint}, "
            f"got {info.data_fingerprint}"
        )
    superpixels = superpixels_of(train, out / WORK_FOLDER)
    rules = rules_of(spec, superpixels)
    store_key = f"{info.data_fingerprint} {rules} {spec.annotator!r} {spec.device}"
    return ExperimentContext(
        out=out,
        oracle=oracle_of(spec, train, superpixels),
        sizes=train.index.sizes,
        schedule=schedule_of(spec),
        rules=rules,
        strategies={strategy.name: strategy for strategy in map(strategies.make, identities)},
        networks=NetworkStore(
            build_trainer(
                spec,
                train,
                val,
                feature_folder=out / WORK_FOLDER / FEATURE_FOLDER,
                feature_bytes=feature_bytes,
            ),
            out / WORK_FOLDER,
            data_fingerprint=store_key,
            stage=timer.stage,
            counters=counters,
            map_bytes=map_bytes,
            note_losses=timer.note_losses,
        ),
        timer=timer,
        counters=counters,
        info=info,
        log=loss_log(spec.vis_backends, out / "vis"),
        first_seed=min(spec.harness.seeds),
        train=train,
        pool_per_seed=spec.harness.pool_per_seed,
    )
