"""What one tuning trial is.

A strategy with its window rules, run on tuning images with tuning seeds, sharing all that it can.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock

import strategies
from harness.acquisition import Counters
from harness.bench import Job, Timer
from harness.config import ExperimentSpec
from harness.data.cityscapes import Split
from harness.errors import InputError
from harness.experiment import (
    WORK_FOLDER,
    ExperimentContext,
    build_trainer,
    info_template,
    loss_log,
    oracle_of,
    rules_of,
    schedule_of,
    superpixels_of,
)
from harness.loop import draw_seed_set, run_full_data, run_strategy
from harness.networks import NetworkStore
from harness.pool import LabelledPool
from harness.protocols import RunWriter
from harness.provenance import Provenance
from harness.publish.board import LEVELS, budget_share, curve_of
from harness.results import Run, read_run, read_timings, run_path
from harness.scoring import aubc, mean_iou, share_at
from harness.superpixels import Superpixels
from harness.tune.search import Objective, Report
from harness.tune.space import Choice, Space, Value
from harness.types import FULL_DATA, ImageThumbnails, RoundRecord

SoFar = Callable[[Run], None]
"""Takes the run so far, after each round."""


def tuning_splits(train: Split, share: float) -> tuple[Split, Split]:
    """Cut TRAIN into images to buy from and images to score on.

    Whole cities, the last ones by name until ``share`` is reached.

    Choice: where there is one folder only, every k-th image is for scoring. The validation split is
    never touched.

    Raises:
        InputError: too few images to cut.
    """
    cities = train.cities
    wanted = max(1, round(share * len(train.files)))
    scored: list[str] = []
    if len(cities) > 1:
        for city in reversed(cities):
            if len(scored) < wanted:
                scored += cities[city]
    else:
        scored = list(train.files)[:: max(2, round(1 / share))]
    bought = sorted(set(train.files) - set(scored))
    if not bought:
        raise InputError(
            f"tune.city_share must leave a training image to tune on, got {share}; give less, or "
            "more cities"
        )
    return train.only(bought), train.only(scored)


def score(run: Run, objective: Objective, threshold: float | None) -> float:
    """Return the value of a run's curve so far.

    AUBC over clicks, or the share of clicks at 95 % of the full-data mIoU.

    Choice: a curve that does not reach it counts 1 + how far it stayed below, relative to the
    threshold: worse than any that does.
    """
    curve = curve_of(run)
    if objective == "c95":
        if threshold is None:
            raise ValueError("the full-data reference is missing")
        reached = share_at(curve.over_clicks(), threshold)
        return reached if reached is not None else 1.0 + (threshold - max(curve.miou)) / threshold
    end = budget_share(run, len(run.rounds) - 1)
    return aubc(curve.over_clicks(), stop=max(end, curve.cost_b[0]))


@dataclass(slots=True)
class Tuner:
    """Evaluates points of the space.

    Trials share data, trainer, each seed's round 0, and region maps of equal window rules.
    """

    spec: ExperimentSpec
    out: Path
    objective: Objective
    train: Split
    val: Split
    provenance: Provenance
    map_bytes: int | None = None
    timer: Timer = field(default_factory=Timer)
    counters: Counters = field(default_factory=Counters)
    _store: NetworkStore | None = None
    _superpixels: Superpixels = field(init=False)

    def __post_init__(self) -> None:
        self._superpixels = superpixels_of(self.train, self.out / WORK_FOLDER)

    @property
    def seeds(self) -> Sequence[int]:
        """Tuning seeds."""
        return self.spec.tune.seeds if self.spec.tune else ()

    def evaluate(self, values: dict[str, Value], report: Report) -> list[float]:
        """Run one point on every tuning seed, round by round.

        Return the values of the objective.
        """
        choice = Space.of(self.spec).choice(values)
        threshold = self._threshold() if self.objective == "c95" else None
        rounds, seconds = self.spec.harness.rounds, 0.0
        done: list[float] = []
        for index, seed in enumerate(self.seeds):
            self._share_round_zero(choice, seed)
            path = run_path(self._board(choice), choice.strategy, seed)
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(path.parent / f".{path.name}.lock"):

                def so_far(run: Run, index: int = index) -> None:
                    if run.rounds[-1].round > 0:
                        values = [*done, score(run, self.objective, threshold)]
                        report(sum(values) / len(values), index * rounds + run.rounds[-1].round)

                done.append(score(self._run(choice, seed, so_far), self.objective, threshold))
                seconds += sum(sum(row.values()) - row["round"] for row in read_timings(path))
        mean = sum(done) / len(done)
        return [mean, seconds] if self.objective == "aubc-clicks,time" else [mean]

    def _board(self, choice: Choice) -> Path:
        """Return the folder of all trials with the same window rules.

        One board, which ``harness publish`` reads.
        """
        return self.out / "trials" / f"window-{choice.window}-stride-{choice.stride}"

    def _run(self, choice: Choice, seed: int, so_far: SoFar) -> Run:
        experiment = self._experiment(choice)
        job = Job("run", choice.strategy, seed)
        finished, writer = experiment.open_run(job)
        networks = experiment.networks.of(f"{choice.strategy}-seed-{seed}")
        path = run_path(self._board(choice), choice.strategy, seed)
        for number in range(1, len(finished)):
            so_far(Run(experiment.info, finished[: number + 1]))
        try:
            if len(finished) <= experiment.schedule.rounds:
                run_strategy(
                    experiment.strategies[choice.strategy],
                    seed,
                    schedule=experiment.schedule,
                    rules=experiment.rules,
                    oracle=experiment.oracle,
                    sizes=experiment.sizes,
                    networks=networks,
                    writer=_Watched(writer, experiment, list(finished), so_far),
                    finished=finished,
                    stage=self.timer.stage,
                    counters=self.counters,
                )
        finally:
            self.timer.pop_seconds()
            networks.forget()
        return read_run(path)

    def _experiment(self, choice: Choice) -> ExperimentContext:
        spec = at(self.spec, choice)
        board = self._board(choice)
        board.mkdir(parents=True, exist_ok=True)
        rules = f"{choice.window}-{choice.stride}-{spec.harness.overlap}"
        return ExperimentContext(
            out=board,
            oracle=oracle_of(spec, self.train, self._superpixels),
            sizes=self.train.index.sizes,
            schedule=schedule_of(spec),
            rules=rules_of(spec, self._superpixels),
            strategies={choice.strategy: strategies.make(choice.strategy)},
            networks=self._networks().of("nobody", rules),
            timer=self.timer,
            counters=self.counters,
            info=info_template(spec, self.train, self.val, self.provenance),
            log=loss_log(spec.vis_backends, board / "vis"),
        )

    def _networks(self) -> NetworkStore:
        """Return the one store of all trials: what is trained does not depend on window rules."""
        if self._store is None:
            key = f"{self.train.index.fingerprint} {self.val.index.fingerprint} {self.spec.annotator} {self.spec.device}"
            trainer = build_trainer(self.spec, self.train, self.val)
            self._store = NetworkStore(
                trainer,
                self.out / WORK_FOLDER,
                data_fingerprint=key,
                stage=self.timer.stage,
                counters=self.counters,
                map_bytes=self.map_bytes,
                note_losses=self.timer.note_losses,
            )
        return self._store

    def _share_round_zero(self, choice: Choice, seed: int) -> None:
        """Train each seed's first networks once, for all trials of all processes."""
        experiment, pool = self._experiment(choice), LabelledPool(self.train.index.sizes)
        query = draw_seed_set(experiment.sizes, experiment.schedule.seed_images, seed)
        pool.add(experiment.oracle.annotate([candidate.region for candidate in query], pool))
        self.out.mkdir(parents=True, exist_ok=True)
        with FileLock(self.out / f".seed-{seed}.lock"):
            experiment.networks.get_or_train(pool, seed, 0, with_cost=True)
        self.counters.trainings_asked -= 1
        self.timer.pop_seconds()

    def _threshold(self) -> float:
        """Return 95 % of the full-data mIoU on the tuning images, trained once for each seed."""
        found = []
        choice = Choice(
            "random-region", self.spec.harness.window, self.spec.harness.stride
        )  # the reference asks by no strategy
        for seed in self.seeds:
            path = run_path(self._board(choice), FULL_DATA, seed)
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(path.parent / f".{path.name}.lock"):
                experiment = self._experiment(choice)
                finished, writer = experiment.open_run(Job("full-data", FULL_DATA, seed))
                if not finished:
                    run_full_data(
                        seed,
                        oracle=experiment.oracle,
                        sizes=experiment.sizes,
                        networks=experiment.networks,
                        writer=writer,
                    )
            found.append(mean_iou(read_run(path).rounds[0].areas))
        return LEVELS[-1] * sum(found) / len(found)


def at(spec: ExperimentSpec, choice: Choice) -> ExperimentSpec:
    """Return a config with a point's window rules, without its tune block."""
    protocol = spec.harness.model_copy(update={"window": choice.window, "stride": choice.stride})
    return spec.model_copy(update={"harness": protocol, "tune": None})


@dataclass(slots=True)
class _Watched:
    """A writer that also shows the curve so far.

    What it wrote stays, so a trial that is tried again goes on there.
    """

    writer: RunWriter
    experiment: ExperimentContext
    records: list[RoundRecord]
    so_far: SoFar
    keeps_maps: bool = False

    def keep_maps(self, round_number: int, maps: Sequence[ImageThumbnails]) -> None:
        """Keep none: nobody looks at the maps of a trial."""

    def append(self, record: RoundRecord) -> None:
        """Keep the record, then show it: whoever watches may end the run here."""
        self.writer.append(record)
        self.records.append(record)
        self.so_far(Run(self.experiment.info, self.records))
