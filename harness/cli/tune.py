"""``harness tune``: find strategy parameters and window rules with Optuna, then report them on other images and seeds."""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from filelock import FileLock, Timeout

from harness.cli.machine import Machine, check_machine
from harness.errors import InputError, shorten

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from harness.acquisition import Tally
    from harness.blocks import Tuned
    from harness.cli.tuning import Tuner
    from harness.config import ExperimentSpec
    from harness.tune.report import Findings
    from harness.tune.search import Objective
    from harness.tune.space import Choice, Space

_WORK = "harness:work:"
_SAMPLER_SEED = 0


def tune(
    config: Annotated[Path, typer.Option(help="A config with a tune block.")] = Path(
        "streets_tune"
    ),
    trials: Annotated[
        int | None,
        typer.Option(help="How many; the config's without it; a grid has its own number."),
    ] = None,
    objective: Annotated[
        str, typer.Option(help="aubc-clicks, c95, or aubc-clicks,time for a Pareto front.")
    ] = "aubc-clicks",
    sampler: Annotated[str, typer.Option(help="tpe, or grid for a sweep.")] = "tpe",
    pruner: Annotated[str, typer.Option(help="median, hyperband or none.")] = "median",
    out: Annotated[Path, typer.Option(help="Where trials, tables and figures go.")] = Path(
        "tuning"
    ),
    storage: Annotated[
        str | None,
        typer.Option(help="A journal file or an Optuna URL; a journal in --out without it."),
    ] = None,
    write: Annotated[
        Path | None, typer.Option(help="The tuned config; configs/tuned/NAME.py without it.")
    ] = None,
    report: Annotated[
        bool,
        typer.Option(help="Run default and tuned parameters on the reporting seeds at the end."),
    ] = True,
    grace: Annotated[
        float,
        typer.Option(help="Seconds without a beat after which another process's trial is dead."),
    ] = 60.0,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Processes of the report; for more of the search, start the command again."
        ),
    ] = None,
    disk_gb: Annotated[float, typer.Option(help="Disk for region maps.")] = 20.0,
    data_root: Annotated[
        Path | None, typer.Option(help="Cityscapes' folder, for configs that read it.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda.")] = None,
) -> int:
    """Tune a strategy on training images and seeds of its own; several processes may work on one study."""
    _one_of("--sampler", sampler, ("tpe", "grid"))
    _one_of("--pruner", pruner, ("median", "hyperband", "none"))
    _one_of("--objective", objective, ("aubc-clicks", "c95", "aubc-clicks,time"))
    if trials is not None and not 1 <= trials <= 1_000_000:
        raise InputError(f"--trials must be from 1 to 1000000, got {shorten(trials)}")
    machine = check_machine(workers, disk_gb, device)
    from harness.config import load_spec
    from harness.tune.search import SHORTEST_GRACE_S

    if not SHORTEST_GRACE_S <= grace <= 1e6:
        raise InputError(
            f"--grace must be from {SHORTEST_GRACE_S:g} to 1000000 seconds, got {grace}"
        )

    spec = load_spec(config, data_root=data_root, device=device)
    study = _Study(spec, cast("Objective", objective), out, machine)
    study.search(
        storage or str(out / "study.journal"),
        trials,
        cast("Any", sampler),
        cast("Any", pruner),
        grace,
    )
    return study.conclude(write or Path("configs/tuned") / f"{spec.name}.py", report=report)


