"""Kills the command line at chosen points: each command runs in a forked child of one process that has imported everything.

The product has no hooks for this: in the child, and only there, a function is wrapped so that a call of it ends the process.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

POINTS = {
    "labelling": "harness.data.cityscapes:ClickOracle.annotate",
    "describing a run": "harness.results:write_text",
    "a training step": "harness.segmentor.runner:_FiniteLoss.after_train_iter",
    "keeping a checkpoint": "harness.segmentor.checkpoint:Checkpoints.keep",
    "training the cost head": "harness.segmentor.trainer:train_cost_head",
    "evaluation": "harness.segmentor.network:TrainedNetwork._validate",
    "saving weights": "harness.segmentor.network:TrainedNetwork.save",
    "finding networks again": "harness.segmentor.trainer:SegmentorTrainer.load",
    "predicting an image": "harness.segmentor.network:TrainedNetwork.predict",
    "keeping a region map": "harness.maps:DiskMaps.put",
    "reading a region map": "harness.maps:DiskMaps.get",
    "selecting": "harness.loop:acquire",
    "appending a line": "harness.results:_append_line",
    "a renamed file": "os:replace",
    "a synced file": "os:fsync",
    "writing the leaderboard": "harness.cli.publish:write_board",
}
"""Name -> module:attribute. Each can stop the process before or after its n-th call."""


def _child(order: dict[str, Any]) -> None:
    os.chdir(order["cwd"])
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    from harness.segmentor import checkpoint

    checkpoint.EVERY_S = 0.0
    if order.get("tables") is False:  # figures take longer than the runs
        publish = importlib.import_module("harness.cli.publish")
        publish.write_board = lambda *_, **__: None
    if order.get("small_disk"):  # the start would refuse a disk so small
        importlib.import_module("harness.estimate")._RESERVE_BYTES = 0
        importlib.import_module("harness.experiment")._SMALLEST_FREE_BYTES = 0
    if order.get("point"):
        _arm(
            POINTS[order["point"]],
            order["call"],
            after=order.get("after", False),
            error=order.get("error"),
        )
    if order.get("torn"):
        _tear(order["torn"])
    if order.get("clock"):
        moments = iter(range(10**9, 0, -1000))
        time.time = lambda: float(next(moments))
    if order.get("seconds"):
        timer = threading.Timer(order["seconds"], os.kill, (os.getpid(), signal.SIGKILL))
        timer.daemon = True
        timer.start()
    sys.argv = ["harness", *order["arguments"]]
    from harness.cli.main import main

    try:
        main()
    except SystemExit as end:
        sys.stdout.flush()
        os._exit(end.code if isinstance(end.code, int) else 1)
    os._exit(0)


def _arm(place: str, call: int, *, after: bool, error: int | None = None) -> None:
    module, _, path = place.partition(":")
    owner: Any = importlib.import_module(module)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    real, calls = getattr(owner, name), [0]

    def counting(*arguments: Any, **named: Any) -> Any:
        calls[0] += 1
        if calls[0] == call and error is not None:
            raise OSError(error, os.strerror(error), "out/runs")
        if calls[0] == call and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*arguments, **named)
        if calls[0] == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, counting)


def _tear(call: int) -> None:
    """Write only the first half of the n-th line, then die."""
    from harness import results

    calls = [0]
    real = results._append_line

    def tearing(path: Path, line: str) -> None:
        calls[0] += 1
        if calls[0] < call:
            real(path, line)
            return
        with path.open("ab") as stream:
            stream.write(line.encode()[: len(line) // 2])
            stream.flush()
            os.kill(os.getpid(), signal.SIGKILL)

    results._append_line = tearing


def _serve() -> None:
    import torch

    torch.set_num_threads(1)
    for name in (
        "harness.cli.bench",
        "harness.cli.publish",
        "harness.invocation",
        "harness.segmentor.trainer",
        "harness.publish.figures",
    ):
        importlib.import_module(name)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _child(json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


class Faults:
    """A process that runs commands in forked children and kills them where it is told to."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**environment, "OMP_NUM_THREADS": "1"},
            cwd=Path(__file__).parent.parent,
        )

    def run(self, folder: Path, *arguments: str, **fault: Any) -> int:
        """Run one command; return its exit code, -9 when it was killed.

        Args:
            fault: point, call and after (see ``POINTS``), or torn (the line that is cut), or seconds (until it is killed),
                or point, call and error (an errno that is raised there), or clock=True (it runs backwards); none of them without it. ``tables=False`` leaves the leaderboard out.
        """
        assert self._process.stdin
        assert self._process.stdout
        order = {
            "arguments": list(arguments),
            "cwd": str(folder),
            "log": str(folder / "log.txt"),
            **fault,
        }
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()


def random_faults(seed: int, longest_s: float) -> list[dict[str, Any]]:
    """Return faults in a random order that depends on the seed: some at points, some at moments."""
    rng = random.Random(seed)
    often = [
        name for name in POINTS if name not in {"finding networks again", "writing the leaderboard"}
    ]
    points = [
        {"point": rng.choice(often), "call": rng.randint(1, 3), "after": rng.random() < 0.5}
        for _ in range(3)
    ]
    return rng.sample(
        [
            *points,
            {"seconds": rng.uniform(0.02, longest_s)},
            {"seconds": rng.uniform(0.02, longest_s)},
        ],
        5,
    )


if __name__ == "__main__":
    started = time.monotonic()
    _serve()
