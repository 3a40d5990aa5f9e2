"""Cluster files, lifetimes, job scripts, workers that differ: what needs no scheduler."""

from dataclasses import replace

import pytest

pytest.importorskip("distributed", reason="extra [cluster]")

import dask

from harness.bench import Job, JobResult
from harness.cluster import (
    Dask,
    _Tasks,
    check_alike,
    read_cluster_file,
    start,
    walltime_minutes,
    with_lifetime,
)
from harness.config import config_path, load_spec
from harness.errors import InputError
from harness.experiment import build_experiment
from harness.provenance import collect


def written(folder, text):
    path = folder / "cluster.yaml"
    path.write_text(text)
    return path


def test_a_cluster_file_names_a_manager_its_options_and_how_many(tmp_path):
    text = """
manager: slurm
options: {queue: gpu, cores: 1, memory: 16GB, walltime: "04:00:00"}
adapt: {minimum: 0, maximum: 8}
"""
    found = read_cluster_file(written(tmp_path, text))
    assert (found.manager, found.workers) == ("slurm", None)
    assert (found.adapt.minimum, found.adapt.maximum) == (0, 8)
    assert found.options["walltime"] == "04:00:00"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("manager: slurm\n  workers: 2", "must be a YAML file"),
        ("manager: cray\nworkers: 2", "manager: Input should be"),
        ("manager: slurm", "either workers or adapt must be given"),
        ("manager: slurm\nworkers: 2\nadapt: {maximum: 3}", "either workers or adapt"),
        ("manager: slurm\nworkers: 0", "workers: Input should be greater than or equal to 1"),
        ("manager: slurm\nadapt: {minimum: 3, maximum: 2}", "minimum must not be above maximum"),
        ("manager: slurm\nworker: 2", "worker: Extra inputs are not permitted"),
        ("manager: slurm\nworkers: 2\nworkers: 8", "a key must stand once, got 'workers' twice"),
        (
            "manager: slurm\nworkers: 2\noptions: {cores: 1, cores: 2}",
            "a key must stand once, got 'cores' twice",
        ),
        ("- manager", "the file: Input should be a valid dictionary"),
        ("manager: slurm\nworkers: 1\noptions: {walltime: 10:00:00}", "must stand in quotes"),
        ("manager: !!python/object/apply:os.getcwd []\nworkers: 1", "must be a YAML file"),
    ],
)
def test_a_bad_cluster_file_is_refused_in_one_line(tmp_path, text, said):
    with pytest.raises(InputError, match=said) as caught:
        read_cluster_file(written(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_cluster_file_that_is_missing_is_refused(tmp_path):
    with pytest.raises(InputError, match="must be a YAML file"):
        read_cluster_file(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("manager", "walltime", "minutes"),
    [
        ("slurm", "04:00:00", 240),
        ("slurm", "1-00:30:00", 1470),
        ("slurm", "2-12:00", 3600),
        ("slurm", "2-12", 3600),
        ("slurm", "30:00", 30),
        ("lsf", "20:00", 1200),
        ("slurm", "soon", None),
        ("slurm", "90", None),
        ("slurm", None, None),
    ],
)
def test_a_walltime_is_read_as_its_queue_writes_it(manager, walltime, minutes):
    assert walltime_minutes(manager, walltime) == minutes


@pytest.mark.parametrize("walltime", ["00:20:00", "04:00:00", "1-00:00:00", "10-00:00:00"])
def test_workers_of_a_queue_leave_before_their_walltime(walltime):
    given = with_lifetime("slurm", {"walltime": walltime, "cores": 1})["worker_extra_args"]
    assert given[::2] == ["--lifetime", "--lifetime-stagger"]
    stay, stagger = (int(text.removesuffix("m")) for text in given[1::2])
    total = walltime_minutes("slurm", walltime)
    assert total * 0.6 < stay - stagger < stay + stagger <= total - 5


def test_a_walltime_too_short_to_leave_before_it_has_no_lifetime():
    assert "worker_extra_args" not in with_lifetime("slurm", {"walltime": "00:09:00"})


@pytest.mark.parametrize("own", [["--lifetime", "1h"], ["--lifetime=1h", "--resources", "GPU=1"]])
def test_a_lifetime_of_ones_own_is_kept(own):
    options = {"walltime": "04:00:00", "worker_extra_args": own}
    assert with_lifetime("slurm", options) == options


def test_what_dask_jobqueue_is_configured_with_is_kept():
    kept = {"jobqueue.slurm.worker-extra-args": ["--resources", "GPU=1"]}
    with dask.config.set({**kept, "jobqueue.slurm.walltime": "02:00:00"}):
        for given in ({}, {"worker_extra_args": None}):
            found = with_lifetime("slurm", given)["worker_extra_args"]
            assert found[:4] == ["--resources", "GPU=1", "--lifetime", "109m"]


def test_the_job_script_of_slurm_says_what_the_file_says():
    dask_jobqueue = pytest.importorskip("dask_jobqueue")
    options = {
        "queue": "gpu",
        "cores": 1,
        "memory": "16GB",
        "walltime": "04:00:00",
        "job_extra_directives": ["--gres=gpu:1"],
        "worker_extra_args": ["--resources", "GPU=1"],
    }
    with dask_jobqueue.SLURMCluster(**with_lifetime("slurm", options)) as cluster:
        script = cluster.job_script()
    for line in ("-p gpu", "-t 04:00:00", "--gres=gpu:1", "--mem=15G"):
        assert f"#SBATCH {line}" in script
    assert "--nthreads 1" in script
    assert "--resources GPU=1 --lifetime 223m --lifetime-stagger 12m" in script


def test_a_manager_that_is_not_installed_is_said_in_one_line(tmp_path):
    chosen = read_cluster_file(written(tmp_path, "manager: kubernetes\nworkers: 1"))
    with pytest.raises(InputError, match="pip install dask-kubernetes"), start(chosen):
        pass


def test_options_that_a_manager_refuses_are_said_in_one_line(tmp_path):
    chosen = read_cluster_file(written(tmp_path, "manager: slurm\nworkers: 1\noptions: {cores: 1}"))
    with pytest.raises(InputError, match="manager slurm refuses its options"), start(chosen):
        pass


def test_a_worker_is_held_against_the_command():
    ours = collect(1)
    check_alike(ours, ours, 1)
    with pytest.raises(InputError, match="must have one thread"):
        check_alike(ours, ours, 4)
    other = replace(ours, versions={**ours.versions, "torch": "1.0"})
    with pytest.raises(InputError, match=r"must have torch \S+ as the command has, got 1.0"):
        check_alike(ours, other, 1)
    fewer = replace(ours, versions={k: v for k, v in ours.versions.items() if k != "scipy"})
    with pytest.raises(InputError, match=r"must have scipy \S+ as the command has, got none"):
        check_alike(ours, fewer, 1)
    with pytest.raises(InputError, match=f"got commit {'0' * 40}.*must be started again"):
        check_alike(ours, replace(ours, commit="0" * 40, dirty=False), 1)
    clean, changed = (replace(ours, commit="1" * 40, dirty=dirty) for dirty in (False, True))
    with pytest.raises(InputError, match=r"as the command has, got commit 1+ with changes"):
        check_alike(clean, changed, 1)


def test_a_process_that_reads_other_data_builds_no_experiment(cache, tmp_path):
    small = ["data.height=64", "data.width=128", "data.train=8", "data.val=4", "data.seed=7"]
    spec = load_spec(config_path("streets_standard"), changes=small)
    with pytest.raises(InputError, match="must read the data that the command reads"):
        build_experiment(spec, ["random-region"], tmp_path, collect(1), data_fingerprint="a-b")


def test_an_address_without_a_scheduler_is_refused():
    with pytest.raises(InputError, match="--scheduler must be the address of a Dask scheduler"):
        Dask("nonsense://here")(lambda: None, [], report=print, ended=print)


class Dead:
    """A task whose worker died four times, or that depended on such a one."""

    status, key = "error", "own"

    def __init__(self, task: str) -> None:
        self.task = task

    def exception(self):
        from distributed.scheduler import KilledWorker

        return KilledWorker(self.task, None, 3)


@pytest.mark.parametrize(
    ("task", "begun", "advanced", "is_given_up"),
    [
        ("own", True, False, True),
        ("own", False, False, False),  # it only waited on workers that died
        ("own", True, True, False),  # a round more than at the last death
        ("of the seed", True, False, False),  # what it depends on was killed
    ],
)
def test_a_run_is_given_up_where_it_kills_its_workers_itself(task, begun, advanced, is_given_up):
    job = Job("run", "a", 0)
    tasks = _Tasks(None, None, {}, lambda _event: None, lambda _result: None)
    tasks._futures[job] = Dead(task)
    if begun:
        tasks._at[job] = "tcp://here"
    if advanced:
        tasks._advanced.add(job)
    result = tasks._result(job, tasks._futures[job])
    assert isinstance(result, JobResult)
    assert result.is_claimed_elsewhere != is_given_up
    assert ("4 workers died at it" in (result.error or "")) == is_given_up
