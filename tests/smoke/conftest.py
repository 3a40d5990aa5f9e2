import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.config import config_path

TINY_CONFIG = f"""
_base_ = ["{config_path("streets_standard")}"]
data = dict(type="streets", height=64, width=128, train=8, val=4, seed=7)
training = dict(steps=6, steps_per_image=1, max_steps=12, crop=(64, 64))
cost_model = dict(steps=10)
harness = dict(window=16, seed_images=2, images_per_round=1, rounds=2, committee=3, seeds=[0, 1])
"""


class CommandLine:
    """The installed console script in a folder of its own."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "HARNESS_CACHE": str(cache), "COLUMNS": "200"}
        self.environment.pop("CITYSCAPES_DATASET", None)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "harness", *arguments]
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=300)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def kill_when(self, condition, *arguments: str) -> None:
        """Start a command, and kill it with all its children as soon as a condition holds."""
        process = self.start(*arguments)
        deadline = time.monotonic() + 240
        while not condition() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        assert process.poll() is None, f"ended before it could be killed: {process.communicate()}"
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture(scope="session")
def tiny_config(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("config") / "tiny.py"
    file.write_text(TINY_CONFIG)
    return file


@pytest.fixture
def harness(tmp_path, cache) -> CommandLine:
    return CommandLine(tmp_path, cache)
