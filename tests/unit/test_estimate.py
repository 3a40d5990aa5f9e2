import shutil
from collections import namedtuple
from dataclasses import replace

import pytest

import strategies
from harness.bench import Job
from harness.config import config_path, load_spec
from harness.data.source import open_splits
from harness.errors import InputError
from harness.estimate import Estimate
from harness.experiment import build_trainer
from harness.profile import Profile, kind_of, measure

SIZES = {f"i{n}": (128, 256) for n in range(10)}
PLACEMENTS = 65 * 193


def estimate(names: list[str], *, seeds=(0, 1), workers=2, disk_gb=20.0) -> Estimate:
    runs = [Job("run", name, seed) for seed in seeds for name in names]
    jobs = (
        [Job("full-data", "full-data", seed) for seed in seeds]
        + [Job("shared", "seed-set", seed) for seed in seeds]
        + runs
    )
    chosen = [strategies.make(name) for name in names]
    return Estimate(
        load_spec(config_path("streets_standard")),
        chosen,
        SIZES,
        jobs,
        dict.fromkeys(jobs, 0),
        workers,
        disk_gb,
    )


def test_disk_counts_the_maps_that_lie_there_at_once():
    # two seeds share entropy and cost maps of round 0; each of two workers holds those of its own run
    assert estimate(
        ["entropy-region", "cereals-g1-entropy"]
    ).wanted_bytes == 8 * 10 * PLACEMENTS * (2 * 2 + 2 * 2)
    assert (
        estimate(["entropy-region"], seeds=(0,), workers=1).wanted_bytes == 8 * 10 * PLACEMENTS * 2
    )
    assert estimate(["entropy-image"], seeds=(0,), workers=1).wanted_bytes == 8 * 10 * 2
    assert estimate(["random-region"]).wanted_bytes == 0


def test_the_room_is_divided_between_the_passes():
    assert estimate(["entropy-region"], disk_gb=1.0).bytes_per_pass == 10**9 // 4
    assert estimate(["entropy-region"], disk_gb=0.0).bytes_per_pass == 0


def test_a_disk_that_would_be_full_is_refused_before_anything_runs(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(10**9, 0, (1 << 28) + 1000))
    with pytest.raises(
        InputError,
        match=r"may take 0\.3 GB of disk, 0\.3 GB are free; give a smaller --disk-gb",
    ):
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


def test_the_longest_jobs_of_a_seed_come_first_and_seeds_one_after_the_other():
    plan = estimate(["random-region", "entropy-region", "vote-entropy-region"])
    one = ["seed-set", "vote-entropy-region", "entropy-region", "random-region", "full-data"]
    assert [(job.seed, job.strategy) for job in plan.in_order] == [
        (seed, name) for seed in (0, 1) for name in one
    ]
    plan.done[Job("run", "vote-entropy-region", 0)] = 5  # only its last round is left
    assert [job.strategy for job in plan.in_order[:5]] == [
        "seed-set",
        "entropy-region",
        "random-region",
        "vote-entropy-region",
        "full-data",
    ]


PROFILE = Profile(
    step=0.01,
    beside_steps=1.0,
    cost=2.0,
    validated=0.1,
    acquired={"nothing": 0.001, "one pass": 0.02, "committee": 0.05},
    memory_bytes=10**9,
    feature_bytes=0,
)


def test_the_time_of_a_job_is_that_of_its_trainings_validations_and_passes():
    plan = estimate(["cereals-g1-vote-entropy", "random-region"], seeds=(0,), workers=1)
    alone = replace(plan, jobs=[Job("run", "cereals-g1-vote-entropy", 0)])
    trainings, passes = 6, 5
    steps = sum(alone.lengths(alone.jobs[0]))
    assert alone.seconds(PROFILE, 60) == pytest.approx(
        0.01 * steps + trainings * (1 + 2 + 60 * 0.1) + passes * 10 * 0.05
    )
    alone = replace(plan, jobs=[Job("run", "random-region", 0)])
    assert alone.seconds(PROFILE, 60) == pytest.approx(
        0.01 * steps + trainings * (1 + 60 * 0.1) + passes * 10 * 0.001
    )


def test_workers_share_the_time_but_not_a_job():
    plan = estimate(["random-region"])
    assert replace(plan, workers=1).seconds(PROFILE, 1) == pytest.approx(
        2 * plan.seconds(PROFILE, 1)
    )
    longest = max(
        replace(plan, jobs=[job], workers=1).seconds(PROFILE, 1)
        for job in plan.jobs
        if job.kind == "run"
    )
    assert replace(plan, workers=1000).seconds(PROFILE, 1) >= longest - 30


