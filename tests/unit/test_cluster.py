"""Cluster files, lifetimes, job scripts, workers that differ: what needs no scheduler."""

from dataclasses import replace

import pytest

pytest.importorskip("distributed", reason="extra [cluster]")

from harness.cluster import Dask, check_alike, read_cluster_file, start, with_lifetime
from harness.config import config_path, load_spec
from harness.errors import InputError
from harness.provenance import collect
from harness.workshop import build_workshop


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
    ("walltime", "lifetime"),
    [
        ("04:00:00", ["--lifetime", "235m", "--lifetime-stagger", "11m"]),
        ("1-00:30:00", ["--lifetime", "1465m", "--lifetime-stagger", "73m"]),
        ("30:00", ["--lifetime", "25m", "--lifetime-stagger", "1m"]),
        ("00:09:00", None),
        ("soon", None),
        (None, None),
    ],
)
def test_workers_of_a_queue_leave_before_their_walltime(walltime, lifetime):
    found = with_lifetime({"walltime": walltime, "cores": 1})
    assert found.get("worker_extra_args") == lifetime


def test_a_lifetime_of_ones_own_is_kept():
    own = {"walltime": "04:00:00", "worker_extra_args": ["--lifetime", "1h"]}
    assert with_lifetime(own) == own


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
    with dask_jobqueue.SLURMCluster(**with_lifetime(options)) as cluster:
        script = cluster.job_script()
    for line in ("-p gpu", "-t 04:00:00", "--gres=gpu:1", "--mem=15G"):
        assert f"#SBATCH {line}" in script
    assert "--nthreads 1" in script
    assert "--resources GPU=1 --lifetime 235m --lifetime-stagger 11m" in script


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
    with pytest.raises(InputError, match="must have harness at commit"):
        check_alike(ours, replace(ours, commit="0" * 40), 1)


def test_a_process_that_reads_other_data_builds_no_workshop(cache, tmp_path):
    small = ["data.height=64", "data.width=128", "data.train=8", "data.val=4", "data.seed=7"]
    spec = load_spec(config_path("streets_standard"), changes=small)
    with pytest.raises(InputError, match="must read the data that the command reads"):
        build_workshop(spec, ["random-region"], tmp_path, collect(1), data_fingerprint="a-b")


def test_an_address_without_a_scheduler_is_refused():
    with pytest.raises(InputError, match="--scheduler must be the address of a Dask scheduler"):
        Dask("nonsense://here")(lambda: None, [], report=print, ended=print)
