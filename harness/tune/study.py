"""One invocation of ``harness tune``: a share of the search, then the report."""

from __future__ import annotations

import itertools
import json
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.trial import FrozenTrial

import strategies
from harness.acquisition import Counters
from harness.blocks import Tuned
from harness.config import ExperimentSpec
from harness.data.source import open_splits
from harness.errors import InputError
from harness.executors import Executor
from harness.experiment import (
    check_network,
    check_seed_sets,
    check_sizes,
    import_modules,
    schedule_of,
    set_up_torch,
)
from harness.files import write_text
from harness.invocation import Invocation
from harness.machine import Machine
from harness.provenance import collect
from harness.publish.board import build_board
from harness.publish.write import write_board
from harness.results import TRAINER_VERSION
from harness.tune.report import (
    Findings,
    draw,
    find,
    importances,
    to_csv,
    to_markdown,
    tuned_config,
)
from harness.tune.search import Objective, Search, bound_to, open_storage, open_study
from harness.tune.space import Choice, Space
from harness.tune.trials import Tuner, at, tuning_splits

_WORK = "harness:work:"
_SAMPLER_SEED = 0


class Study:
    """A share of the search, then the report, which the first process to get there writes."""

    def __init__(
        self,
        spec: ExperimentSpec,
        objective: Objective,
        out: Path,
        machine: Machine,
        *,
        say: Callable[[str], None],
        executor: str | Executor = "local",
    ) -> None:
        self.executor = executor
        self.spec, self.objective, self.out, self.machine = spec, objective, out, machine
        self._print = say
        self.space: Space = Space.of(spec)
        self.tune = self.space.tune
        train, val = open_splits(spec.data)
        bought, scored = tuning_splits(train, self.tune.city_share)
        if schedule_of(spec).rounds < 1:
            raise InputError(
                "harness.rounds must be 1 or more to tune on: without a query all trials are alike, "
                "got 0"
            )
        windows = self.tune.window or (spec.harness.window,)
        strides = self.tune.stride or (spec.harness.stride,)
        for window, stride in itertools.product(windows, strides):
            changes = {"window": window, "stride": stride}
            point = spec.model_copy(update={"harness": spec.harness.model_copy(update=changes)})
            for first, second in ((bought, scored), (train, val)):
                check_sizes(point, first.index.sizes, len(train.class_names), second.index.sizes)
        own = spec.harness.model_copy(update={"seeds": self.tune.seeds, "pool_per_seed": None})
        check_seed_sets(spec.model_copy(update={"harness": own}), bought)
        asked = strategies.parse_list(",".join(self.tune.strategy))
        for first, second in ((bought, scored), (train, val)):
            check_network(spec, first, second, asked)
        self.tuner: Tuner = Tuner(
            spec,
            out,
            objective,
            bought,
            scored,
            collect(1, spec.device),
            int(machine.disk_gb * 1e9 / 4),
        )
        self.study: optuna.Study
        self._me = f"{_WORK}{uuid.uuid4().hex[:12]}"

    # --------------------------------------------------------------------------------------- search

    def search(
        self, storage: str, trials: int | None, sampler: Any, pruner: Any, grace_s: float
    ) -> None:
        """Do trials until the study has enough of them."""
        set_up_torch(self.spec.device)
        tuner = self.tuner
        space = self.tune.model_dump(mode="json", exclude={"trials", "grid_points"})
        data = f"{tuner.train.index.fingerprint} {tuner.val.index.fingerprint}"
        self.study = open_study(
            open_storage(storage),
            self.spec.name,
            self.space,
            self.objective,
            bound_to(self.spec.digest(), space, data, self.objective, TRAINER_VERSION),
            sampler=sampler,
            pruner=pruner,
            seed=_SAMPLER_SEED,
            lock=self.out / ".study.lock",
        )
        self._print(
            f"study {self.spec.name}: {len(tuner.train.files)} training images to buy from, "
            f"{len(tuner.val.files)} to score on, "
            f"seeds {', '.join(map(str, tuner.seeds))}; val is not touched"
        )
        start = time.monotonic()

        def ended(trial: FrozenTrial) -> None:
            work = {**asdict(tuner.counters), "seconds": time.monotonic() - start}
            self.study.set_user_attr(self._me, work)
            self._say(trial)

        wanted = 0 if sampler == "grid" else trials if trials is not None else self.tune.trials
        Search(self.study, self.space, tuner.evaluate, wanted, ended, grace_s).run()

    def _say(self, trial: FrozenTrial) -> None:

        findings = find(self.study, self.space, self.objective)
        values = ", ".join(f"{value:.4f}" for value in trial.values or ())
        if trial.state.name == "PRUNED":
            values = f"pruned at {values}"
        if trial.state.name == "FAIL":
            values = "failed: the objective is not a finite number"
        best = (
            f"; best so far {findings.best.values[0]:.4f} (trial {findings.best.number})"
            if findings
            else ""
        )
        point = ", ".join(
            f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}"
            for name, value in trial.params.items()
        )
        self._print(f"trial {trial.number}: {point}: {values}{best}")

    # ----------------------------------------------------------------------------------- conclusion

    def conclude(self, write: Path, *, report: bool) -> None:
        """Write tables, figures and the tuned config; then report on other seeds.

        One process does it, the others leave.
        """
        try:
            with FileLock(self.out / ".report.lock").acquire(timeout=0):
                findings = find(self.study, self.space, self.objective)
                if findings is None:
                    raise InputError(
                        f"study {self.spec.name}: no trial has ended; give more trials, or "
                        "--pruner none"
                    )
                chosen = self.space.choice(findings.best.params)
                tuned = self._tuned(chosen, findings)

                tuned_config(at(self.spec, chosen), tuned, write)
                lines = [*self._lines(findings, chosen), f"The tuned config: {write}"]
                if report:
                    lines += self._report(findings, chosen, tuned)
                draw(self.study, findings, self.out)
                to_csv(self.study, self.out / "trials.csv")
                to_markdown(
                    self.spec.name,
                    findings,
                    importances(self.study, findings),
                    lines,
                    self.out / "tuning.md",
                )
        except Timeout:
            self._print("another process writes the report")
            return
        for line in lines:
            self._print(line)
        self._print(f"wrote {self.out / 'tuning.md'}, trials.csv, figures, and {write}")

    def _work(self) -> tuple[Counters, float]:
        """Return what all processes asked for and did, and their hours."""
        counters, seconds = Counters(), 0.0
        for name, work in self.study.user_attrs.items():
            if name.startswith(_WORK):
                seconds += work["seconds"]
                counters += Counters(
                    **{key: value for key, value in work.items() if key != "seconds"}
                )
        return counters, seconds / 3600

    def _tuned(self, chosen: Choice, findings: Findings) -> Tuned:

        clicks = self.tuner.train.index.totals.polygon + self.tuner.val.index.totals.polygon
        return Tuned(
            strategy=chosen.strategy,
            trials=sum(trial.state.is_finished() for trial in findings.trials),
            objective=self.objective,
            clicks=clicks,
            hours=round(self._work()[1], 3),
            seeds=self.tune.seeds,
        )

    def _lines(self, findings: Findings, chosen: Choice) -> list[str]:
        (work, hours), states = (
            self._work(),
            [trial.state.name.lower() for trial in findings.trials],
        )
        counts = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))
        default = findings.default
        lines = [
            f"Best of {len(states)} trials ({counts}): {chosen.strategy}, window {chosen.window}, "
            f"stride {chosen.stride}; "
            f"{self.objective} {', '.join(f'{value:.4f}' for value in findings.best.values)} on "
            "tuning images and seeds."
        ]
        if default is not None:
            gain = findings.best.values[0] - default.values[0]
            lines.append(
                f"Default parameters (trial {default.number}): {default.values[0]:.4f}; the best "
                f"is {gain:+.4f} from there."
            )
        lines.append(
            f"Shared: {work.trainings_asked} trainings asked for, {work.trainings_run} run; "
            f"{work.images_asked} image predictions asked for, {work.images_predicted} run; "
            f"{hours:.2f} hours in all processes."
        )
        return lines

    def _report(self, findings: Findings, chosen: Choice, tuned: Tuned) -> list[str]:
        """Run default and tuned parameters with the reporting seeds, on all of TRAIN and val."""
        default = self.space.choice(self.space.defaults())
        found: dict[str, float] = {}
        for name, choice in (("default", default), ("tuned", chosen)):
            spec = at(self.spec, choice).model_copy(update={"tuned": tuned})
            folder = self.out / "report" / f"window-{choice.window}-stride-{choice.stride}"
            board = Invocation(
                spec, [choice.strategy], folder, self.machine, executor=self.executor
            )
            ending = board.run(publish=write_board)
            if ending.failed:
                raise InputError(
                    f"the report could not be finished ({ending.failed[0].error}); the same "
                    "command goes on there"
                )
            row = next(row for row in build_board(folder).rows if row.strategy == choice.strategy)
            if self.objective != "c95":
                found[name] = row.aubc_clicks.mean
            elif row.c95 is not None and row.c95.value is not None:
                found[name] = row.c95.value
        if len(found) < 2:
            return [
                f"On the reporting seeds {', '.join(map(str, self.spec.harness.seeds))} and val: "
                f"c95 is not reached; see {self.out / 'report'}."
            ]
        sign = -1.0 if self.objective == "c95" else 1.0
        gain, optimism = (
            sign * (found["tuned"] - found["default"]),
            sign * (findings.best.values[0] - found["tuned"]),
        )
        document = {
            "default": found["default"],
            "tuned": found["tuned"],
            "gain": gain,
            "optimism": optimism,
            "choice": asdict(chosen),
        }

        write_text(self.out / "report.json", json.dumps(document, indent=1) + "\n")
        return [
            f"On the reporting seeds {', '.join(map(str, self.spec.harness.seeds))} and val: "
            f"default {found['default']:.4f}, tuned {found['tuned']:.4f}, "
            f"a gain of {gain:+.4f}; optimism (tuned score minus reported score) {optimism:+.4f}, "
            "which holds the difference between the images, too."
        ]


def share_of_search(
    spec: ExperimentSpec,
    objective: Objective,
    out: Path,
    machine: Machine,
    options: tuple[str, int | None, Any, Any, float],
    say: Callable[[str], None],
) -> None:
    """Do trials of a study in this process until it has enough; what a worker of a cluster does.

    Args:
        options: as ``Study.search`` takes them.
    """
    import_modules(spec)
    Study(spec, objective, out, machine, say=say).search(*options)
