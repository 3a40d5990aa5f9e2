"""One tiny board, undisturbed and killed: what all reliability tests share."""

import os

import pytest

from harness.config import config_path
from harness.doctor import examine
from tests.faults import Faults

STRATEGY = "cereals-g2-vote-entropy"
CONFIG = f"""
_base_ = ["{config_path("streets_standard")}"]
data = dict(type="streets", height=32, width=64, train=5, val=2, seed=3)
training = dict(steps=4, steps_per_image=1, max_steps=8, crop=(32, 32))
cost_model = dict(steps=4)
harness = dict(window=8, stride=4, seed_images=1, images_per_round=1, rounds=2, committee=2, seeds=[0])
"""
ARGUMENTS = ("bench", "--config", "../tiny.py", "--strategies", STRATEGY, "--workers", "1")
KILLED = -9


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kills")
    (folder / "tiny.py").write_text(CONFIG)
    return folder


@pytest.fixture(scope="module")
def faults(folder):
    made = Faults({**os.environ, "HARNESS_CACHE": str(folder / "cache")})
    yield made
    made.close()


def lines(out) -> dict[str, bytes]:
    return {
        str(file.relative_to(out)): file.read_bytes()
        for file in out.glob("runs/*/seed-*/rounds.jsonl")
    }


@pytest.fixture(scope="module")
def undisturbed(folder, faults):
    (folder / "undisturbed").mkdir()
    assert faults.run(folder / "undisturbed", *ARGUMENTS) == 0, (
        folder / "undisturbed/log.txt"
    ).read_text()
    found = lines(folder / "undisturbed/out")
    assert {name.split("/")[1] for name in found} == {STRATEGY, "full-data"}
    return found


def assert_nothing_lost(out, undisturbed) -> None:
    """Between a kill and the next start, what is there is the beginning of what will be, perhaps with a torn last line."""
    for name, content in lines(out).items():
        whole = content[: content.rfind(b"\n") + 1]
        assert undisturbed[name].startswith(whole), name


def assert_ends_the_same(folder, faults, undisturbed, log=None) -> None:
    code = faults.run(folder, *ARGUMENTS, tables=False)
    assert code == 0, (log, (folder / "log.txt").read_text())
    assert lines(folder / "out") == undisturbed, log
    assert list(examine(folder / "out")) == [], log
    assert {path.name for path in (folder / "out/.harness-work").rglob("*") if path.is_file()} == {
        "weights.pt",
        "validation.json",
    }
