"""``harness status``: how far is a board, and where does it run?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.streams import AsJson

if TYPE_CHECKING:
    from harness.status import Status


def status(
    out: Annotated[Path, typer.Argument(help="The folder of a board.")] = Path("out"),
    as_json: AsJson = False,
) -> int:
    """Say what of a board is finished, what runs where, what failed, and how long the rest takes.

    From its files alone, so on any machine that sees the folder. Exit code 1 while a run has failed.
    """
    from harness.status import read_status

    found = read_status(out)
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=1))
    else:
        for line in _described(found):
            typer.echo(line)
    return 1 if found.of("failed") else 0


def _described(found: Status) -> Iterator[str]:
    counts = {state: len(found.of(state)) for state in ("running", "failed", "waiting")}
    states = ", ".join(f"{count} {state}" for state, count in counts.items())
    yield f"{len(found.of('finished'))} of {len(found.runs)} runs finished, {states}"
    for who in found.at_shared_work:
        yield f"running: what the runs of a seed share, on {who}"
    for run in found.of("running"):
        yield (
            f"running: {run.strategy} seed {run.seed}, round {run.rounds} of {run.last_round}, "
            f"on {run.holder}"
        )
    for run in found.of("failed"):
        yield f"failed: {run.strategy} seed {run.seed}: {run.failure}"
    if found.seconds_left:
        minutes = found.seconds_left / 60
        if found.at_work:
            yield f"about {_format_minutes(minutes / found.at_work)} left, with {found.at_work} at work"
        else:
            yield f"about {_format_minutes(minutes)} left for one process, and none is at work"


def _format_minutes(minutes: float) -> str:
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} hours"
