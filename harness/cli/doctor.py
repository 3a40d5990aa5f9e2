"""``harness doctor``: are these run folders whole?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.streams import AsJson


def doctor(
    out: Annotated[Path, typer.Argument(help="A folder that harness bench wrote.")] = Path("out"),
    mend: Annotated[
        bool,
        typer.Option(
            "--mend", help="Repair what can be repaired; a copy of what is changed is kept."
        ),
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Check every file of every run: checksums, round numbers, bills, budgets, leftovers.

    Exit code 1 while something is wrong.
    """
    from harness.claims import alone
    from harness.doctor import examine, repair
    from harness.results import find_runs

    findings = list(examine(out))
    repaired = [False] * len(findings)
    if mend and findings:
        with alone(out):
            both = [(finding, repair(finding)) for finding in examine(out)]
        findings, repaired = [item for item, _ in both], [done for _, done in both]
    left = len(findings) - sum(repaired)
    runs = len(find_runs(out))
    if as_json:
        rows = [
            {"path": str(item.path), "problem": item.problem, "cure": item.fix, "mended": done}
            for item, done in zip(findings, repaired, strict=True)
        ]
        typer.echo(json.dumps({"runs": runs, "problems": rows, "left": left}, indent=1))
        return 1 if left else 0
    for finding, done in zip(findings, repaired, strict=True):
        if done:
            said = f"repaired: {finding.fix}"
        elif mend:
            said = "cannot be repaired: delete the run"
        else:
            said = (
                f"--mend would {finding.fix}" if finding.fix else "delete the run, it starts again"
            )
        typer.echo(f"{finding.path}: {finding.problem}; {said}")
    typer.echo(f"{runs} runs examined, {len(findings)} problems, {left} left")
    return 1 if left else 0
