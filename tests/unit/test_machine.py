import os

import pytest
import torch

from harness import machine
from harness.errors import InputError
from harness.machine import Machine, check_machine


@pytest.fixture
def gpus(monkeypatch):
    """Four GPUs that torch says it sees."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _number: "H200")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_one_worker_for_each_core_that_we_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {1, 5, 7}, raising=False)
    assert check_machine(None, 20.0, None) == Machine(3, 20.0, ())
    assert check_machine(5, 0.0, "cpu") == Machine(5, 0.0, ())


def test_one_worker_for_each_visible_gpu(gpus, monkeypatch):
    assert check_machine(None, 20.0, "cuda") == Machine(4, 20.0, ("0", "1", "2", "3"))
    assert check_machine(1, 20.0, "cuda").workers == 1
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-8932f937")
    assert machine.visible_gpus() == ("3", "GPU-8932f937")


def test_gpus_of_another_model_are_left_alone(gpus, monkeypatch):
    monkeypatch.setattr(
        torch.cuda, "get_device_name", lambda number: "A100" if number == 2 else "H200"
    )
    assert check_machine(None, 20.0, "cuda") == Machine(3, 20.0, ("0", "1", "3"))


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="torch sees no GPU"):
        check_machine(None, 20.0, "cuda")
    with pytest.raises(InputError, match="--device must be cpu or cuda"):
        check_machine(None, 20.0, "tpu")
