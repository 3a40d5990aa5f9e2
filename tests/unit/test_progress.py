import time

import pytest

from harness.bench import Event, Job, JobResult
from harness.cli.progress import Progress

SHARED, RUN = Job("shared", "seed-set", 0), Job("run", "random-region", 0)


@pytest.fixture
def now(monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    return clock


def test_the_time_left_comes_from_the_steps_that_are_done(now, capsys):
    with Progress({SHARED: [100.0], RUN: [300.0, 600.0]}) as progress:
        now[0] += 100.0
        progress.ended(JobResult(SHARED, seconds=100.0))
        now[0] += 200.0
        progress.report(Event(RUN, 1, "done"))
        assert progress._time_left() == "8 min left"  # 600 of 1000 steps are left after 300 s
        progress.ended(JobResult(RUN, seconds=5.0, error="no"))
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "[1/2] seed-set seed 0: done in 100 s, 15 min left",
        "[2/2] random-region seed 0: failed in 5 s",
    ]


def test_nothing_is_estimated_from_the_first_moments(now, capsys):
    with Progress({SHARED: [1.0], RUN: [99.0]}) as progress:
        now[0] += 60.0
        progress.ended(JobResult(SHARED, seconds=60.0))
    assert capsys.readouterr().out == "[1/2] seed-set seed 0: done in 60 s\n"
