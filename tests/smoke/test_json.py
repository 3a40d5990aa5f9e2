"""`--json` prints one document and nothing else on standard output."""

import json

import pytest

pytestmark = pytest.mark.slow


def parsed(done, code=0):
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def test_data_and_strategies_as_documents(harness):
    made = harness("data", "make", "--out", "p", "--size", "64x128", "--train", "3", "--val", "2")
    assert made.returncode == 0, made.stderr
    stats = parsed(harness("data", "stats", "--data-root", "p", "--json"))
    assert stats["simulated_clicks"] is False
    assert stats["rows"][0]["class"] == "road"
    windows = parsed(harness("data", "windows", "--data-root", "p", "--sides", "16", "--json"))
    assert windows["rows"][0]["windows"] == 3 * (64 - 15) * (128 - 15)
    image = next((harness.folder / "p/leftImg8bit/train").rglob("*.png")).name
    receipt = parsed(
        harness(
            *("data", "receipt", "--data-root", "p", "--region", "0,0,16,16", "--json"),
            *("--image", image.removesuffix("_leftImg8bit.png")),
        )
    )
    assert receipt["box"] == 4
    assert 0 <= receipt["cost_b"] < 1
    listed = parsed(harness("strategies", "--json"))
    assert {"random-region", "bald", "coreset"} < {item["name"] for item in listed}
    (one,) = parsed(harness("strategies", "ripu[radius=2]+g2", "--json"))
    assert (one["name"], one["cost"], one["committee"]) == ("ripu[radius=2]+g2", "predicted", False)


def test_a_board_as_documents(harness, tiny_config):
    asked = ("bench", "--config", str(tiny_config), "--strategies", "random-region")
    refused = harness(*asked, "--json")
    assert refused.returncode == 2
    assert "--json goes with --dry-run" in refused.stderr
    forecast = parsed(harness(*asked, "--seeds", "0", "--dry-run", "--json"))
    assert (forecast["runs_left"], forecast["references_left"]) == (1, 1)
    assert forecast["seconds"] > 0
    clicks = forecast["polygon_clicks_of_all"] + forecast["class_clicks_of_all"]
    assert forecast["hours_of_all"] == pytest.approx(3.15 * clicks / 3600)
    done = harness(*asked, "--seeds", "0", "--workers", "1")
    assert done.returncode == 0, done.stderr
    board = parsed(harness("publish", "--runs", "out", "--allow-dirty", "--json"))
    assert board == json.loads((harness.folder / "out/leaderboard.json").read_text())
    whole = parsed(harness("doctor", "out", "--json"))
    assert whole == {"runs": 2, "problems": [], "left": 0}
    file = harness.folder / "out/runs/random-region/seed-0/rounds.jsonl"
    file.write_bytes(file.read_bytes()[:-20])
    broken = parsed(harness("doctor", "out", "--json"), code=1)
    assert broken["left"] == len(broken["problems"]) == 1
    repaired = parsed(harness("doctor", "out", "--mend", "--json"))
    assert repaired["problems"][0]["mended"] is True
