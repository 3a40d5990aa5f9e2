"""Shared fixtures: one thread, a cache of its own, one very small pack; what both workers of a session share."""

import os
from collections.abc import Callable

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

from pathlib import Path

import pytest
from filelock import FileLock

from harness.data.cityscapes import Split
from harness.data.streets.pack import PackSpec, make_pack

TINY = PackSpec(height=64, width=128, train=8, val=4, seed=7)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of a session share."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def once(shared: Path) -> Callable[[str, Callable[[Path], None]], Path]:
    """Make a folder by its name once in a session, whichever worker asks first; nobody may change it."""

    def get(name: str, make: Callable[[Path], None]) -> Path:
        folder, done = shared / name, shared / f"{name}.done"
        with FileLock(shared / f"{name}.lock"):
            if not done.exists():
                folder.mkdir(exist_ok=True)
                make(folder)
                done.touch()
        return folder

    return get


@pytest.fixture(scope="session")
def cache(shared: Path) -> Path:
    folder = shared / "cache"
    folder.mkdir(exist_ok=True)
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
