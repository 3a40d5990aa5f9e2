"""What is deleted, and what never is; what --overwrite replaces."""

import re

import pytest

from harness.files import draft_folder, new_draft, remove_own, sweep_drafts
from harness.networks import OWN_FILES, NetworkStore
from harness.results import find_runs
from tests.edges.conftest import masks_config, write_masks

KEY = "0123456789abcdef"
BENCH = ("bench", "--config", "my.py", "--strategies", "random-region", "--workers", "1")


def make_ours(folder):
    for name in (
        f"{KEY}/weights.pt",
        f"{KEY}/validation.json",
        f"{KEY}/training/training.ckpt",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("ours")
    (folder / f"{KEY}/maps-own/strategies.measures.entropy-1-window").mkdir(parents=True)
    (folder / f"{KEY}/maps-own/strategies.measures.entropy-1-window/image.map").write_text("ours")
    (folder / f"{KEY}/.weights.pt-abcd1234").write_text("a draft of ours")


def test_only_files_of_ours_are_deleted(tmp_path):
    work = tmp_path / "work"
    make_ours(work)
    (work / "claims").mkdir()
    (work / "claims/x.claim").write_text("ours")
    (work / f"{KEY}/thesis.tex").write_text("not ours")
    (work / "other").mkdir()
    (work / "other/weights.pth").write_text("not ours")
    left = remove_own(work, OWN_FILES)
    assert sorted(path.name for path in left) == ["thesis.tex", "weights.pth"]
    assert sorted(p.name for p in work.rglob("*") if p.is_file()) == ["thesis.tex", "weights.pth"]
    assert not (work / "claims").exists()


def test_a_finished_board_keeps_the_first_networks_and_nothing_else_of_ours(tmp_path):
    work = tmp_path / "work"
    make_ours(work / "shared")
    make_ours(work / "random-region-seed-0-own")
    features = work / f"features/{KEY}/0123.features"
    features.parent.mkdir(parents=True)
    features.write_text("ours")
    NetworkStore.clear_up(work)
    kept = {str(path.relative_to(work)) for path in work.rglob("*") if path.is_file()}
    assert kept == {f"shared/{KEY}/weights.pt", f"shared/{KEY}/validation.json"}


def test_a_link_is_never_followed_nor_deleted(tmp_path):
    scratch = tmp_path / "scratch"
    make_ours(scratch)
    (tmp_path / "out").mkdir()
    link = tmp_path / "out/.harness-work"
    link.symlink_to(scratch)
    before = sorted(scratch.rglob("*"))
    NetworkStore.clear_up(link)
    NetworkStore.clear_all(link)
    assert remove_own(link, OWN_FILES) == [link]
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "weights.pt").symlink_to(scratch / f"{KEY}/weights.pt")
    (inner / "deep").symlink_to(scratch)
    assert len(remove_own(inner, re.compile(".*"))) == 2
    assert sorted(scratch.rglob("*")) == before
    assert link.is_symlink()


def test_the_end_of_a_board_leaves_what_others_have_in_its_work_folder(tmp_path, harness):
    write_masks(tmp_path / "data")
    masks_config(tmp_path)
    scratch = tmp_path / "scratch"
    (scratch / "project").mkdir(parents=True)
    (scratch / "project/results.csv").write_text("years of work")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/.harness-work").symlink_to(scratch)
    code, *_ = harness(*BENCH)
    assert code == 0
    assert (scratch / "project/results.csv").read_text() == "years of work"
    (tmp_path / "out/.harness-work").unlink()
    (tmp_path / "out/.harness-work/mine").mkdir(parents=True)
    (tmp_path / "out/.harness-work/mine/notes.txt").write_text("mine")
    code, *_ = harness(*BENCH, "--overwrite")
    assert code == 0
    assert (tmp_path / "out/.harness-work/mine/notes.txt").read_text() == "mine"


def rounds(out):
    return {
        str(path.relative_to(out)): path.read_bytes() for path in out.glob("runs/*/*/rounds.jsonl")
    }


def test_overwriting_with_another_class_map_is_a_new_board(tmp_path, harness):
    write_masks(tmp_path / "data")
    masks_config(tmp_path, classes={0: "background", 1: "cell", 2: "cell"})
    assert harness(*BENCH)[0] == 0
    masks_config(tmp_path, classes={0: "background", 1: "cell", 2: "background"})
    code, _, said = harness(*BENCH)
    assert code == 2
    assert "another board" in said
    assert harness(*BENCH, "--overwrite")[0] == 0
    assert harness(*BENCH, "--out", "fresh")[0] == 0
    assert rounds(tmp_path / "out") == rounds(tmp_path / "fresh")
    names = ["leaderboard.csv", "leaderboard.json", "leaderboard.tex"]
    assert [(tmp_path / "out" / n).read_bytes() for n in names] == [
        (tmp_path / "fresh" / n).read_bytes() for n in names
    ]
    assert not list((tmp_path / "out").rglob("replaced-*"))


