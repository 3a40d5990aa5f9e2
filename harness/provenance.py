"""Where a result comes from: code, versions, machine, command."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from harness.errors import without_password

_PACKAGES = (
    "harness-al",
    "torch",
    "onedl-mmsegmentation",
    "onedl-mmcv",
    "onedl-mmengine",
    "numpy",
    "scipy",
    "opencv-python",
    "scikit-image",
    "pandas",
)


@dataclass(frozen=True, slots=True)
class Provenance:
    """commit: of the checkout this code lies in, None when it is installed elsewhere.

    dirty: uncommitted changes there.

    deterministic: whether torch was held to algorithms that give the same bits each time, where it
    has them.
    """

    commit: str | None
    dirty: bool | None
    versions: dict[str, str]
    python: str
    machine: str
    threads: int
    started_utc: str
    command: list[str]
    deterministic: bool = True

    def public_version(self, package: str) -> str:
        """Return a package's version without what says how it was built: 2.13.0 of 2.13.0+cpu."""
        return self.versions.get(package, "unknown").partition("+")[0]


def collect(threads: int, device: str = "cpu", *, deterministic: bool = True) -> Provenance:
    """Describe this process."""
    commit = _git("rev-parse", "HEAD")
    status = _git("status", "--porcelain", "--untracked-files=no") if commit else None
    return Provenance(
        commit=commit,
        dirty=None if status is None else bool(status),
        versions={
            name: importlib.metadata.version(name) for name in _PACKAGES if _is_installed(name)
        },
        python=platform.python_version(),
        machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores{_gpu(device)}",
        threads=threads,
        started_utc=datetime.now(UTC).isoformat(timespec="seconds"),
        command=["harness", *map(without_password, sys.argv[1:])],
        deterministic=deterministic,
    )


def _gpu(device: str) -> str:
    if device != "cuda":
        return ""
    import torch

    return f", {torch.cuda.get_device_name()}"


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _git(*arguments: str) -> str | None:
    """Ask git about the checkout of THIS code, not of the current folder.

    None outside a checkout.
    """
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
