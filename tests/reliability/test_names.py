"""Names that come from elsewhere cannot leave the output folder, nor become code on the page. docs/project/security.md"""

import json
import shutil

import pytest

import strategies
from harness.claims import claim
from harness.errors import InputError
from harness.maps import DiskMaps
from harness.publish.board import build_board
from harness.publish.columns import columns_of
from harness.publish.document import build_document
from harness.publish.page import to_page
from harness.results import find_runs

EVIL = [
    "../evil",
    "/etc/evil",
    "a/../../evil",
    "..",
    "evil\x00",
    "a\\b",
    "<script>alert(1)</script>",
]


@pytest.mark.parametrize("name", EVIL)
def test_no_strategy_has_such_a_name(name):
    with pytest.raises(InputError):
        strategies.make(name)


@pytest.mark.parametrize("name", [name for name in EVIL if "\x00" not in name])
def test_a_claim_stays_in_its_folder(tmp_path, name):
    with claim(tmp_path / "claims", name):
        assert [path.parent for path in tmp_path.rglob("*.claim")] == [tmp_path / "claims"]


def test_image_ids_come_from_file_names_so_maps_stay_in_their_folder(tmp_path, train_split):
    for image_id in train_split.files:
        assert "/" not in image_id
        file = DiskMaps(tmp_path)._file(f"key/{image_id}")
        assert file.resolve().is_relative_to(tmp_path.resolve())


def test_what_a_run_says_is_shown_as_text(folder, undisturbed, tmp_path):
    """A remark, an equation and an image id that try to end the script block of the page."""
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
    source = folder / "undisturbed/out/runs"
    shutil.copytree(source, tmp_path / "runs")
    for path in find_runs(tmp_path):
        document = json.loads((path / "run.json").read_text())
        document.pop("crc32")
        document["equation"] = evil
        document["chained"] = False  # as older code left it: nothing binds the rounds to this file
        document["config"]["remark"] = evil
        (path / "run.json").write_text(json.dumps(document))
    board = build_board(tmp_path)
    to_page(
        board, build_document(board, None, [evil]), columns_of(board, None), tmp_path / "page.html"
    )
    page = (tmp_path / "page.html").read_text()
    assert evil not in page
    assert "alert(1)" in page  # it is there, as data
    data = page.split('<script type="application/json" id="data">')[1].split("</script>")[0]
    assert json.loads(data)["document"]["notes"] == [evil]


@pytest.mark.parametrize("block", ["model", "optim_wrapper", "param_scheduler"])
def test_a_foreign_run_names_nothing_that_is_imported_and_called(
    folder, faults, undisturbed, tmp_path, block
):
    """mmengine imports any dotted type that a config names; a run folder is data, and ``harness explain`` refuses it."""
    shutil.copytree(folder / "undisturbed/out/runs", tmp_path / "runs")
    run = next((tmp_path / "runs").glob("cereals-*/seed-0"))
    marker, document = tmp_path / "marker", json.loads((run / "run.json").read_text())
    document.pop("crc32")
    evil = {"type": "subprocess.Popen", "args": ["touch", str(marker)]}
    if block == "param_scheduler":
        document["config"][block] = [evil]
    else:
        document["config"][block][{"model": "backbone", "optim_wrapper": "optimizer"}[block]] = evil
    (run / "run.json").write_text(json.dumps(document))
    assert faults.run(tmp_path, "explain", str(run)) == 2
    assert "subprocess.Popen" in (tmp_path / "log.txt").read_text()
    assert not marker.exists()
