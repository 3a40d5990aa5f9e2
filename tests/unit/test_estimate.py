import shutil
from collections import namedtuple

import pytest

import strategies
from harness.bench import Job
from harness.cli.estimate import Estimate
from harness.config import config_path, load_spec
from harness.errors import InputError

SIZES = {f"i{n}": (128, 256) for n in range(10)}
PLACEMENTS = 65 * 193


def estimate(names: list[str], *, seeds=(0, 1), workers=2, disk_gb=20.0) -> Estimate:
    runs = [Job("run", name, seed) for seed in seeds for name in names]
    first = [Job("full-data", "full-data", seed) for seed in seeds] + [Job("shared", "seed-set", seed) for seed in seeds]
    chosen = [strategies.make(name) for name in names]
    return Estimate(
        load_spec(config_path("streets_standard")), chosen, SIZES, (first, runs), dict.fromkeys([*first, *runs], 0), workers, disk_gb
    )


def test_disk_counts_the_maps_that_lie_there_at_once():
    # two seeds share entropy and cost maps of round 0; each of two workers holds those of its own run
    assert estimate(["entropy-region", "cereals-g1-entropy"]).wanted_bytes == 8 * 10 * PLACEMENTS * (2 * 2 + 2 * 2)
    assert estimate(["entropy-region"], seeds=(0,), workers=1).wanted_bytes == 8 * 10 * PLACEMENTS * 2
    assert estimate(["entropy-image"], seeds=(0,), workers=1).wanted_bytes == 8 * 10 * 2
    assert estimate(["random-region"]).wanted_bytes == 0


def test_the_room_is_divided_between_the_passes():
    assert estimate(["entropy-region"], disk_gb=1.0).bytes_per_pass == 10**9 // 4
    assert estimate(["entropy-region"], disk_gb=0.0).bytes_per_pass == 0


def test_a_disk_that_would_be_full_is_refused_before_anything_runs(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(10**9, 0, (1 << 28) + 1000))
    with pytest.raises(InputError, match=r"may take 0\.3 GB of disk, 0\.3 GB are free; allowed: a smaller --disk-gb"):
        estimate(["entropy-region"]).check_disk(tmp_path)
    estimate(["entropy-region"], disk_gb=0.0).check_disk(tmp_path)
    estimate(["random-region"]).check_disk(tmp_path)


def test_lengths_are_those_of_the_rounds_that_are_left():
    plan = estimate(["random-region"])
    job = Job("run", "random-region", 0)
    assert plan.lengths(job) == [1780, 2040, 2300, 2560, 2820]
    plan.done[job] = 4
    assert plan.lengths(job) == [2560, 2820]
    assert plan.lengths(Job("full-data", "full-data", 0)) == [2300]
    assert plan.lengths(Job("shared", "seed-set", 0)) == [1520]
