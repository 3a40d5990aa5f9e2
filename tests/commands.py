"""The command line in processes of its own, forked from one that has imported everything.

Importing torch and mmseg takes longer than a very small board. A child has its own session,
environment, folder and streams, as a command that a shell starts; ``fresh`` starts one as a shell
does.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(
    [
        "torch._dynamo",
        "harness.cli.main",
        "harness.invocation",
        "harness.segmentor.trainer",
        "harness.publish.write",
    ]
)


def _command(
    arguments: tuple[str, ...], folder: Path, environment: dict[str, str], streams: list[Path]
) -> None:
    """Be the command, in a forked child."""
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number, stream in enumerate(streams, start=1):
        opened = os.open(stream, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(opened, number)
        os.close(opened)
    places = environment.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [place for place in places if place and place not in sys.path]
    sys.argv = ["harness", *arguments]
    from harness.cli.main import main

    main()


class Command:
    """A command that was started, with what ``subprocess.Popen`` has of it."""

    def __init__(
        self, arguments: tuple[str, ...], folder: Path, environment: dict[str, str]
    ) -> None:
        self._arguments = arguments
        streams = folder.with_name(f"{folder.name}-streams") / uuid.uuid4().hex
        streams.mkdir(parents=True)
        self._streams = [streams / name for name in ("stdout", "stderr")]
        self._process = _SERVER.Process(
            target=_command, args=(arguments, folder, environment, self._streams)
        )
        self._process.start()
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self._arguments, timeout or 0.0)
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end; return what it wrote to standard output and standard error."""
        self.wait(timeout)
        out, err = (stream.read_text() for stream in self._streams)
        return out, err


class CommandLine:
    """The command line in a folder of its own."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "HARNESS_CACHE": str(cache), "COLUMNS": "200"}
        self.environment.pop("CITYSCAPES_DATASET", None)

    def start(self, *arguments: str) -> Command:
        return Command(arguments, self.folder, self.environment)

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=300)
        return subprocess.CompletedProcess(arguments, process.returncode or 0, out, err)

    def fresh(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command in an interpreter of its own."""
        return self.python("-m", "harness", *arguments)

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another program in an interpreter of its own."""
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def kill_when(self, condition, *arguments: str) -> None:
        """Start a command, and kill it with all its children as soon as a condition holds."""
        process = self.start(*arguments)
        deadline = time.monotonic() + 240
        while not condition() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        assert process.poll() is None, f"ended before it could be killed: {process.communicate()}"
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