@pytest.mark.parametrize(
    "extra",
    [
        "model['backbone'] = dict(pretrained='missing.pth')",
        "training['steps'] = 0",
        "param_scheduler = [dict(type='Nobody')]",
        "data['classes'] = {0: 'background', 9: 'nothing'}",
        "harness['window'] = 500",
    ],
)
def test_an_overwrite_that_cannot_begin_deletes_nothing(tmp_path, harness, extra):
    write_masks(tmp_path / "data")
    masks_config(tmp_path)
    assert harness(*BENCH)[0] == 0
    before = {p: p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    masks_config(tmp_path, extra=extra)
    code, _, said = harness(*BENCH, "--overwrite")
    assert code == 2
    assert len(said.splitlines()) == 1
    after = {p: p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert {p: c for p, c in after.items() if ".lock" not in p.name} == {
        p: c for p, c in before.items() if ".lock" not in p.name
    }


def test_what_is_replaced_goes_when_its_replacement_is_there(tmp_path, harness, monkeypatch):
    write_masks(tmp_path / "data")
    masks_config(tmp_path)
    assert harness(*BENCH)[0] == 0
    old = rounds(tmp_path / "out")
    with monkeypatch.context() as patch:

        def dies(*_, **__):
            raise KeyboardInterrupt

        patch.setattr("harness.workers.run_jobs", dies)
        assert harness(*BENCH, "--overwrite")[0] == 130
    aside = list((tmp_path / "out/runs").glob("*/replaced-seed-0"))
    assert [path.joinpath("rounds.jsonl").read_bytes() for path in aside] == [
        old["runs/random-region/seed-0/rounds.jsonl"]
    ]
    assert [path.parent.name for path in find_runs(tmp_path / "out")] == ["full-data"]
    assert harness(*BENCH)[0] == 0
    assert rounds(tmp_path / "out") == old
    assert not list((tmp_path / "out").rglob("replaced-*"))


def test_drafts_of_dead_processes_go_and_those_of_living_ones_stay(tmp_path):
    mine = new_draft(tmp_path, "pack")
    dead = tmp_path / mine.name.replace(f"-{__import__('os').getpid()}-", "-4194304-")
    dead.mkdir()
    (dead / "part.raw").write_text("x")
    foreign = tmp_path / ".pack-anothermachine-1-abcd1234"
    foreign.mkdir()
    sweep_drafts(tmp_path)
    assert mine.is_dir()
    assert foreign.is_dir()
    assert not dead.exists()
    with draft_folder(tmp_path, "x") as draft:
        assert draft.is_dir()
    assert not draft.exists()


def test_a_draft_is_ours_by_what_it_was_to_become(tmp_path):
    work = tmp_path / "work"
    make_ours(work / "shared")
    theirs = work / "shared" / KEY / ".my-settings-abcd1234"
    theirs.write_text("not ours")
    (work / "shared" / KEY / ".my-settings").write_text("not ours")
    NetworkStore.clear_all(work)
    left = sorted(path.name for path in work.rglob("*") if path.is_file())
    assert left == [".my-settings", ".my-settings-abcd1234"]


def test_a_link_among_the_networks_is_not_followed(tmp_path):
    theirs = tmp_path / "theirs"
    make_ours(theirs)
    work = tmp_path / "work"
    make_ours(work / "shared")
    (work / "shared" / "fedcba9876543210").symlink_to(theirs / KEY)
    before = sorted(theirs.rglob("*"))
    NetworkStore.clear_up(work)
    NetworkStore.clear_all(work)
    assert sorted(theirs.rglob("*")) == before
    assert (work / "shared" / "fedcba9876543210").is_symlink()


def test_overwriting_keeps_settings_of_others_and_what_a_link_leads_to(tmp_path, harness):
    write_masks(tmp_path / "data")
    masks_config(tmp_path)
    assert harness(*BENCH)[0] == 0
    work = tmp_path / "out/.harness-work"
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "weights.pt").write_text("years of training")
    make_ours(work / "shared")
    link = work / "shared" / "fedcba9876543210"
    link.symlink_to(theirs)
    settings = [work / ".my-settings", work / "shared" / KEY / ".my-settings"]
    for file in settings:
        file.write_text("not ours")
    masks_config(tmp_path, extra="training['steps'] = 5")  # another board: its networks go
    assert harness(*BENCH, "--overwrite")[0] == 0
    assert [file.read_text() for file in settings] == ["not ours", "not ours"]
    assert (theirs / "weights.pt").read_text() == "years of training"
    assert link.is_symlink()
    assert [path.name for path in (work / "shared" / KEY).iterdir()] == [".my-settings"]
