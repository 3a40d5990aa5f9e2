"""Shared fixtures: one thread, a cache of its own, one very small pack."""

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

from pathlib import Path

import pytest

from harness.data.cityscapes import Split
from harness.data.streets.pack import PackSpec, make_pack

TINY = PackSpec(height=64, width=128, train=8, val=4, seed=7)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    os.environ["HARNESS_CACHE"] = str(folder)
    return folder


@pytest.fixture(scope="session")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pack nobody may change."""
    return make_pack(TINY, tmp_path_factory.mktemp("packs") / "tiny")


@pytest.fixture(scope="session")
def train_split(pack: Path, cache: Path) -> Split:
    return Split(pack, "train", cache)


@pytest.fixture(scope="session")
def val_split(pack: Path, cache: Path) -> Split:
    return Split(pack, "val", cache)
