"""Several processes in one output folder."""

import multiprocessing
import os
import platform
import signal
import time

import pytest

from harness.claims import Presence, alone, claim, holder, queue_job
from harness.errors import InputError


def _stay(out, entered):
    with Presence(out), claim(out, "work") as mine:
        entered.put(mine)
        time.sleep(60)


@pytest.fixture
def neighbour(tmp_path):
    """A process that is at work in the folder and has claimed "work"."""
    context = multiprocessing.get_context("spawn")
    entered = context.Queue()
    process = context.Process(target=_stay, args=(tmp_path, entered))
    process.start()
    assert entered.get(timeout=60)
    yield process
    process.kill()
    process.join()


def test_a_claim_is_anothers_while_it_lives_and_free_when_it_is_killed(tmp_path, neighbour):
    with claim(tmp_path, "work") as mine:
        assert not mine
    with claim(tmp_path, "other work") as mine:
        assert mine
    os.kill(neighbour.pid, signal.SIGKILL)
    neighbour.join()
    with claim(tmp_path, "work") as mine:
        assert mine


def test_a_live_neighbour_is_seen_and_a_dead_one_is_not(tmp_path, neighbour):
    with Presence(tmp_path) as presence, presence.guard():
        assert [name.rpartition("-")[2] for name in presence.others()] == [str(neighbour.pid)]
    with (
        pytest.raises(InputError, match=f"another harness process works there .*-{neighbour.pid}"),
        alone(tmp_path),
    ):
        pass
    os.kill(neighbour.pid, signal.SIGKILL)
    neighbour.join()
    with alone(tmp_path) as presence:
        assert presence.others() == []


def test_the_last_to_leave_clears_up(tmp_path):
    with Presence(tmp_path):
        with Presence(tmp_path):
            pass
        assert (tmp_path / ".harness-members").is_dir()
    assert not (tmp_path / ".harness-members").exists()


def test_a_claim_holds_within_one_process_too_and_names_are_files(tmp_path):
    with (
        claim(tmp_path, "../cereals-g3[alpha=0.5] seed 0") as mine,
        claim(tmp_path, "../cereals-g3[alpha=0.5] seed 0") as again,
    ):
        assert (mine, again) == (True, False)
        assert {path.name for path in tmp_path.iterdir()} == {
            ".._cereals-g3[alpha=0.5]_seed_0.claim",
            ".._cereals-g3[alpha=0.5]_seed_0.holder",
        }


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"), Presence(tmp_path / "file"):
        pass


def test_whoever_has_a_claim_is_named_while_it_lives(tmp_path, neighbour):
    found = holder(tmp_path, "work")
    assert (found.machine, found.process) == (platform.node(), neighbour.pid)
    assert holder(tmp_path, "other work") is None
    neighbour.kill()
    neighbour.join()
    assert holder(tmp_path, "work") is None
    with claim(tmp_path, "work") as mine:
        assert mine
        assert holder(tmp_path, "work").process == os.getpid()
    assert holder(tmp_path, "work") is None
    assert not list(tmp_path.glob("*.holder"))


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, ""),
        ({"SLURM_JOB_ID": "77"}, "Slurm job 77"),
        (
            {"SLURM_JOB_ID": "79", "SLURM_ARRAY_JOB_ID": "77", "SLURM_ARRAY_TASK_ID": "2"},
            "Slurm job 77_2",
        ),
        ({"PBS_JOBID": "5.head"}, "PBS job 5.head"),
        ({"JOB_ID": "12"}, "SGE job 12"),
        ({"LSB_JOBID": "9"}, "LSF job 9"),
    ],
)
def test_the_job_of_a_queue_is_named_as_its_own_tools_name_it(environment, said):
    assert queue_job(environment) == said
