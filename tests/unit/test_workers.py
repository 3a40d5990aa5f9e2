"""Who does what when: order, shared work, other processes, memory, dying workers. The jobs here do no work but what they say."""

import functools
import os
import signal
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness import workers
from harness.acquisition import Tally
from harness.bench import Clock, Job, Outcome
from harness.errors import FailedBeforeError, InputError, RunError
from harness.workers import Queue, run_jobs

SHARED, OTHER = Job("shared", "seed-set", 0), Job("shared", "seed-set", 1)
RUNS = [Job("run", name, seed) for seed in (0, 1) for name in ("a", "b")]
REFERENCE = Job("full-data", "full-data", 0)


class Notes:
    """A workshop that writes down which job came when, in which process."""

    def __init__(self, folder: Path, *, seconds: float = 0.0, deadly: str = "", refuse: str = "") -> None:
        if refuse:
            raise InputError(refuse)
        self.folder, self.seconds, self.deadly = folder, seconds, deadly
        self.clock, self.tally = Clock(), Tally()

    @contextmanager
    def claim(self, job: Job):
        held = self.folder / f"held {job.title}"
        if held.exists():
            held.unlink()  # another process has it, this time
            yield False
        else:
            yield True

    def note(self, job: Job) -> None:
        fatal = self.folder / f"died of {job.title}"
        if self.deadly and job.title.startswith(self.deadly) and not fatal.exists():
            fatal.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        with (self.folder / "notes").open("a") as stream:
            stream.write(f"{time.monotonic()} {os.getpid()} {os.environ.get('CUDA_VISIBLE_DEVICES', '-')} start {job.title}\n")
        time.sleep(self.seconds)
        with (self.folder / "notes").open("a") as stream:
            stream.write(f"{time.monotonic()} {os.getpid()} {os.environ.get('CUDA_VISIBLE_DEVICES', '-')} end {job.title}\n")

    def check_failure(self, job: Job) -> None:
        self.note(job)
        raise FailedBeforeError("noted")

    def open_run(self, job: Job):
        self.note(job)
        raise FailedBeforeError("noted")

    def keep_timings(self, job: Job, seconds: dict[str, float]) -> None:
        """Keep nothing."""


def do(folder: Path, jobs: list[Job], number: int, *, gpus=(), **options) -> list[Outcome]:
    outcomes: list[Outcome] = []
    run_jobs(
        functools.partial(Notes, folder, **options), jobs, workers=number, report=lambda _event: None, ended=outcomes.append, gpus=gpus
    )
    return outcomes


def notes(folder: Path) -> list[list[str]]:
    return [line.split(" ", 4) for line in (folder / "notes").read_text().splitlines()]


# --------------------------------------------------------------------------------------------------------------- queue


def test_a_run_waits_for_the_shared_work_of_its_seed_alone():
    queue = Queue([SHARED, *RUNS, REFERENCE])
    assert queue.take() == SHARED
    assert queue.take() == RUNS[2]  # of seed 1, which shares nothing
    assert queue.take() == RUNS[3]
    assert queue.take() == REFERENCE
    assert queue.take() is None
    queue.settle(Outcome(SHARED))
    assert [queue.take(), queue.take(), queue.take()] == [*RUNS[:2], None]


def test_what_another_process_has_comes_again_later(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    queue = Queue([SHARED, *RUNS[:2]])
    assert queue.take() == SHARED
    assert not queue.settle(Outcome(SHARED, taken=True))
    assert queue.take() is None  # its runs wait for the other process, too
    now[0] += 3.0
    assert queue.take() == SHARED
    assert queue.settle(Outcome(SHARED))
    assert queue.take() == RUNS[0]


def test_what_a_dead_worker_had_comes_again_first():
    queue = Queue(RUNS[:3])
    assert queue.take() == RUNS[0]
    queue.put_back()
    assert queue.waiting == RUNS[:3]
    assert not queue.running


# ------------------------------------------------------------------------------------------------------------ processes


def test_one_worker_works_here_and_asks_again_for_what_was_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "_ASK_AGAIN_S", 0.1)
    monkeypatch.setattr(workers, "_LISTEN_S", 0.05)
    (tmp_path / f"held {RUNS[0].title}").touch()
    outcomes = do(tmp_path, RUNS, 1)
    assert [outcome.job for outcome in outcomes] == [*RUNS[1:], RUNS[0]]
    assert {int(line[1]) for line in notes(tmp_path)} == {os.getpid()}


@pytest.mark.slow
def test_workers_share_the_jobs_and_runs_start_after_what_they_share(tmp_path):
    outcomes = do(tmp_path, [SHARED, OTHER, *RUNS], 2, seconds=0.3)
    assert {outcome.job for outcome in outcomes} == {SHARED, OTHER, *RUNS}
    when = {(line[3], line[4]): float(line[0]) for line in notes(tmp_path)}
    for job in RUNS:
        assert when["start", job.title] >= when["end", f"seed-set seed {job.seed}"]
    assert len({line[1] for line in notes(tmp_path)}) == 2
    assert os.getpid() not in {int(line[1]) for line in notes(tmp_path)}


@pytest.mark.slow
def test_each_worker_knows_one_gpu(tmp_path):
    do(tmp_path, RUNS, 2, seconds=0.5, gpus=("2", "GPU-8932f937"))
    of_process = {line[1]: line[2] for line in notes(tmp_path)}
    assert sorted(of_process.values()) == ["2", "GPU-8932f937"]


@pytest.mark.slow
def test_where_memory_is_short_one_works_at_a_time(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(workers, "available_bytes", lambda: 5 * 10**8)
    outcomes = do(tmp_path, RUNS, 2, seconds=0.2)
    assert len(outcomes) == len(RUNS)
    kinds = [line[3] for line in notes(tmp_path)]
    assert kinds == ["start", "end"] * len(RUNS)
    assert "memory is short: 0.5 GB are free" in capsys.readouterr().err


@pytest.mark.slow
def test_when_a_worker_is_killed_the_others_go_on_with_its_job(tmp_path, capsys):
    outcomes = do(tmp_path, RUNS, 2, deadly="b seed 0")
    assert {outcome.job for outcome in outcomes} == set(RUNS)
    assert len([line for line in notes(tmp_path) if line[3] == "end"]) >= len(RUNS)
    assert "a worker process died, perhaps for want of memory; going on with 1" in capsys.readouterr().err


@pytest.mark.slow
def test_when_the_last_worker_is_killed_the_board_stops_with_one_line(tmp_path):
    jobs = [Job("run", "b", seed) for seed in range(3)]
    with pytest.raises(RunError, match="the last worker process died"):
        do(tmp_path, jobs, 2, deadly="b")


@pytest.mark.slow
def test_what_a_workshop_refuses_is_said(tmp_path):
    with pytest.raises(InputError, match="no such data"):
        do(tmp_path, RUNS, 2, refuse="no such data")
