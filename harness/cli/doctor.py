"""``harness doctor``: are these run folders whole?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def doctor(
    out: Annotated[Path, typer.Argument(help="A folder that harness bench wrote.")] = Path("out"),
    mend: Annotated[
        bool,
        typer.Option("--mend", help="Mend what can be mended; a copy of what is changed is kept."),
    ] = False,
) -> int:
    """Check every file of every run: checksums, round numbers, bills, budgets, leftovers.

    Exit code 1 while something is wrong.
    """
    from harness import doctor as ward
    from harness.claims import alone
    from harness.results import find_runs

    findings = list(ward.examine(out))
    left = 0
    if mend and findings:
        with alone(out):
            for finding in ward.examine(out):
                done = ward.mend(finding)
                left += not done
                typer.echo(
                    f"{finding.path}: {finding.problem}; {'mended: ' + str(finding.cure) if done else 'cannot be mended: delete the run'}"
                )
    else:
        left = len(findings)
        for finding in findings:
            typer.echo(
                f"{finding.path}: {finding.problem}; {'--mend would ' + finding.cure if finding.cure else 'delete the run, it starts again'}"
            )
    typer.echo(f"{len(find_runs(out))} runs examined, {len(findings)} problems, {left} left")
    return 1 if left else 0
