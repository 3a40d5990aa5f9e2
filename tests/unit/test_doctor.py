"""Every file of a run truncated at every place and flipped at many: found, repaired, and then the run goes on."""

import os
import shutil
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.cli.doctor import doctor
from harness.doctor import COPY_SUFFIX, examine, repair
from harness.errors import InputError
from harness.results import RunFolder, read_run, run_path
from harness.types import Clicks
from tests.examples import examples
from tests.unit.test_results import info, record


@pytest.fixture
def out(tmp_path):
    folder = RunFolder(run_path(tmp_path, "random-region", 0))
    folder.open(info(config={"name": "toy", "harness": {"rounds": 2}}))
    for number in range(3):
        folder.append(a_record(number))
        folder.append_timings(number, {"training": 1.0})
    return tmp_path


def a_record(number: int):
    """A record whose bill adds up: one receipt of 16 px and 3 + 2 + 4 + 1 clicks a round."""
    times = number + 1
    return replace(
        record(number),
        clicks=Clicks(3 * times, 2 * times, 4 * times, times),
        labelled_px=16 * times,
        budget_px=20 * times,
    )


def rounds_file(out):
    return run_path(out, "random-region", 0) / "rounds.jsonl"


def test_a_whole_folder_has_no_findings(out):
    assert list(examine(out)) == []
    assert doctor(out, mend=False) == 0


@examples(80)
@given(cut=st.integers(0, 10_000))
def test_rounds_cut_anywhere_are_repaired_with_a_copy(tmp_path_factory, cut):
    out = tmp_path_factory.mktemp("out")
    folder = RunFolder(run_path(out, "random-region", 0))
    folder.open(info(config={"name": "toy", "harness": {"rounds": 2}}))
    for number in range(3):
        folder.append(a_record(number))
    file = rounds_file(out)
    whole = file.read_bytes()
    damaged = whole[: cut % len(whole)]
    file.write_bytes(damaged)
    doctor(out, mend=True)
    assert list(examine(out)) == []
    assert whole.startswith(file.read_bytes())
    if file.read_bytes() != damaged:
        assert file.with_name(file.name + COPY_SUFFIX).read_bytes() == damaged
    # and the run goes on where it is whole
    assert len(
        folder.open(info(config={"name": "toy", "harness": {"rounds": 2}}))
    ) == file.read_bytes().count(b"\n")


@examples(80)
@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_flipped_bit_is_found_and_only_what_follows_is_lost(tmp_path_factory, place, bit):
    out = tmp_path_factory.mktemp("out")
    folder = RunFolder(run_path(out, "random-region", 0))
    folder.open(info(config={"name": "toy", "harness": {"rounds": 2}}))
    for number in range(3):
        folder.append(a_record(number))
    file = rounds_file(out)
    whole = bytearray(file.read_bytes())
    line = bytes(whole[: place % len(whole)]).count(b"\n")
    whole[place % len(whole)] ^= 1 << bit
    file.write_bytes(whole)
    assert list(examine(out))
    doctor(out, mend=True)
    kept = read_run(file.parent).rounds
    assert kept == [a_record(number) for number in range(len(kept))]
    assert len(kept) in {
        line,
        max(line - 1, 0),
    }  # a flipped line end spoils the line before it, too
    assert list(examine(out)) == []


def test_the_first_of_two_bad_lines_is_named_with_its_own_fault(out):
    file = rounds_file(out)
    chain = file.with_name("chain.jsonl")
    chain.write_text("0" * 64 + chain.read_text()[64:])
    file.write_bytes(b"".join([*file.read_bytes().splitlines(keepends=True)[:2], b"garbage\n"]))
    (finding,) = examine(out)
    assert finding.problem.startswith("line 1: must be a round of this run")


@pytest.mark.parametrize("content", [b"", b"{", b'{"schema_version": 1}', b"\xff\xfe"])
def test_a_broken_description_moves_the_run_aside(out, content):
    (rounds_file(out).parent / "run.json").write_bytes(content)
    assert doctor(out, mend=False) == 1
    assert doctor(out, mend=True) == 0
    assert (rounds_file(out).parent.parent / "damaged-seed-0" / "rounds.jsonl").exists()
    assert list(examine(out)) == []


def test_bills_and_budgets_that_do_not_add_up_are_found(tmp_path):
    folder = RunFolder(run_path(tmp_path, "random-region", 0))
    folder.open(info(config={"name": "toy", "harness": {"rounds": 1}}))
    folder.append(replace(a_record(0), clicks=Clicks(99, 2, 4, 1), labelled_px=18, budget_px=17))
    problems = [finding.problem for finding in examine(tmp_path)]
    assert problems == [
        "round 0: the receipts' clicks are not the bill's",
        "round 0: the receipts hold 16 new pixels, the record says 18",
    ]
    assert not any(repair(finding) for finding in examine(tmp_path))
    assert doctor(tmp_path, mend=True) == 1


def test_leftovers_and_timings_are_repaired(out):
    draft = out / ".leaderboard.md-ab12_x9z"
    draft.write_text("half")
    os.utime(draft, (0, 0))
    (out / ".leaderboard.md-in_use_0").write_text("half")
    (out / ".thesis-chapter1").write_text("mine")
    os.utime(out / ".thesis-chapter1", (0, 0))
    timings = rounds_file(out).parent / "timings.jsonl"
    timings.write_text(timings.read_text() + "not json\n")
    assert doctor(out, mend=True) == 0
    assert not draft.exists()
    assert (out / ".thesis-chapter1").exists()
    assert (out / ".leaderboard.md-in_use_0").exists()
    assert timings.read_text().count("\n") == 3
    assert (timings.parent / f"timings.jsonl{COPY_SUFFIX}").exists()


def test_what_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        doctor(tmp_path / "nowhere", mend=False)
    shutil.rmtree(tmp_path)
