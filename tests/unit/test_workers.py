"""Who does what when: order, shared work, other processes, memory, dying workers. The jobs here do no work but what they say."""

import functools
import os
import signal
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness import workers
from harness.acquisition import Counters
from harness.bench import Job, JobResult, Timer
from harness.errors import FailedBeforeError, InputError, RunError
from harness.workers import Queue, run_jobs

SHARED, OTHER = Job("shared", "seed-set", 0), Job("shared", "seed-set", 1)
RUNS = [Job("run", name, seed) for seed in (0, 1) for name in ("a", "b")]
REFERENCE = Job("full-data", "full-data", 0)


class Notes:
    """An experiment that writes down which job came when, in which process."""

    def __init__(
        self, folder: Path, *, seconds: float = 0.0, deadly: str = "", refuse: str = ""
    ) -> None:
        if refuse:
            raise {
                "input": InputError("no such data"),
                "disk": OSError(28, "No space left on device"),
                "bug": ValueError("what\nnow"),
            }[refuse]
        self.folder, self.seconds, self.deadly = folder, seconds, deadly
        self.timer, self.counters = Timer(), Counters()

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
            stream.write(
                f"{time.monotonic()} {os.getpid()} {os.environ.get('CUDA_VISIBLE_DEVICES', '-')} start {job.title}\n"
            )
        time.sleep(self.seconds)
        with (self.folder / "notes").open("a") as stream:
            stream.write(
                f"{time.monotonic()} {os.getpid()} {os.environ.get('CUDA_VISIBLE_DEVICES', '-')} end {job.title}\n"
            )

    def turn_to(self, seed: int) -> None:
        """All seeds have the same pool."""

    def check_failure(self, job: Job) -> None:
        self.note(job)
        raise FailedBeforeError("noted")

    def open_run(self, job: Job):
        self.note(job)
        raise FailedBeforeError("noted")

    def keep_timings(self, job: Job) -> None:
        """Keep nothing."""


def do(
    folder: Path, jobs: list[Job], number: int, *, gpus=(), stay=True, **options
) -> list[JobResult]:
    results: list[JobResult] = []
    run_jobs(
        functools.partial(Notes, folder, **options),
        jobs,
        workers=number,
        report=lambda _event: None,
        ended=results.append,
        gpus=gpus,
        stay=stay,
    )
    return results


def notes(folder: Path) -> list[list[str]]:
    return [line.split(" ", 4) for line in (folder / "notes").read_text().splitlines()]


# --------------------------------------------------------------------------------------------------------------- queue


def take(queue: Queue) -> Job | None:
    job = queue.next()
    if job is not None:
        queue.start(job)
    return job


def test_a_run_waits_for_the_shared_work_of_its_seed_alone():
    queue = Queue([SHARED, *RUNS, REFERENCE])
    assert take(queue) == SHARED
    assert take(queue) == RUNS[2]  # of seed 1, which shares nothing
    assert take(queue) == RUNS[3]
    assert take(queue) == REFERENCE
    assert take(queue) is None
    queue.complete(JobResult(SHARED))
    assert [take(queue), take(queue), take(queue)] == [*RUNS[:2], None]


