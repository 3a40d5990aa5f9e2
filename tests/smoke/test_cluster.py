"""A board on a Dask scheduler: a real one, its workers processes of their own, killed in the middle."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

pytest.importorskip("distributed", reason="extra [cluster]")

pytestmark = pytest.mark.slow

NAMES = "random-region,entropy-region,cereals-g2-entropy"


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def wait_until(condition, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing came of it"
        time.sleep(0.05)


class Processes:
    """A scheduler and workers, each in a session of its own."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.environment = folder, environment
        self.port = free_port()
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.all: list[subprocess.Popen] = []

    def _start(self, log: str, *arguments: str, host: Path | None = None) -> subprocess.Popen:
        own = {} if host is None else {"HARNESS_CACHE": str(host / "cache"), "TMPDIR": str(host)}
        with (self.folder / log).open("ab") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                cwd=host or self.folder,
                env={**self.environment, **own},
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
        self.all.append(process)
        return process

    def scheduler(self) -> subprocess.Popen:
        return self._start(
            "scheduler.log",
            "distributed.cli.dask_scheduler",
            *("--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard"),
        )

    def worker(self, name: str, *more: str) -> subprocess.Popen:
        """Start a worker as on a machine of its own: its own cache, temporary and current folder."""
        own = self.folder / f"host-{name}"
        own.mkdir(exist_ok=True)
        return self._start(
            f"{name}.log",
            "distributed.cli.dask_worker",
            *(self.address, "--nthreads", "1", "--name", name, "--no-dashboard"),
            *("--host", "127.0.0.1", "--local-directory", str(own / "scratch"), *more),
            host=own,
        )

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    @staticmethod
    def kill(process: subprocess.Popen) -> None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def processes(tmp_path, cache):
    place = tmp_path / "processes"
    place.mkdir()
    started = Processes(place, {**os.environ, "HARNESS_CACHE": str(cache)})
    yield started
    for process in started.all:
        started.kill(process)


def rounds(out: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(out)): file.read_bytes()
        for file in out.glob("runs/*/seed-*/rounds.jsonl")
    }


@pytest.fixture
def board(harness, tiny_config):
    return ("bench", "--config", str(tiny_config), "--strategies", NAMES)


@pytest.fixture
def alone(board_of):
    """The same board by one process."""
    return rounds(board_of(NAMES) / "out")


@contextmanager
def running(command):
    try:
        yield command
    finally:
        with suppress(ProcessLookupError):
            os.killpg(command.pid, signal.SIGKILL)
        command.communicate()


def test_workers_of_a_scheduler_do_a_board_byte_for_byte_though_they_come_late_and_die(
    harness, board, alone, processes
):
    out = harness.folder / "out"
    processes.scheduler()
    first = processes.worker("first")
    with running(harness.start(*board, "--scheduler", processes.address)) as command:
        wait_until(lambda: list(out.glob("runs/*/seed-0/rounds.jsonl")))
        processes.worker("second")
        wait_until(lambda: "Registered to" in processes.log("second"))
        told = harness("status", "out")
        assert told.returncode == 0
        assert "of 8 runs finished" in told.stdout
        processes.kill(first)
        said, complaints = command.communicate(timeout=240)
    assert command.returncode == 0, complaints
    assert rounds(out) == alone
    assert "cereals-g2-entropy seed 1: done" in said
    assert (out / "leaderboard.md").exists()
    ended = harness("status", "out").stdout
    assert ended == "8 of 8 runs finished, 0 running, 0 failed, 0 waiting\n"
    assert not list((out / ".harness-work").glob("plan.json"))


def test_a_board_goes_on_after_its_scheduler_was_killed(harness, board, alone, processes):
    out = harness.folder / "out"
    scheduler = processes.scheduler()
    workers = [processes.worker("first"), processes.worker("second")]
    with running(harness.start(*board, "--scheduler", processes.address)) as command:
        wait_until(lambda: len(list(out.glob("runs/*/seed-*/rounds.jsonl"))) >= 3)
        processes.kill(scheduler)
        _, complaints = command.communicate(timeout=120)
    assert command.returncode == 1
    assert complaints.splitlines()[-1].endswith(
        "is gone; the same command goes on where it stopped"
    )
    for worker in workers:
        processes.kill(worker)
    processes.scheduler()
    processes.worker("third")
    done = harness(*board, "--scheduler", processes.address)
    assert done.returncode == 0, done.stderr
    assert rounds(out) == alone