def _one_of(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InputError(f"{option} must be {' or '.join(allowed)}, got {shorten(value)}")


class _Study:
    """One invocation: a share of the search, then the report, which the first process to get there writes."""

    def __init__(
        self, spec: ExperimentSpec, objective: Objective, out: Path, machine: Machine
    ) -> None:
        import strategies
        from harness.cli.tuning import Tuner, tuning_splits
        from harness.cli.workshop import check_sizes
        from harness.data.source import open_splits
        from harness.provenance import collect
        from harness.tune.space import Space

        self.spec, self.objective, self.out, self.machine = spec, objective, out, machine
        self.space: Space = Space.of(spec, strategies)
        self.tune = self.space.tune
        train, _ = open_splits(spec.data)
        bought, scored = tuning_splits(train, self.tune.city_share)
        for window in self.tune.window or (spec.harness.window,):
            check_sizes(
                spec.model_copy(
                    update={"harness": spec.harness.model_copy(update={"window": window})}
                ),
                bought.index.sizes,
                len(train.class_names),
                scored.index.sizes,
            )
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

    # --------------------------------------------------------------------------------------------------------- search

    def search(
        self, storage: str, trials: int | None, sampler: Any, pruner: Any, grace_s: float
    ) -> None:
        """Do trials until the study has enough of them."""
        from harness.cli.workshop import set_up_torch
        from harness.results import TRAINER_VERSION
        from harness.tune.search import Search, bound_to, open_storage, open_study

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
        typer.echo(
            f"study {self.spec.name}: {len(tuner.train.files)} training images to buy from, {len(tuner.val.files)} to score on, "
            f"seeds {', '.join(map(str, tuner.seeds))}; val is not touched"
        )
        start = time.monotonic()

        def ended(trial: FrozenTrial) -> None:
            work = {**asdict(tuner.tally), "seconds": time.monotonic() - start}
            self.study.set_user_attr(self._me, work)
            self._say(trial)

        wanted = 0 if sampler == "grid" else trials if trials is not None else self.tune.trials
        Search(self.study, self.space, tuner.evaluate, wanted, ended, grace_s).run()

    def _say(self, trial: FrozenTrial) -> None:
        from harness.tune.report import find

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
        typer.echo(f"trial {trial.number}: {point}: {values}{best}")

    # ----------------------------------------------------------------------------------------------------- conclusion

    def conclude(self, write: Path, *, report: bool) -> int:
        """Write tables, figures and the tuned config; then report on other seeds. One process does it, the others leave."""
        from harness.tune.report import draw, find, importances, to_csv, to_markdown, tuned_config

        try:
            with FileLock(self.out / ".report.lock").acquire(timeout=0):
                findings = find(self.study, self.space, self.objective)
                if findings is None:
                    raise InputError(
                        f"study {self.spec.name}: no trial has ended; allowed: more trials, or --pruner none"
                    )
                chosen = self.space.choice(findings.best.params)
                tuned = self._tuned(chosen, findings)
                from harness.cli.tuning import at

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
            typer.echo("another process writes the report")
            return 0
        for line in lines:
            typer.echo(line)
        typer.echo(f"wrote {self.out / 'tuning.md'}, trials.csv, figures, and {write}")
        return 0

    def _work(self) -> tuple[Tally, float]:
        """Return what all processes asked for and did, and their hours."""
        from harness.acquisition import Tally

        tally, seconds = Tally(), 0.0
        for name, work in self.study.user_attrs.items():
            if name.startswith(_WORK):
                seconds += work["seconds"]
                tally += Tally(**{key: value for key, value in work.items() if key != "seconds"})
        return tally, seconds / 3600

    def _tuned(self, chosen: Choice, findings: Findings) -> Tuned:
        from harness.blocks import Tuned

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
            f"Best of {len(states)} trials ({counts}): {chosen.strategy}, window {chosen.window}, stride {chosen.stride}; "
            f"{self.objective} {', '.join(f'{value:.4f}' for value in findings.best.values)} on tuning images and seeds."
        ]
        if default is not None:
            gain = findings.best.values[0] - default.values[0]
            lines.append(
                f"Default parameters (trial {default.number}): {default.values[0]:.4f}; the best is {gain:+.4f} from there."
            )
        lines.append(
            f"Shared: {work.trainings_asked} trainings asked for, {work.trainings_run} run; "
            f"{work.images_asked} image predictions asked for, {work.images_predicted} run; {hours:.2f} hours in all processes."
        )
        return lines

    def _report(self, findings: Findings, chosen: Choice, tuned: Tuned) -> list[str]:
        """Run default and tuned parameters with the reporting seeds on all of TRAIN, scored on val."""
        from harness.cli.bench import Bench
        from harness.cli.tuning import at
        from harness.publish.board import build_board

        default = self.space.choice(self.space.defaults())
        found: dict[str, float] = {}
        for name, choice in (("default", default), ("tuned", chosen)):
            spec = at(self.spec, choice).model_copy(update={"tuned": tuned})
            folder = self.out / "report" / f"window-{choice.window}-stride-{choice.stride}"
            if code := Bench(spec, [choice.strategy], folder, self.machine).start():
                raise InputError(
                    f"the report could not be finished (exit code {code}); the same command goes on there"
                )
            row = next(row for row in build_board(folder).rows if row.strategy == choice.strategy)
            if self.objective != "c95":
                found[name] = row.aubc_clicks.mean
            elif row.c95 is not None and row.c95.value is not None:
                found[name] = row.c95.value
        if len(found) < 2:
            return [
                f"On the reporting seeds {', '.join(map(str, self.spec.harness.seeds))} and val: c95 is not reached; see {self.out / 'report'}."
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
        from harness.files import write_text

        write_text(self.out / "report.json", json.dumps(document, indent=1) + "\n")
        return [
            f"On the reporting seeds {', '.join(map(str, self.spec.harness.seeds))} and val: default {found['default']:.4f}, tuned {found['tuned']:.4f}, "
            f"a gain of {gain:+.4f}; optimism (tuned score minus reported score) {optimism:+.4f}, which holds the difference between the images, too."
        ]
