"""What goes wrong around a run: disk, clock, keyboard, pipe, many folders. docs/project/reliability.md"""

import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

from harness.doctor import examine
from harness.results import find_runs
from tests.faults import POINTS
from tests.reliability.conftest import (
    ARGUMENTS,
    CONFIG,
    assert_ends_the_same,
    assert_nothing_lost,
    lines,
)


def log_lines(place) -> list[str]:
    """Return what was said on standard error, but for remarks about the data."""
    return [
        line
        for line in (place / "log.txt").read_text().splitlines()
        if line.startswith("harness: ") and "holds no pixel" not in line
    ]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO], ids=errno.errorcode.get)
@pytest.mark.parametrize(
    "point",
    [
        "appending a line",
        "saving weights",
        "keeping a checkpoint",
        "keeping a region map",
        "describing a run",
    ],
)
def test_a_disk_that_refuses_is_one_line_and_nothing_is_lost(
    folder, faults, undisturbed, point, code
):
    place = folder / f"disk-{point}-{code}".replace(" ", "-")
    place.mkdir()
    assert faults.run(place, *ARGUMENTS, point=point, call=2, error=code, tables=False) == 2, (
        place / "log.txt"
    ).read_text()
    said = log_lines(place)
    assert len(said) == 1
    assert said[0].endswith(f"out/runs: {os.strerror(code)}")
    assert_nothing_lost(place / "out", undisturbed)
    assert not list(
        (place / "out").rglob("failure.txt")
    )  # the run has not failed: it goes on when the disk is fixed
    assert_ends_the_same(place, faults, undisturbed)


def test_a_clock_that_runs_backwards_changes_nothing(folder, faults, undisturbed):
    place = folder / "clock"
    place.mkdir()
    assert faults.run(place, *ARGUMENTS, clock=True, tables=False) == 0, (
        place / "log.txt"
    ).read_text()
    assert lines(place / "out") == undisturbed
    timings = "".join(file.read_text() for file in (place / "out").rglob("timings.jsonl"))
    assert '": -' not in timings


def start(folder, place, **options):
    place.mkdir()
    environment = {**os.environ, "HARNESS_CACHE": str(folder / "cache")}
    command = [sys.executable, "-m", "harness", *ARGUMENTS]
    return subprocess.Popen(
        command, cwd=place, env=environment, start_new_session=True, text=True, **options
    )


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_once_or_twice(folder, faults, undisturbed, times):
    place = folder / f"ctrl-c-{times}"
    heeds = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731  a suite in the background passes on that it does not
    process = start(folder, place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heeds)
    deadline = time.monotonic() + 120
    while not list(place.glob("out/runs/*/seed-0/run.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    for _ in range(times):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.05)
    _, err = process.communicate(timeout=120)
    # a second one may come when Python has already let go of its handlers
    assert process.returncode in ({130} if times == 1 else {130, -signal.SIGINT}), err
    said = [line for line in err.splitlines() if "holds no pixel" not in line]
    assert said == ["harness: interrupted; the same command goes on where it stopped"]
    assert_nothing_lost(place / "out", undisturbed)
    assert_ends_the_same(place, faults, undisturbed)


def test_a_reader_of_the_output_that_goes_away_does_not_stop_the_run(folder, undisturbed):
    place = folder / "pipe"
    read, write = os.pipe()
    process = start(folder, place, stdout=write, stderr=subprocess.DEVNULL)
    os.close(write)
    os.close(read)
    assert process.wait(timeout=240) == 0
    assert lines(place / "out") == undisturbed


def test_no_temporary_folder_is_needed_that_can_be_written(folder, undisturbed, monkeypatch):
    """A TMPDIR that is not there: Python then takes another."""
    monkeypatch.setenv("TMPDIR", str(folder / "not-there"))
    process = start(folder, folder / "tmpdir", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert lines(folder / "tmpdir/out") == undisturbed


def test_ten_thousand_run_folders(folder, undisturbed, tmp_path):
    """Finding and examining them takes seconds, not minutes."""
    source = next((folder / "undisturbed/out/runs").glob("cereals-*/seed-0"))
    document = json.loads((source / "run.json").read_text())
    document.pop("crc32")
    for number in range(10_000):
        own = {**document, "strategy": f"strategy-{number % 100}", "seed": number, "chained": False}
        target = tmp_path / "runs" / own["strategy"] / f"seed-{number}"
        target.mkdir(parents=True)
        (target / "run.json").write_text(json.dumps(own))
        os.link(source / "rounds.jsonl", target / "rounds.jsonl")
    before = time.monotonic()
    assert len(find_runs(tmp_path)) == 10_000
    (finding,) = examine(tmp_path)  # each is whole; together they are copies of one
    assert "their rounds are equal" in finding.problem
    assert time.monotonic() - before < 240  # a hang, not a benchmark


def test_a_data_root_that_has_vanished_is_one_line(folder, faults, tmp_path):
    pack = next((folder / "cache").rglob("leftImg8bit")).parent
    shutil.copytree(pack, tmp_path / "data")
    (tmp_path / "own.py").write_text(
        (folder / "tiny.py")
        .read_text()
        .replace('data = dict(type="streets"', 'data = dict(_delete_=True, type="cityscapes") #')
    )
    place = tmp_path / "work"
    place.mkdir()
    arguments = (
        "bench",
        "--config",
        "../own.py",
        "--strategies",
        "random-region",
        "--workers",
        "1",
        "--data-root",
        str(tmp_path / "data"),
    )
    assert faults.run(place, *arguments, point="selecting", call=2, tables=False) == -9, (
        place / "log.txt"
    ).read_text()
    shutil.move(tmp_path / "data", tmp_path / "elsewhere")
    before = lines(place / "out")
    assert faults.run(place, *arguments, tables=False) == 2
    assert "no folder leftImg8bit" in log_lines(place)[-1]
    assert lines(place / "out") == before
    shutil.move(tmp_path / "elsewhere", tmp_path / "data")
    assert faults.run(place, *arguments, tables=False) == 0, (place / "log.txt").read_text()


def test_no_run_opens_a_connection(monkeypatch, tmp_path):
    """In-process and with sockets taken away: a network that is asked for anything would raise."""

    def refuse(*_args, **_named):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.py").write_text(CONFIG)
    from harness.config import load_spec
    from harness.invocation import Invocation
    from harness.machine import Machine

    spec = load_spec(tmp_path / "tiny.py")
    ending = Invocation(spec, ["cereals-g1-entropy"], tmp_path / "out", Machine()).run()
    assert not ending.failed
    assert ending.results


def test_every_named_point_is_still_there():
    import importlib

    for place in POINTS.values():
        module, _, path = place.partition(":")
        owner = importlib.import_module(module)
        for name in path.split("."):
            owner = getattr(owner, name)
        assert callable(owner)
