"""What may be tuned: a strategy, its own parameters, window side and stride."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

import optuna

import strategies
from harness.blocks import Tune
from harness.config import ExperimentSpec
from harness.errors import InputError, shorten

Value = str | int | float


@dataclass(frozen=True, slots=True)
class Choice:
    """One point of the space: a strategy's identity, and the window rules of the whole board."""

    strategy: str
    window: int
    stride: int


@dataclass(frozen=True, slots=True)
class Space:
    """The space that a config declares; a parameter belongs only to the strategies that have it."""

    tune: Tune
    window: int
    stride: int
    committee: int

    @classmethod
    def of(cls, spec: ExperimentSpec) -> Space:
        """Read and check the ``tune`` block.

        Raises:
            InputError: no such block, an unknown strategy, a parameter that no strategy has,
                a value that stands twice, nothing to choose.
        """
        if spec.tune is None:
            raise InputError(
                f"config {spec.name} has no tune block; add one with strategy, parameters, "
                "window, seeds (docs/guide/tuning.md)"
            )
        for key in ("strategy", "window", "stride", "seeds"):
            values = getattr(spec.tune, key)
            if twice := [value for value in values if values.count(value) > 1]:
                raise InputError(f"tune.{key} must name each value once, got {twice[0]!r} twice")
        space = cls(spec.tune, spec.harness.window, spec.harness.stride, spec.harness.committee)
        known = {name: space._parameters(name) for name in spec.tune.strategy}
        for parameter in spec.tune.parameters:
            if not any(parameter in own for own in known.values()):
                raise InputError(
                    f"tune.parameters has {shorten(parameter)}, which none of {', '.join(known)} "
                    "has; see harness strategies"
                )
        if (
            not spec.tune.parameters
            and max(map(len, (spec.tune.strategy, spec.tune.window, spec.tune.stride))) < 2
        ):
            raise InputError(
                "the tune block leaves nothing to choose; give it parameters, or two or more of "
                "strategy, window or stride"
            )
        for name, own in known.items():
            for end in (0, 1):
                space.choice(
                    {"strategy": name}
                    | {
                        key: type(default)(spec.tune.parameters[key][end])
                        for key, default in own.items()
                    }
                )
        return space

    def _parameters(self, strategy: str) -> dict[str, float | int]:
        """Return the tuned parameters that a strategy has, with their defaults.

        A whole number where it takes one.
        """
        if "[" in strategy or "+" in strategy:
            raise InputError(
                "tune.strategy must be names without parameters and modifiers (bounds go to "
                f"tune.parameters), got {shorten(strategy)}"
            )
        strategies.make(strategy)
        own = inspect.signature(strategies.available()[strategy]).parameters
        found: dict[str, float | int] = {}
        for name in filter(own.__contains__, self.tune.parameters):
            default = own[name].default
            if default is not None and type(default) not in {int, float}:
                raise InputError(
                    "tune.parameters must name numbers with a default, such as alpha or passes, "
                    f"got {shorten(name)} of {strategy}"
                )
            found[name] = (
                self.committee if default is None else default
            )  # no committee size of its own: the config's
        return found

    def defaults(self) -> dict[str, Value]:
        """Return trial 0: the first strategy with its own defaults, moved into the bounds, and the config's window and stride."""
        values: dict[str, Value] = self._categories(self.tune.strategy[0], self.window, self.stride)
        for name, default in self._parameters(self.tune.strategy[0]).items():
            low, high = self.tune.parameters[name]
            values[name] = type(default)(min(max(default, low), high))
        return values

    def _categories(self, strategy: str, window: int, stride: int) -> dict[str, Value]:
        given: dict[str, tuple[Value, tuple[Value, ...]]] = {
            "strategy": (strategy, self.tune.strategy),
            "window": (window, self.tune.window),
            "stride": (stride, self.tune.stride),
        }
        return {name: value for name, (value, choices) in given.items() if len(choices) > 1}

    def suggest(self, trial: optuna.Trial) -> dict[str, Value]:
        """Ask Optuna for a point."""
        values: dict[str, Value] = {}
        for name, choices in (
            ("strategy", self.tune.strategy),
            ("window", self.tune.window),
            ("stride", self.tune.stride),
        ):
            if len(choices) > 1:
                values[name] = trial.suggest_categorical(name, choices)
        for name, default in self._parameters(
            str(values.get("strategy", self.tune.strategy[0]))
        ).items():
            low, high = self.tune.parameters[name]
            whole = isinstance(default, int)
            values[name] = (
                trial.suggest_int(name, round(low), round(high))
                if whole
                else trial.suggest_float(name, low, high)
            )
        return values

    def grid(self) -> dict[str, list[Value]]:
        """Return the points of a sweep along each axis.

        ``tune.grid_points`` of a float between its bounds.

        Raises:
            InputError: several strategies of which not all have every parameter.
        """
        own = {name: self._parameters(name) for name in self.tune.strategy}
        if any(set(parameters) != set(self.tune.parameters) for parameters in own.values()):
            raise InputError(
                "a grid needs every tuned parameter in every tuned strategy; give --sampler "
                "tpe, or tune one strategy"
            )
        axes: dict[str, list[Value]] = {
            name: list(choices)
            for name, choices in (
                ("strategy", self.tune.strategy),
                ("window", self.tune.window),
                ("stride", self.tune.stride),
            )
            if len(choices) > 1
        }
        for name, default in own[self.tune.strategy[0]].items():
            low, high = self.tune.parameters[name]
            if isinstance(default, int):
                axes[name] = list(range(round(low), round(high) + 1))
            else:
                steps = self.tune.grid_points - 1
                axes[name] = [low + (high - low) * step / steps for step in range(steps + 1)]
        return axes

    def choice(self, values: dict[str, Value]) -> Choice:
        """Turn a point into a strategy's identity and window rules.

        Choice: a float parameter counts to four digits.
        """
        name = str(values.get("strategy", self.tune.strategy[0]))
        own = ",".join(f"{key}={_four_digits(values[key])}" for key in self._parameters(name))
        identity = strategies.make(f"{name}[{own}]" if own else name).name
        return Choice(
            identity, int(values.get("window", self.window)), int(values.get("stride", self.stride))
        )


def _four_digits(value: Value) -> Value:
    return float(f"{value:.4g}") if isinstance(value, float) else value
