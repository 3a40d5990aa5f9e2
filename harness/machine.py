"""What a command may use of the machine: cores, threads, GPUs, disk."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from harness.errors import InputError, shorten

MOST_WORKERS = 1024
"""Choice: more processes than that are a slip of the finger on any one machine."""

THREADS = 1
"""Threads of a worker: more processes than cores slow each other down, and results must not depend on their number."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What one invocation uses.

    workers: processes of one thread each. gpus: their names in ``CUDA_VISIBLE_DEVICES``, one for
    each worker in turn; none on a CPU. disk_gb: for region maps and features.
    """

    workers: int = 1
    disk_gb: float = 20.0
    gpus: Sequence[str] = ()


def limit_threads() -> None:
    """Give every process one thread, so that results do not depend on the number of workers.

    Works only before torch is imported.
    """
    os.environ.setdefault(
        "CUBLAS_WORKSPACE_CONFIG", ":4096:8"
    )  # without it cuBLAS may add in any order
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(THREADS)


def check_device(name: str | None) -> str | None:
    """Return a device's name if it is there.

    Raises:
        InputError: another name, or cuda without a GPU.
    """
    if name not in {None, "cpu", "cuda"}:
        raise InputError(f"--device must be cpu or cuda, got {shorten(name)}")
    if name == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise InputError("--device must be cpu where torch sees no GPU, got 'cuda'")
    return name


def check_machine(workers: int | None, disk_gb: float, device: str | None) -> Machine:
    """Return what may be used; without a number of workers one for each core that this process may run on, or one for each visible GPU.

    Raises:
        InputError: no worker, an amount of disk that is none, or another device than there is.
    """
    if workers is not None and not 1 <= workers <= MOST_WORKERS:
        raise InputError(f"--workers must be from 1 to {MOST_WORKERS}, got {shorten(workers)}")
    if not 0 <= disk_gb <= 1e6:
        raise InputError(f"--disk-gb must be from 0 to 1000000 gigabytes, got {disk_gb}")
    limit_threads()
    gpus = visible_gpus() if check_device(device) == "cuda" else ()
    return Machine(workers or len(gpus) or _cores(), disk_gb, gpus)


def visible_gpus() -> tuple[str, ...]:
    """Return the names of the GPUs that this process sees, of the model of the first one.

    On another model a run would differ.
    """
    import torch

    models = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    named = [
        name.strip()
        for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        if name.strip()
    ]
    names = named[: len(models)] or [str(number) for number in range(len(models))]
    return tuple(name for name, model in zip(names, models, strict=False) if model == models[0])


def _cores() -> int:
    """Return the cores that this process may run on: a cluster may give fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
