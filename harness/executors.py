"""Who does the jobs of a board: the worker processes of this machine, or what a package brings."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from importlib.metadata import entry_points

from harness import workers
from harness.bench import Job
from harness.errors import InputError, one_line, shorten

ENTRY_POINT_GROUP = "harness.executors"

Executor = Callable[..., list[Job]]
"""``run_jobs(make_experiment, jobs, *, workers, report, ended, gpus, stay)``.

See ``harness.workers.run_jobs``.

It calls ``make_experiment()`` once in each process that works,
``harness.bench.execute(experiment, job, report)`` for each job there, and ``ended(result)`` here; a
run waits for the job of its seed whose kind is "shared". It returns the jobs that it left to others.
"""


def find_executor(name: str) -> Executor:
    """Return an executor: ``local``, one that a package registers, or ``module:function``.

    Raises:
        InputError: there is none of that name, or it cannot be imported.
    """
    if name == "local":
        return workers.run_jobs
    points = {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
    module, colon, function = name.partition(":")
    if name not in points and not (module and colon and function):
        known = ", ".join(sorted(["local", *points]))
        raise InputError(f"--executor must be {known} or MODULE:FUNCTION, got {shorten(name)}")
    try:
        if name in points:
            found = points[name].load()
        else:
            found = getattr(importlib.import_module(module), function)
    except Exception as error:
        said = one_line(f"{type(error).__name__}: {error}")
        raise InputError(f"--executor {shorten(name)} cannot be loaded ({said})") from error
    if not callable(found):
        raise InputError(f"--executor {shorten(name)} must be a function, got {shorten(found)}")
    return found  # type: ignore[no-any-return]
