import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import InputError
from harness.files import atomic_write, write_text
from harness.provenance import collect
from harness.results import (
    SCHEMA_VERSION,
    RunFolder,
    RunInfo,
    find_runs,
    read_run,
    read_timings,
    run_path,
)
from harness.types import Clicks, ClickTotals, CostQuality, ImageAreas, Receipt, RoundRecord

EXAMPLES = Path(__file__).parent.parent / "data" / "schema"


def info(**changes) -> RunInfo:
    values = {
        "schema_version": SCHEMA_VERSION,
        "strategy": "random-region",
        "equation": "uniform",
        "is_bound": False,
        "seed": 0,
        "data_fingerprint": "abc",
        "totals": ClickTotals(100, 20),
        "train_images": 2,
        "train_px": 64,
        "val_images": 1,
        "config_sha256": "def",
        "config": {"name": "toy", "harness": {"rounds": 2}},
        "provenance": collect(1),
        "class_names": ["road", "sidewalk"],
    }
    return RunInfo(**{**values, **changes})


def record(number: int) -> RoundRecord:
    receipt = Receipt("img", 0, 1, 4, 4, 16, 3, 2, 4, 1, 0.5, None, 1.25)
    return RoundRecord(
        number,
        [receipt],
        16,
        20,
        Clicks(3, 2, 4, 1),
        [ImageAreas("v", [1, 2], [2, 2], [1, 3])],
        CostQuality(4, 0.1, None, 0.3),
        "key",
    )


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    return RunFolder(run_path(tmp_path, "random-region", 0))


def test_what_is_written_is_read_back(folder, tmp_path):
    assert folder.open(info()) == []
    folder.append(record(0))
    folder.append(record(1))
    folder.append_timings(0, {"training": 1.23456})
    run = read_run(folder.path)
    assert run.rounds == [record(0), record(1)]
    assert run.info == info(provenance=run.info.provenance, chained=True)
    assert read_timings(folder.path) == [{"round": 0, "training": 1.235}]
    assert find_runs(tmp_path) == [folder.path]
    assert folder.open(info()) == [record(0), record(1)]


@pytest.mark.parametrize("cut", [1, 20, 200])
def test_a_torn_last_line_is_dropped(folder, cut):
    folder.open(info())
    folder.append(record(0))
    folder.append(record(1))
    file = folder.path / "rounds.jsonl"
    file.write_bytes(file.read_bytes()[:-cut])
    assert read_run(folder.path).rounds == [record(0)]
    assert folder.open(info()) == [record(0)]
    folder.append(record(1))
    assert read_run(folder.path).rounds == [record(0), record(1)]


def test_a_damaged_line_stops_with_file_and_line(folder):
    folder.open(info())
    for number in range(3):
        folder.append(record(number))
    file = folder.path / "rounds.jsonl"
    lines = file.read_text().splitlines()
    lines[1] = lines[1].replace('"labelled_px":16', '"labelled_px":17')
    file.write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=r"rounds.jsonl:2: damaged line"):
        read_run(folder.path)


def test_rubbish_and_missing_rounds_are_noticed(folder):
    folder.open(info())
    folder.append(record(1))
    with pytest.raises(InputError, match=r"rounds.jsonl:1"):
        read_run(folder.path)
    (folder.path / "rounds.jsonl").write_text("rubbish\n")
    with pytest.raises(InputError, match=r"rounds.jsonl:1: not a round record"):
        read_run(folder.path)


def test_another_configuration_is_refused(folder):
    folder.open(info())
    with pytest.raises(InputError, match="another config_sha256"):
        folder.open(info(config_sha256="other"))
    with pytest.raises(InputError, match="another data_fingerprint"):
        folder.open(info(data_fingerprint="other"))
    assert folder.open(info(provenance=replace(collect(1), commit="other"))) == []


def test_a_board_is_told_by_config_data_device_and_trainer():
    base = info().board
    for change in (
        {"config_sha256": "x"},
        {"data_fingerprint": "x"},
        {"device": "cuda"},
        {"trainer_version": 2},
    ):
        assert info(**change).board != base
    assert info(seed=5, strategy="other").board == base


def test_leftovers_of_a_half_deleted_run_are_not_continued(folder):
    folder.open(info())
    folder.append(record(0))
    (folder.path / "run.json").unlink()
    assert folder.open(info()) == []
    folder.append(record(0))
    assert read_run(folder.path).rounds == [record(0)]


def test_a_newer_schema_is_refused(folder):
    folder.open(info())
    file = folder.path / "run.json"
    file.write_text(file.read_text().replace('"schema_version": 1', '"schema_version": 99'))
    with pytest.raises(InputError, match="schema version must be 1, got 99"):
        read_run(folder.path)


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("v*")), ids=lambda path: path.name)
def test_every_schema_version_still_loads(example, tmp_path):
    name = json.loads((example / "run.json").read_text())["strategy"]
    run = read_run(Path(shutil.copytree(example, run_path(tmp_path, name, 0))))
    assert run.info.schema_version == int(example.name.removeprefix("v"))
    assert [entry.round for entry in run.rounds] == list(range(len(run.rounds)))
    assert len(run.rounds) > 1


def test_there_is_an_example_of_the_current_schema():
    assert (EXAMPLES / f"v{SCHEMA_VERSION}" / "run.json").is_file()


def test_files_are_whole_or_not_there(tmp_path):
    write_text(tmp_path / "a.txt", "one")

    def half_way():
        with atomic_write(tmp_path / "a.txt") as draft:
            draft.write_text("two")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        half_way()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.txt", "one")]


def test_provenance_names_versions_and_commit():
    found = collect(2)
    assert found.versions["torch"].startswith("2.")
    assert found.threads == 2
    assert found.commit is None or len(found.commit) == 40
    json.dumps(found.versions)
