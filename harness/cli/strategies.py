"""``harness strategies``: what there is, with the paper's equations."""

from __future__ import annotations

import inspect
import sys


def list_strategies() -> None:
    """List every strategy with one line and its equation."""
    from rich.console import Console
    from rich.table import Table

    from strategies import available, make

    table = Table(box=None, pad_edge=False)
    for column in (
        "strategy",
        "score, higher is asked for earlier",
        "what it asks for",
        "parameters",
    ):
        table.add_column(column, no_wrap=column == "strategy")
    for name, factory in available().items():
        strategy = make(name)
        parameters = ", ".join(
            f"{key}={parameter.default}"
            for key, parameter in inspect.signature(factory).parameters.items()
        )
        table.add_row(
            name,
            strategy.equation,
            strategy.summary + (" (bound)" if strategy.is_bound else ""),
            parameters.replace("passes=None", "passes=<config>"),
        )
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    console.print(table)
    console.print(
        "I, C: window sums, scaled to [0, 1] over the pool. Set a parameter as in cereals-g3-entropy[alpha=0.3].",
        markup=False,
    )