def test_memory_counts_processes_and_a_frozen_backbone_s_features():
    plan = estimate(["random-region"])
    assert replace(plan, workers=1).memory_bytes(PROFILE, 60) == 10**9
    assert plan.memory_bytes(PROFILE, 60) == 3 * 10**9
    assert replace(plan, jobs=plan.jobs[:1]).memory_bytes(PROFILE, 60) == 10**9
    frozen = replace(PROFILE, feature_bytes=43_000)
    alone = replace(plan, workers=1)
    assert alone.memory_bytes(frozen, 60) == 10**9 + 43_000 * (2 * len(SIZES) + 60)


def test_workers_share_the_features_that_find_room_on_disk():
    plan, frozen = estimate(["random-region"]), replace(PROFILE, feature_bytes=10**7)
    features = 10**7 * (2 * len(SIZES) + 60)
    assert plan.memory_bytes(frozen, 60) == 3 * 10**9 + features
    assert replace(plan, disk_gb=0.3).memory_bytes(frozen, 60) == (
        3 * 10**9 + 3 * 10**8 + 2 * (features - 3 * 10**8)
    )
    assert replace(plan, disk_gb=0.0).memory_bytes(frozen, 60) == 3 * 10**9 + 2 * features
    assert "GB of memory and 0.80 GB of disk for features: measured" in plan.summary(frozen, 60)
    assert "features" not in replace(plan, disk_gb=0.0).summary(frozen, 60)
    assert "features" not in plan.summary(PROFILE, 60)


def test_features_take_what_region_maps_leave_in_equal_parts(tmp_path, monkeypatch):
    plan = estimate(["entropy-region"], disk_gb=1.0)
    maps, reserve = plan.wanted_bytes, 1 << 28
    usage = namedtuple("usage", "total used free")
    free = [10**12]
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(10**12, 0, free[0]))
    assert plan.feature_room(tmp_path) == (10**9 - maps) // 2
    there = tmp_path / ".harness-work/features/0123456789abcdef/0123.features"
    there.parent.mkdir(parents=True)
    there.write_bytes(b"0" * 1000)
    assert plan.feature_room(tmp_path) == (10**9 - maps - 1000) // 2
    free[0] = maps + reserve + 500
    assert plan.feature_room(tmp_path) == 250
    free[0] = maps
    assert plan.feature_room(tmp_path) == 0
    assert replace(plan, disk_gb=0.0).feature_room(tmp_path) == 0


def test_features_are_measured_on_an_image_of_the_pool():
    spec = load_spec(config_path("streets"))
    train, val = open_splits(spec.data.model_copy(update={"train": 2, "val": 2}))
    made = build_trainer(spec, train, val)
    assert made.feature_bytes((128, 256)) == 4 * (16 * 16 * 32 + 32 * 8 * 16 + 32 * 4 * 8)


@pytest.mark.parametrize(
    ("done", "shared", "trainings", "passes"), [(0, False, 6, 5), (0, True, 5, 4), (3, False, 3, 3)]
)
def test_a_run_predicts_the_pool_before_each_round_that_is_left(done, shared, trainings, passes):
    plan = estimate(["entropy-region"], seeds=(0,), workers=1)
    job = Job("run", "entropy-region", 0)
    plan = replace(
        plan, jobs=[job, *([Job("shared", "seed-set", 0)] if shared else [])], done={job: done}
    )
    assert len(plan.lengths(job)) == trainings
    assert plan._seconds_of(job, replace(PROFILE, step=0.0), 0) == pytest.approx(
        trainings * 1.0 + passes * 10 * 0.02
    )


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("random-region", "nothing"),
        ("cheapest-region", "one pass"),
        ("entropy-image", "one pass"),
        ("cereals-g2-vote-entropy", "committee"),
    ],
)
def test_what_a_strategy_asks_of_an_image(name, kind):
    assert kind_of(strategies.make(name)) == kind


def test_a_short_measurement_finds_the_profile_of_everything(train_split, val_split):
    spec = load_spec(config_path("streets_standard"))
    small = {"crop": (32, 32), "batch_size": 1}
    spec = spec.model_copy(
        update={
            "training": spec.training.model_copy(update=small),
            "harness": spec.harness.model_copy(update={"window": 16, "committee": 2}),
        }
    )
    chosen = [strategies.make(name) for name in ("random-region", "cereals-g1-vote-entropy")]
    profile = measure(spec, chosen, train_split, val_split)
    assert set(profile.acquired) == {"nothing", "committee"}
    assert 0 < profile.acquired["nothing"] < profile.acquired["committee"]
    assert profile.step > 0
    # differences of two measurements: on a busy machine one may come out as nothing
    assert min(profile.cost, profile.validated) >= 0
    assert profile.beside_steps >= 0
    assert profile.memory_bytes > 10**8
