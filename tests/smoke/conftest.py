from collections.abc import Callable
from pathlib import Path

import pytest

from harness.config import config_path
from tests.commands import CommandLine

TINY_CONFIG = f"""
_base_ = ["{config_path("streets_standard")}"]
data = dict(type="streets", height=64, width=128, train=8, val=4, seed=7)
training = dict(steps=6, steps_per_image=1, max_steps=12, crop=(64, 64))
cost_model = dict(steps=10)
harness = dict(window=16, seed_images=2, images_per_round=1, rounds=2, committee=3, seeds=[0, 1])
"""


@pytest.fixture(scope="session")
def tiny_config(once) -> Path:
    return once("config", lambda folder: (folder / "tiny.py").write_text(TINY_CONFIG)) / "tiny.py"


@pytest.fixture(scope="session")
def board_of(once, tiny_config, cache) -> Callable[[str], Path]:
    """Return the folder of a board of these strategies, two seeds, run once in a session by one worker.

    By an interpreter of its own; nobody may change it.
    """

    def get(strategies: str) -> Path:
        def make(folder: Path) -> None:
            asked = ("--strategies", strategies, "--config", str(tiny_config), "--workers", "1")
            done = CommandLine(folder, cache).fresh("bench", *asked)
            assert done.returncode == 0, done.stderr
            (folder / "stdout.txt").write_text(done.stdout)

        return once(f"board-{strategies}", make)

    return get


@pytest.fixture
def harness(tmp_path, cache) -> CommandLine:
    return CommandLine(tmp_path, cache)