def test_what_another_process_has_comes_again_later(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    queue = Queue([SHARED, *RUNS[:2]])
    assert take(queue) == SHARED
    assert not queue.complete(JobResult(SHARED, is_claimed_elsewhere=True))
    assert take(queue) is None  # its runs wait for the other process, too
    now[0] += 3.0
    assert take(queue) == SHARED
    assert queue.complete(JobResult(SHARED))
    assert take(queue) == RUNS[0]


def test_what_a_dead_worker_had_comes_last():
    queue = Queue(RUNS[:3])
    assert [take(queue), take(queue)] == RUNS[:2]
    queue.requeue(RUNS[0])
    assert queue.waiting == [RUNS[2], RUNS[0]]
    assert queue.running == {RUNS[1]}


# -------------------------------------------------------------------------------------------------------------- memory


@pytest.fixture
def has_room(monkeypatch):
    """Return a function that makes workers that hold given memory, on a machine with some left, and returns whether another one fits."""

    def room(held: list[tuple[bool, float]], available: float, *, size: int = 2) -> bool:
        made = workers._WorkerPool(Notes, size, ())
        made._workers = [
            SimpleNamespace(job=RUNS[0] if busy else None, process=SimpleNamespace(pid=number))
            for number, (busy, _) in enumerate(held)
        ]
        monkeypatch.setattr(
            workers, "private_bytes", lambda _pids: [int(gb * 2**30) for _, gb in held]
        )
        monkeypatch.setattr(workers, "available_bytes", lambda: int(available * 2**30))
        return made._has_room()

    return room


def test_one_worker_alone_always_has_room(has_room):
    assert has_room([], 0.1)
    assert has_room([(False, 3.0)], 0.1)


def test_an_idle_worker_brings_its_own_memory(has_room):
    assert has_room([(True, 2.0), (False, 2.0)], 0.5)
    assert not has_room([(True, 2.0)], 0.5)
    assert has_room([(True, 2.0)], 2.1)


def test_a_worker_that_has_just_begun_counts_as_large_as_it_will_be(has_room):
    assert has_room([(True, 0.0)], 2.1)
    assert not has_room([(True, 0.0), (True, 0.0)], 2.9, size=3)
    assert not has_room(
        [(True, 3.0), (True, 0.5)], 5.0, size=3
    )  # the second may grow to 3, and so may a third


# ------------------------------------------------------------------------------------------------------------ processes


def test_one_worker_works_here_and_asks_again_for_what_was_claimed_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "_ASK_AGAIN_S", 0.1)
    monkeypatch.setattr(workers, "_LISTEN_S", 0.05)
    (tmp_path / f"held {RUNS[0].title}").touch()
    results = do(tmp_path, RUNS, 1)
    assert [result.job for result in results] == [*RUNS[1:], RUNS[0]]
    assert {int(line[1]) for line in notes(tmp_path)} == {os.getpid()}


@pytest.mark.parametrize("number", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_what_others_are_at_is_left_to_them(tmp_path, monkeypatch, number):
    """A process with nothing left to do ends, and gives its GPU back."""
    monkeypatch.setattr(workers, "_LISTEN_S", 0.05)
    (tmp_path / f"held {RUNS[0].title}").touch()
    results = do(tmp_path, RUNS, number, stay=False)
    assert {result.job for result in results} == set(RUNS[1:])


@pytest.mark.slow
def test_workers_share_the_jobs_and_runs_start_after_what_they_share(tmp_path):
    results = do(tmp_path, [SHARED, OTHER, *RUNS], 2, seconds=0.3)
    assert {result.job for result in results} == {SHARED, OTHER, *RUNS}
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
    results = do(tmp_path, RUNS, 2, seconds=0.2)
    assert [result.job for result in results] == RUNS
    assert [line[3] for line in notes(tmp_path)] == ["start", "end"] * len(RUNS)
    assert capsys.readouterr().err.count("memory is short") == 1


@pytest.mark.slow
def test_when_a_worker_is_killed_the_others_go_on_and_its_job_comes_last(tmp_path, capsys):
    """The death is noticed at once, while the other worker is at a long job, which it is not disturbed in."""
    jobs = [RUNS[1], RUNS[0], *RUNS[2:]]
    results = do(tmp_path, jobs, 2, seconds=1.0, deadly="b seed 0")
    assert [result.job for result in results] == [RUNS[0], *RUNS[2:], RUNS[1]]
    assert [line[3] for line in notes(tmp_path)] == ["start", "end"] * len(
        jobs
    )  # nothing was begun twice
    said = capsys.readouterr().err
    assert (
        said
        == "harness: a worker process died (SIGKILL), perhaps for want of memory; going on with 1\n"
    )


@pytest.mark.slow
def test_when_the_last_worker_is_killed_the_board_stops_with_one_line(tmp_path):
    jobs = [RUNS[0], *(Job("run", "b", seed) for seed in range(3))]
    with pytest.raises(
        RunError, match="and it was the last one; the same command goes on where it stopped"
    ):
        do(tmp_path, jobs, 2, deadly="b")
    assert [line[4] for line in notes(tmp_path) if line[3] == "end"] == [RUNS[0].title]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "raised", "message"),
    [
        ("input", InputError, "no such data"),
        ("disk", OSError, "No space left"),
        ("bug", RunError, "a worker cannot start: ValueError: what"),
    ],
)
def test_why_a_worker_cannot_start_is_said_once(tmp_path, kind, raised, message, capsys):
    with pytest.raises(raised, match=message):
        do(tmp_path, RUNS, 2, refuse=kind)
    assert capsys.readouterr().err == ""
