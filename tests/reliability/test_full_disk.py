"""A disk that is really full: one line, exit code 2, no run marked as failed, and then the same bytes.

A small file system in memory is mounted for it, which takes root; elsewhere this is passed over.
"""

import os
import shutil
import subprocess

import pytest

from harness.doctor import examine
from tests.reliability.conftest import ARGUMENTS, assert_nothing_lost, lines

MEGABYTES = 24


def mount(folder, size_kb, inodes=2000) -> bool:
    folder.mkdir(parents=True, exist_ok=True)
    options = f"size={size_kb}k,nr_inodes={inodes}"
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


@pytest.fixture
def small_disk(folder, request):
    """Mount a small disk."""
    if os.geteuid() != 0:
        pytest.skip("mounting takes root")
    place = folder / f"disk-{request.node.name}".replace("[", "-").replace("]", "")
    if not mount(place, 1024 * MEGABYTES):
        pytest.skip("no file system can be mounted here")

    yield place
    subprocess.run(["umount", "-l", str(place)], check=False, capture_output=True)


def said(place):
    log = (place / "log.txt").read_text() if (place / "log.txt").exists() else ""
    return [line for line in log.splitlines() if line.startswith("harness: ")]


@pytest.mark.parametrize("room_kb", [8, 40, 72, 120, 200, 330, 480, 700])
def test_a_disk_that_fills_up_in_the_middle(folder, faults, undisturbed, small_disk, room_kb):
    """The same board with this much room: each size meets its end in another kind of file."""
    place = small_disk
    filler = place / "filler"
    out = place / "out"
    out.mkdir()
    with filler.open("wb") as stream:
        stream.write(b"0" * (MEGABYTES * 1024 * 1024 - room_kb * 1024))
    arguments = [*ARGUMENTS, "--out", str(out), "--disk-gb", "0"]
    log = folder / f"log-{room_kb}"
    log.mkdir()
    code = faults.run(log, *arguments, tables=False, small_disk=True)
    lines_said = [line for line in said(log) if "holds no pixel" not in line]
    if code != 0:
        assert code == 2, (log / "log.txt").read_text()
        assert len(lines_said) == 1, lines_said
        assert "No space left" in lines_said[0]
        assert "Traceback" not in (log / "log.txt").read_text()
    assert not list(out.rglob("failure.txt"))
    assert_nothing_lost(out, undisturbed)
    filler.unlink()
    code = faults.run(log, *arguments, tables=False, small_disk=True)
    assert code == 0, (log / "log.txt").read_text()
    assert lines(out) == undisturbed
    assert list(examine(out)) == []


def test_tables_that_find_no_room_leave_no_half(folder, faults, undisturbed, small_disk):
    place = small_disk
    out = place / "out"
    shutil.copytree(folder / "undisturbed/out/runs", out / "runs")
    with (place / "filler").open("wb") as stream:
        stream.write(b"0" * (shutil.disk_usage(place).free - 30 * 1024))
    log = folder / "log-tables"
    log.mkdir()
    code = faults.run(log, "publish", "--allow-dirty", "--runs", str(out))
    assert code == 2, (log / "log.txt").read_text()
    assert len(said(log)) == 1
    assert "No space left" in said(log)[0]
    (place / "filler").unlink()
    assert faults.run(log, "publish", "--allow-dirty", "--runs", str(out)) == 0
    assert faults.run(log, "publish", "--allow-dirty", "--runs", str(out), "--check") == 0
