"""`harness explain` on a very small board: the query made again is the recorded one."""

import json
import os
import shutil

import pytest

from tests.commands import CommandLine

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def board(tmp_path_factory, board_of, cache):
    line = CommandLine(tmp_path_factory.mktemp("explained") / "board", cache)
    shutil.copytree(board_of("random-region,cereals-g2-vote-entropy,entropy-image"), line.folder)
    return line


@pytest.mark.parametrize("strategy", ["random-region", "cereals-g2-vote-entropy", "entropy-image"])
@pytest.mark.parametrize("round_number", [1, 2])
def test_a_query_is_made_again_with_its_reasons(board, strategy, round_number):
    run = f"out/runs/{strategy}/seed-0"
    done = board("explain", run, "--round", str(round_number))
    assert done.returncode == 0, done.stderr
    assert "the query made again is the recorded one" in done.stdout
    document = json.loads(
        (board.folder / "explained" / f"{strategy}-seed-0-round-{round_number}.json").read_text()
    )
    assert document["reproduced"] is True
    ranks = [window["rank"] for window in document["windows"]]
    assert ranks == list(range(1, len(ranks) + 1))
    for window in document["windows"]:
        assert window["score"] <= document["windows"][0]["score"]
        near = window["strongest_suppressed"]
        assert near is None or near["score"] <= window["score"]
        if strategy.startswith("cereals"):
            assert window["score"] == pytest.approx(
                (1 - window["cost_scaled"]) * window["information_scaled"]
            )


def test_a_picture_of_one_image(board):
    run = board.folder / "out/runs/cereals-g2-vote-entropy/seed-0"
    board("explain", str(run), "--out", "first")
    document = json.loads(
        (board.folder / "first" / "cereals-g2-vote-entropy-seed-0-round-2.json").read_text()
    )
    image = document["windows"][0]["image_id"]
    done = board("explain", str(run), "--image", image)
    assert done.returncode == 0, done.stderr
    (picture,) = (board.folder / "explained").glob(f"*-{image}.png")
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("out/runs/random-region/seed-0", "--round", "0"), "--round must be from 1 to 2"),
        (
            ("out/runs/random-region/seed-0", "--image", "nowhere"),
            "--image must be one that round 2 asked for",
        ),
        (("out/runs/none/seed-0",), "not a run description"),
    ],
)
def test_bad_input_is_one_line(board, arguments, message):
    refused = board("explain", *arguments)
    assert refused.returncode == 2
    assert message in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_modules_of_a_run_are_imported_when_that_is_allowed(board, tiny_config, monkeypatch):
    """A run.json may come from anyone, and a module is code."""
    path = os.pathsep.join([str(board.folder), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setitem(board.environment, "PYTHONPATH", path)
    (board.folder / "my_types.py").write_text("import pathlib; pathlib.Path('seen').touch()\n")
    (board.folder / "own.py").write_text(
        f'_base_ = ["{tiny_config}"]\ncustom_imports = dict(imports=["my_types"])\n'
    )
    done = board(
        *("bench", "--config", "own.py", "--strategies", "random-region", "--seeds", "0"),
        *("--out", "own", "--workers", "1", "--set", "harness.rounds=1"),
    )
    assert done.returncode == 0, done.stderr
    (board.folder / "seen").unlink()
    refused = board("explain", "own/runs/random-region/seed-0")
    assert refused.returncode == 2
    assert "imports the modules ['my_types'], which is code" in refused.stderr
    assert not (board.folder / "seen").exists()
    allowed = board("explain", "own/runs/random-region/seed-0", "--allow-imports")
    assert allowed.returncode == 0, allowed.stderr
    assert (board.folder / "seen").exists()


def test_losses_are_kept_beside_each_run_and_shown_where_that_is_asked_for(board, tiny_config):
    done = board(
        *("bench", "--config", str(tiny_config), "--strategies", "random-region", "--seeds", "0"),
        *("--out", "shown", "--workers", "1", "--set", "harness.rounds=1"),
        *("--set", "vis_backends=[dict(type='LocalVisBackend')]"),
    )
    assert done.returncode == 2
    assert "vis_backends" in done.stderr
    (board.folder / "shown.py").write_text(
        f'_base_ = ["{tiny_config}"]\nvis_backends = [dict(type="LocalVisBackend")]\n'
    )
    asked = ("bench", "--config", "shown.py", "--strategies", "random-region", "--seeds", "0")
    done = board(*asked, "--out", "shown", "--workers", "1", "--set", "harness.rounds=1")
    assert done.returncode == 0, done.stderr
    for folder, rounds in (("seed-set", [0]), ("random-region", [1]), ("full-data", [0])):
        place = board.folder / "shown/runs" / folder / "seed-0"
        if folder == "seed-set" and not place.is_dir():
            continue  # one run alone trains its own first networks
        rows = [json.loads(line) for line in (place / "losses.jsonl").read_text().splitlines()]
        assert [row["round"] for row in rows][-len(rounds) :] == rounds
        for row in rows:
            assert len(row["step"]) == len(row["loss"]) == len(row["lr"])
            assert row["step"][-1] >= 6
            assert all(value > 0 for value in row["loss"])
    shown = list((board.folder / "shown/vis").rglob("*.json"))
    scalars = (board.folder / "shown/vis/random-region/seed-0/round-1").rglob("*.json")
    lines = [json.loads(line) for file in scalars for line in file.read_text().splitlines()]
    assert {"loss", "lr", "step"} <= set(lines[0])
    assert len(shown) >= 3


@pytest.mark.parametrize(
    ("backend", "said"),
    [
        ("dict(type='NoBackend')", "vis_backends[0].type must be one of"),
        ("dict(type='WandbVisBackend')", "vis_backends[0] needs the package wandb"),
    ],
)
def test_a_backend_that_is_not_there_is_refused(board, tiny_config, backend, said):
    (board.folder / "gone.py").write_text(
        f'_base_ = ["{tiny_config}"]\nvis_backends = [{backend}]\n'
    )
    done = board(
        "bench",
        "--config",
        "gone.py",
        "--strategies",
        "random-region",
        "--dry-run",
        "--out",
        "gone",
    )
    assert done.returncode == 2
    assert said in done.stderr