def test_an_interrupted_command_leaves_the_workers_free(harness, board, alone, processes):
    out = harness.folder / "out"
    processes.scheduler()
    processes.worker("only")
    with running(harness.start(*board, "--scheduler", processes.address)) as command:
        wait_until(lambda: list(out.glob("runs/*/seed-*/rounds.jsonl")))

        def interrupt() -> bool:
            """Press Ctrl-C, as a person does: again where it seems to have no effect."""
            os.kill(command.pid, signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                command.wait(20)
            return command.poll() is not None

        wait_until(interrupt, 60)
        command.communicate(timeout=60)
    assert command.returncode == 130
    from distributed import Client

    with Client(processes.address, timeout=20, set_as_default=False) as client:
        wait_until(lambda: not any(client.processing().values()))
        wait_until(lambda: len(client.scheduler_info()["workers"]) == 1)
    done = harness(*board, "--scheduler", processes.address)
    assert done.returncode == 0, done.stderr
    assert rounds(out) == alone


def test_two_commands_on_one_scheduler_share_a_board(harness, board, alone, processes):
    processes.scheduler()
    processes.worker("first")
    processes.worker("second")
    both = [harness.start(*board, "--scheduler", processes.address) for _ in range(2)]
    codes = [command.communicate(timeout=240) and command.returncode for command in both]
    assert codes == [0, 0]
    assert rounds(harness.folder / "out") == alone


@pytest.mark.parametrize("number", ["workers: 2", "adapt: {maximum: 2}"])
def test_a_cluster_file_starts_workers_and_ends_them(harness, board, alone, number):
    (harness.folder / "here.yaml").write_text(f"manager: local\n{number}\n")
    done = harness(*board, "--cluster", "here.yaml")
    assert done.returncode == 0, done.stderr
    assert rounds(harness.folder / "out") == alone


def test_a_worker_that_cannot_do_the_work_is_refused_before_any(harness, board, processes):
    processes.scheduler()
    processes.worker("odd", "--nthreads", "2")
    done = harness(*board, "--scheduler", processes.address)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.endswith("must have one thread (dask worker --nthreads 1), got 2")
    assert not list((harness.folder / "out").glob("runs/*"))


def test_a_worker_that_comes_later_and_cannot_do_the_work_is_sent_away(
    harness, board, alone, processes
):
    processes.scheduler()
    processes.worker("good")
    with running(harness.start(*board, "--scheduler", processes.address)) as command:
        wait_until(lambda: list((harness.folder / "out").glob("runs/*/seed-0/rounds.jsonl")))
        processes.worker("odd", "--nthreads", "2", "--no-nanny")
        _, complaints = command.communicate(timeout=240)
    assert command.returncode == 0, complaints
    assert "got 2; it is sent away" in complaints
    assert rounds(harness.folder / "out") == alone


def test_no_scheduler_there_is_one_line(harness, board):
    done = harness(*board, "--scheduler", f"tcp://127.0.0.1:{free_port()}")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(
        "harness: --scheduler must be the address of a Dask scheduler"
    )


def test_only_one_may_do_the_runs(harness, board):
    done = harness(*board, "--scheduler", "tcp://127.0.0.1:1", "--cluster", "here.yaml")
    assert done.returncode == 2
    assert "only one of --executor, --scheduler and --cluster may be given" in done.stderr
    done = harness(*board, "--workers", "3", "--scheduler", "tcp://127.0.0.1:1")
    assert done.returncode == 2
    assert "--workers must not be given with --scheduler or --cluster" in done.stderr


def test_a_port_of_something_else_is_one_line(harness, board):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        done = harness(*board, "--scheduler", f"tcp://127.0.0.1:{silent.getsockname()[1]}")
    assert done.returncode == 2
    assert "--scheduler must be the address of a Dask scheduler" in done.stderr.splitlines()[-1]


def test_a_claim_that_no_command_holds_any_more_is_waited_for(harness, board, alone, processes):
    """As of a worker that is leaving, or whose command was killed."""
    from filelock import FileLock

    processes.scheduler()
    processes.worker("only")
    claims = harness.folder / "out" / ".harness-work" / "claims"
    claims.mkdir(parents=True)
    held = FileLock(claims / "random-region_seed_1.claim")
    held.acquire()
    with running(harness.start(*board, "--scheduler", processes.address)) as command:
        done = "runs/*/seed-*/rounds.jsonl"
        wait_until(lambda: len(list((harness.folder / "out").glob(done))) == len(alone) - 1)
        time.sleep(5)
        assert command.poll() is None
        held.release()
        _, complaints = command.communicate(timeout=120)
    assert command.returncode == 0, complaints
    assert rounds(harness.folder / "out") == alone
    assert (harness.folder / "out" / "leaderboard.md").exists()


def test_a_study_is_searched_by_all_workers_of_a_scheduler(harness, tiny_config, processes):
    config = harness.folder / "tiny_tune.py"
    config.write_text(
        f"_base_ = [{str(tiny_config)!r}]\n"
        "tune = dict(strategy=['cereals-g3-entropy'], parameters=dict(alpha=(0.0, 1.0)),"
        " seeds=[100, 101], trials=6)\n"
    )
    processes.scheduler()
    for name in ("first", "second"):
        processes.worker(name)
        wait_until(lambda name=name: "Registered to" in processes.log(name))
    done = harness("tune", "--config", str(config), "--scheduler", processes.address)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert sum(line.startswith("trial ") for line in lines) == 6
    assert sum(line.startswith("study tiny_tune: ") for line in lines) == 3  # two workers, and this
    assert any(line.startswith("Best of 6 trials") for line in lines)
    assert "optimism (tuned score minus reported score)" in done.stdout
    assert (harness.folder / "tuning" / "report.json").exists()


SCRIPT = Path(__file__).parents[2] / "docs" / "examples" / "slurm-array.sh"


def test_the_parts_of_an_array_share_a_board_without_a_scheduler(harness, board, alone):
    """As Slurm starts them: each part runs the script in the folder it was submitted from."""
    environment = {
        **harness.environment,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "SLURM_SUBMIT_DIR": str(harness.folder),
    }
    parts = [
        subprocess.Popen(
            ["bash", str(SCRIPT), *board[1:]],
            cwd="/",
            env={**environment, "SLURM_ARRAY_TASK_ID": str(part)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for part in range(2)
    ]
    said = [part.communicate(timeout=240)[0] for part in parts]
    assert [part.returncode for part in parts] == [0, 0], said
    assert rounds(harness.folder / "out") == alone
    assert (harness.folder / "out" / "leaderboard.md").exists()
    directives = [line for line in SCRIPT.read_text().splitlines() if line.startswith("#SBATCH")]
    assert "#SBATCH --array=0-7" in directives


@pytest.mark.parametrize("seed", range(max(1, int(os.environ.get("HARNESS_MANY_KILLS", "5")) // 5)))
def test_workers_killed_again_and_again_at_random_lose_nothing(
    harness, board, alone, processes, seed
):
    """Five kills each; HARNESS_MANY_KILLS=50 for ten times as many."""
    rng = random.Random(seed)
    processes.scheduler()
    alive = [processes.worker("first"), processes.worker("second")]
    kills = 0
    with running(harness.start(*board, "--scheduler", processes.address)) as command:
        wait_until(lambda: list((harness.folder / "out").glob("runs/*/seed-*")))
        while command.poll() is None and kills < 5:
            time.sleep(rng.uniform(0.1, 3.0))
            processes.kill(alive.pop(rng.randrange(len(alive))))
            kills += 1
            alive.append(processes.worker(f"later-{kills}"))
        _, complaints = command.communicate(timeout=400)
    assert command.returncode == 0, complaints
    assert kills >= 2
    assert rounds(harness.folder / "out") == alone
