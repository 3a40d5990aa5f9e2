"""`harness explain` on a very small board: the query made again is the recorded one."""

import json

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def board(tmp_path_factory, tiny_config, cache):
    from tests.smoke.conftest import CommandLine

    line = CommandLine(tmp_path_factory.mktemp("board"), cache)
    chosen = "random-region,cereals-g2-vote-entropy,entropy-image"
    done = line(
        "bench",
        "--strategies",
        chosen,
        "--config",
        str(tiny_config),
        "--workers",
        "1",
        "--seeds",
        "0",
    )
    assert done.returncode == 0, done.stderr
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
        (("out/runs/random-region/seed-0", "--round", "0"), "--round is 0; allowed: 1 to 2"),
        (
            ("out/runs/random-region/seed-0", "--image", "nowhere"),
            "--image is 'nowhere'; allowed: an image that round 2 asked for",
        ),
        (("out/runs/none/seed-0",), "not a run description"),
    ],
)
def test_bad_input_is_one_line(board, arguments, message):
    refused = board("explain", *arguments)
    assert refused.returncode == 2
    assert message in refused.stderr
    assert refused.stderr.count("\n") == 1
