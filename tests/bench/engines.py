"""Which engine for the workers of one machine: seconds until both have done a first job, and memory of each.

    python -m tests.bench.engines --repeats 3

starts two workers of each engine in turn, each of which builds the default board's experiment, and
prints medians. joblib's loky takes part where it is installed.
"""

import argparse
import functools
import importlib
import importlib.util
import os
import statistics
import tempfile
import time
from pathlib import Path

import psutil

from harness.bench import Job
from harness.config import config_path, load_spec
from harness.experiment import build_experiment
from harness.machine import limit_threads
from harness.provenance import collect
from harness.workers import run_jobs

JOBS = [Job("run", "random-region", seed) for seed in (0, 1)]


class Peak:
    """Private memory of this process and all below it, and how many they are."""

    def __init__(self) -> None:
        self.before = self._held()

    @staticmethod
    def _held() -> dict[int, int]:
        here = psutil.Process()
        found = {}
        for process in (here, *here.children(recursive=True)):
            try:
                found[process.pid] = process.memory_full_info().uss
            except psutil.Error:
                continue
        return found

    def grown(self) -> tuple[float, int]:
        """Return MB since the start, and the number of processes beside this one."""
        now = self._held()
        return (sum(now.values()) - sum(self.before.values())) / 1e6, len(now) - 1


def experiment(folder: Path):
    names = [job.strategy for job in JOBS]
    return functools.partial(
        build_experiment, load_spec(config_path("streets")), names, folder, collect(1)
    )


def work(make, folder: str, job: Job) -> int:
    make()
    Path(folder, f"here-{job.seed}").touch()
    while len(list(Path(folder).glob("here-*"))) < len(JOBS):
        time.sleep(0.01)
    return os.getpid()


def own(make, folder: str, peak: Peak) -> tuple[float, int]:
    """Ours: processes and pipes."""
    held = []
    run_jobs(
        functools.partial(Ready, make, folder),
        JOBS,
        workers=2,
        report=lambda _event: None,
        ended=lambda _result: held.append(peak.grown()),
    )
    return max(held)


class Ready:
    """An experiment that fails each job at once, when both workers have one."""

    def __init__(self, make, folder: str) -> None:
        self.real, self.folder = make(), folder
        self.timer, self.counters = self.real.timer, self.real.counters
        self.claim = self.real.claim

    def turn_to(self, seed: int) -> None:
        Path(self.folder, f"here-{seed}").touch()
        while len(list(Path(self.folder).glob("here-*"))) < len(JOBS):
            time.sleep(0.01)

    def open_run(self, job: Job):
        from harness.errors import FailedBeforeError

        raise FailedBeforeError("noted")


def dask(make, folder: str, peak: Peak) -> tuple[float, int]:
    """Dask's cluster of one machine."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        client.gather([client.submit(work, make, folder, job) for job in JOBS])
        return peak.grown()


def loky(make, folder: str, peak: Peak) -> tuple[float, int]:
    """joblib's processes."""
    with importlib.import_module("loky").ProcessPoolExecutor(2) as pool:
        for future in [pool.submit(work, make, folder, job) for job in JOBS]:
            future.result()
        return peak.grown()


def main() -> None:
    """Print a row for each engine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    limit_threads()
    engines = {"own processes and pipes": own, "dask.distributed": dask}
    if importlib.util.find_spec("loky"):
        engines["loky"] = loky
    found = {name: [] for name in engines}
    for _ in range(options.repeats):
        for name, engine in engines.items():
            with tempfile.TemporaryDirectory() as folder:
                peak, start = Peak(), time.monotonic()
                held, processes = engine(experiment(Path(folder)), folder, peak)
                found[name].append((time.monotonic() - start, held, processes))
    print("| engine | seconds to start, work and end | MB more, all processes | processes |")
    print("|---|---|---|---|")
    for name, rows in found.items():
        seconds, held, processes = (statistics.median(column) for column in zip(*rows, strict=True))
        print(f"| {name} | {seconds:.1f} | {held:.0f} | {processes:.0f} |")


if __name__ == "__main__":
    main()
