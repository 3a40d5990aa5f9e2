import os

import numpy as np
import pytest

from harness.memory import available_bytes, private_bytes


@pytest.fixture
def groups(tmp_path):
    """Control groups as the kernel shows them: /jobs/one, where /jobs has the limit."""
    root = tmp_path / "cgroup"
    (root / "jobs" / "one").mkdir(parents=True)
    for name, limit, used, idle in (
        ("jobs", "3000000", 2500000, 100000),
        ("jobs/one", "max", 1000000, 0),
    ):
        (root / name / "memory.max").write_text(f"{limit}\n")
        (root / name / "memory.current").write_text(f"{used}\n")
        (root / name / "memory.stat").write_text(f"anon 5\ninactive_file {idle}\n")
    membership = tmp_path / "cgroup-of-self"
    membership.write_text("4:memory:/old\n0::/jobs/one\n")
    return root, membership


def test_the_limit_of_a_group_above_counts_without_what_can_be_let_go_of(groups):
    assert available_bytes(*groups) == 3000000 - (2500000 - 100000)


def test_the_tightest_group_counts(groups):
    root, membership = groups
    (root / "jobs" / "one" / "memory.max").write_text("1000100\n")
    assert available_bytes(root, membership) == 100
    (root / "jobs" / "one" / "memory.max").write_text("10\n")
    assert available_bytes(root, membership) == 0


def test_without_control_groups_the_machine_counts(tmp_path):
    assert available_bytes(tmp_path / "none", tmp_path / "nothing") > 10**8


def test_private_memory_of_processes():
    own, gone = private_bytes([os.getpid(), 2**22 - 7])
    assert own > 10**6
    assert gone == 0
    block = bytearray(1 << 28)
    assert private_bytes([os.getpid()])[0] > own + 0.9 * len(block)


def test_pages_of_a_mapped_file_are_not_private(tmp_path):
    file = tmp_path / "large"
    file.write_bytes(bytes(1 << 26))
    before = private_bytes([os.getpid()])[0]
    mapped = np.memmap(file, np.uint8, "r")
    assert int(mapped.sum()) == 0
    assert private_bytes([os.getpid()])[0] < before + len(mapped) // 2
