"""Photographs of the embedded pack behind the windows of a board that was run on it."""

import json
from dataclasses import asdict, replace

import pytest

from harness.publish.board import build_board
from harness.publish.photographs import generated_photos
from harness.publish.write import write_files
from harness.results import RunFolder, run_path
from tests.conftest import TINY
from tests.unit.test_publish import info, record, write

DATA = {"type": "streets", **asdict(TINY)}


@pytest.fixture(scope="module")
def fingerprint(train_split, val_split) -> str:
    return f"{train_split.index.fingerprint[:32]}-{val_split.index.fingerprint[:32]}"


def board(folder, fingerprint, **data):
    config = {"name": "toy", "harness": {"rounds": 2}, "data": {**DATA, **data}}
    write(
        folder,
        "random-region",
        0,
        [0.4, 0.5, 0.6],
        [100, 200, 300],
        config=config,
        data_fingerprint=fingerprint,
    )
    return build_board(folder)


def test_they_are_those_that_the_runs_were_made_on(tmp_path, train_split, fingerprint):
    found = generated_photos(board(tmp_path, fingerprint))
    assert found.keys() == train_split.files.keys()
    for image_id, file in found.items():
        assert file.read_bytes() == train_split.files[image_id].photo.read_bytes()


@pytest.mark.parametrize("data", [{"seed": 8}, {"type": "cityscapes"}, {"train": 100_000}])
def test_there_are_none_of_other_data_and_none_of_a_large_pack(tmp_path, cache, fingerprint, data):
    assert generated_photos(board(tmp_path, fingerprint, **data)) == {}


def test_there_are_none_where_runs_are_of_several_data_sets(tmp_path, cache, fingerprint):
    board(tmp_path, fingerprint)
    write(tmp_path, "zebra", 0, [0.4, 0.5, 0.6], [100, 200, 300])
    assert generated_photos(build_board(tmp_path, mixed=True)) == {}


def test_the_page_holds_those_that_were_asked_for(tmp_path, train_split, fingerprint):
    asked = min(train_split.files)
    config = {"name": "toy", "harness": {"rounds": 0}, "data": DATA}
    run = RunFolder(run_path(tmp_path, "random-region", 0))
    run.open(info("random-region", 0, config=config, data_fingerprint=fingerprint))
    made = record(0, 0.5, 100)
    query = [receipt._replace(image_id=asked) for receipt in made.query]
    run.append(replace(made, query=query))
    write_files(build_board(tmp_path), tmp_path / "out", kinds=())
    page = (tmp_path / "out/index.html").read_text()
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    assert list(data["photos"]) == data["images"] == [asked]
    assert data["photos"][asked].startswith("data:image/jpeg;base64,")
