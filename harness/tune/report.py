"""A study as files: all trials, figures, and a config with what was chosen."""

from __future__ import annotations

import pprint
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from harness.blocks import Tuned
from harness.config import COMPUTED, ExperimentSpec
from harness.drawing import save
from harness.files import write_text
from harness.tune.search import Objective
from harness.tune.space import Space

_FEWEST_FOR_IMPORTANCES = 6


@dataclass(frozen=True, slots=True)
class Findings:
    """What a study came to: the trials that count, the default's and the best one (of a Pareto front: the highest AUBC)."""

    objective: Objective
    trials: list[FrozenTrial]
    default: FrozenTrial | None
    best: FrozenTrial

    @property
    def ended(self) -> list[FrozenTrial]:
        """Trials that ran to their end."""
        return [trial for trial in self.trials if trial.state == TrialState.COMPLETE]


def find(study: optuna.Study, space: Space, objective: Objective) -> Findings | None:
    """Return the findings of a study; None while no trial has ended."""
    trials = study.get_trials(deepcopy=False)
    ended = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    if not ended:
        return None
    sign = -1.0 if objective == "c95" else 1.0
    best = max(ended, key=lambda trial: (sign * trial.values[0], -trial.number))
    default = next((trial for trial in ended if trial.params == space.defaults()), None)
    return Findings(objective, trials, default, best)


def importances(study: optuna.Study, findings: Findings) -> dict[str, float]:
    """Return how much each parameter decides (PED-ANOVA).

    Empty where trials are too few or have different parameters.
    """
    if len(findings.ended) < _FEWEST_FOR_IMPORTANCES or len(study.directions) > 1:
        return {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return dict(get_param_importances(study, evaluator=PedAnovaImportanceEvaluator()))
    except (ValueError, RuntimeError):
        return {}


def to_markdown(
    name: str, findings: Findings, deciding: dict[str, float], lines: list[str], path: Path
) -> None:
    """Write the study's page: what came out, then every trial in its order."""
    names = sorted({name for trial in findings.trials for name in trial.params})
    columns = ["trial", *names, *findings.objective.split(","), "state"]
    text = [f"# Tuning: {name}", "", *[f"- {line}" for line in lines], ""]
    if deciding:
        shares = ", ".join(f"{name} {100 * value:.0f} %" for name, value in deciding.items())
        text += [f"Share of the differences that each parameter decides (PED-ANOVA): {shares}.", ""]
    text += [
        "A value in brackets is that of a pruned trial after its first seeds; it cannot be "
        "compared with the others.",
        "",
    ]
    text += ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for trial in findings.trials:
        values = [_value(trial, number) for number in range(len(findings.objective.split(",")))]
        cells = [
            str(trial.number),
            *(_short(trial.params.get(name)) for name in names),
            *values,
            trial.state.name.lower(),
        ]
        text.append("| " + " | ".join(cells) + " |")
    text += [
        "",
        *[f"![{file.stem}]({file.name})" for file in sorted(path.parent.glob("*.png"))],
        "",
    ]
    write_text(path, "\n".join(text))


def _value(trial: FrozenTrial, number: int) -> str:
    """Return a trial's value; that of a pruned trial is of its first seeds only, and stands in brackets."""
    if not trial.values:
        return "-"
    return (
        f"({trial.values[number]:.4f})"
        if trial.state == TrialState.PRUNED
        else f"{trial.values[number]:.4f}"
    )


def _short(value: Any) -> str:
    return "-" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def to_csv(study: optuna.Study, path: Path) -> None:
    """Write all trials, as Optuna lays them out."""
    frame = study.trials_dataframe(
        attrs=(
            "number",
            "state",
            "value" if len(study.directions) == 1 else "values",
            "params",
            "user_attrs",
        )
    )
    frame = frame[
        [column for column in frame.columns if not column.startswith("user_attrs_harness:")]
    ]
    write_text(path, frame.to_csv(index=False, lineterminator="\n"))


def draw(study: optuna.Study, findings: Findings, folder: Path) -> list[Path]:
    """Draw Optuna's figures: the history, the contour of two parameters, or the Pareto front."""
    mpl.use("Agg")
    import optuna.visualization.matplotlib as pictures

    names = sorted({name for trial in findings.ended for name in trial.params})
    written = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if len(study.directions) > 1:
            written.append(
                _save(
                    pictures.plot_pareto_front(study, target_names=findings.objective.split(",")),
                    folder / "pareto.png",
                )
            )
        else:
            written.append(_save(pictures.plot_optimization_history(study), folder / "history.png"))
            if len(names) >= 2 and len(findings.ended) >= 3:
                written.append(
                    _save(pictures.plot_contour(study, params=names[:2]), folder / "contour.png")
                )
            elif names:
                written.append(
                    _save(pictures.plot_slice(study, params=names[:1]), folder / "slice.png")
                )
    return written


def _save(axes: Any, path: Path) -> Path:
    import matplotlib.pyplot as plt

    figure = axes.figure
    save(figure, path, bbox_inches="tight")
    plt.close(figure)
    return path


def tuned_config(spec: ExperimentSpec, tuned: Tuned, path: Path) -> None:
    """Write a config file that stands alone: the given board's, with the tuned strategy named."""
    blocks = spec.model_dump(
        mode="python",
        exclude={"name", "device", "tune", "tuned", *COMPUTED},
    )
    rooted = isinstance(blocks["data"], dict) and blocks["data"].pop("root", None) is not None
    root = " --data-root DIR" if rooted else ""
    text = [
        f"# Found by harness tune in {tuned.trials} trials; run it with: harness bench "
        f"--strategies all --config {path}{root}",
        "",
    ]
    for name, block in {**blocks, "tuned": tuned.model_dump(mode="python")}.items():
        text += [f"{name} = {pprint.pformat(block, width=120, sort_dicts=False)}", ""]
    write_text(path, "\n".join(text))
