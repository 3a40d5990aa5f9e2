"""``harness strategies``: what there is, with the paper's equations."""

from __future__ import annotations

from harness.cli.publish import console_width


def list_strategies() -> None:
    """List every strategy with one line and its equation."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from strategies import available, make, parameters_of, plugins

    added = plugins()
    table = Table(box=None, pad_edge=False)
    for column in (
        "strategy",
        "score, higher is asked for earlier",
        "what it asks for",
        "parameters",
    ):
        table.add_column(column, no_wrap=column == "strategy")
    for name, factory in available().items():
        own = parameters_of(factory)
        wanted = [key for key, item in own.items() if item.default is item.empty]
        parameters = ", ".join(
            f"{key}=..." if key in wanted else f"{key}={item.default}" for key, item in own.items()
        ).replace("passes=None", "passes=<config>")
        origin = f" (of {added.code[name].rpartition(' ')[0]})" if name in added.code else ""
        if wanted:
            table.add_row(name, "", f"needs a parameter{origin}", escape(parameters))
            continue
        strategy = make(name)
        bound = " (bound)" if strategy.is_bound else ""
        table.add_row(
            name,
            escape(strategy.equation),
            escape(strategy.summary + bound + origin),
            escape(parameters),
        )
    console = Console(highlight=False, width=console_width())
    console.print(table)
    console.print(
        "I, C: window sums, scaled to [0, 1] over the pool. Set a parameter as in cereals-g3-entropy[alpha=0.3].",
        markup=False,
    )
