"""``harness data``: for any data set, every problem, and a picture for a person."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.edges.conftest import masks_config


def test_masks_are_checked_and_shown(masks, tmp_path, harness):
    masks_config(tmp_path)
    code, out, err = harness("data", "check", "--config", "my.py", "--sheet", "sheet.png")
    assert (code, err) == (0, "")
    for said in ("SIMULATED vertices", "4 images of 64x96 px", "vessel", "simulated clicks"):
        assert said in out
    with Image.open(tmp_path / "sheet.png") as sheet:
        colours = sheet.convert("RGB").getcolors(1 << 24)
        assert sheet.width > 1000
    assert len(colours) > 100


def test_a_check_for_programs(masks, tmp_path, harness):
    masks_config(tmp_path)
    code, out, _ = harness("data", "check", "--config", "my.py", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["problems"] == []
    assert sum(found["splits"]["train"]["values"].values()) == 4 * 64 * 96
    assert found["splits"]["train"]["classes"] == {
        name: found["splits"]["train"]["values"][value]
        for value, name in (("0", "background"), ("1", "cell"), ("2", "vessel"))
    }
    assert found["splits"]["val"]["simulated_clicks"] is True


def test_every_problem_stands_in_a_line_of_its_own(masks, tmp_path, harness):
    masks_config(tmp_path)
    for name in ("train/train_0", "train/train_3", "val/val_1"):
        (masks / f"labels/{name}.png").unlink()
    Image.new("RGB", (96, 64)).save(masks / "labels/train/train_1.png")
    code, out, err = harness("data", "check", "--config", "my.py", "--sheet", "sheet.png")
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 4
    assert all(line.startswith("harness: ") for line in err.splitlines())
    assert not (tmp_path / "sheet.png").exists()


def test_usual_window_sides_are_those_that_fit(masks, tmp_path, harness):
    masks_config(tmp_path)
    code, out, _ = harness("data", "windows", "--config", "my.py", "--json")
    assert code == 0
    assert [row["side"] for row in json.loads(out)["rows"]] == [32, 64]


def test_a_receipt_takes_the_seconds_of_its_config(masks, tmp_path, harness):
    extra = "seconds_per_click = dict(polygon=100.0, intersection=0.0, box=0.0, classes=0.0)"
    masks_config(tmp_path, extra=extra)
    asked = ("data", "receipt", "--config", "my.py", "--image", "train_0", "--json")
    code, out, _ = harness(*asked, "--region", "0,0,64,96")
    found = json.loads(out)
    assert code == 0
    assert found["seconds"] == 100.0 * found["polygon"] > 0


def test_the_embedded_pack_can_be_checked_by_its_config(tmp_path, harness, pack):
    code, out, err = harness("data", "check", "--data-root", str(pack))
    assert (code, err) == (0, "")
    assert "the real Cityscapes" not in out
    assert "remark: val holds no pixel of the class" in out


def test_stats_and_receipts_of_masks_say_that_clicks_are_simulated(masks, tmp_path, harness):
    masks_config(tmp_path)
    code, out, _ = harness("data", "stats", "--config", "my.py", "--plot", "plot.png")
    assert code == 0
    assert "simulated clicks" in out
    assert (tmp_path / "plot.png").is_file()
    code, out, _ = harness(
        "data", "receipt", "--config", "my.py", "--image", "train_0", "--region", "5,5,30,40"
    )
    assert code == 0
    assert out.startswith("SIMULATED CLICKS")


def test_what_windows_cost_is_the_mean_of_the_bills_of_all_of_them(masks, tmp_path, harness):
    from harness.clicks import count_region
    from harness.config import load_spec
    from harness.data.source import open_splits
    from harness.data.statistics import per_window
    from harness.types import Region

    file = masks_config(tmp_path)
    code, out, _ = harness("data", "windows", "--config", "my.py", "--sides", "8,16")
    assert code == 0
    assert out.startswith("SIMULATED CLICKS")
    train, _ = open_splits(load_spec(file).data)
    bills = []
    for name, (height, width) in train.index.sizes.items():
        for top in range(height - 15):
            for left in range(width - 15):
                region = Region(name, top, left, 16, 16)
                clicks = count_region(train.vertices(name), train.label_ids(name), region)
                bills.append((clicks.polygon, clicks.intersection, clicks.box))
    row = per_window(train, [16]).iloc[0]
    assert row["windows"] == len(bills)
    means = np.mean(bills, axis=0)
    assert [row["c_p"], row["c_i"], row["c_b"]] == pytest.approx(means, abs=0.051)
    totals = np.sum(bills, axis=1)
    assert row["bill"] == pytest.approx(totals.mean(), abs=0.051)
    assert row["median"] == np.quantile(totals, 0.5, method="inverted_cdf")
    assert row["90 %"] == np.quantile(totals, 0.9, method="inverted_cdf")
    for sides in ("0", "8,", "x", "9999"):
        code, _, err = harness("data", "windows", "--config", "my.py", "--sides", sides)
        assert code == 2
        assert "--sides must be whole numbers from 1 to" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check"], "the data must be named"),
        (["check", "--config", "nobody.py"], "no such file"),
        (["check", "--config", "my.py", "--sheet", "nowhere/x.png"], "--sheet must be a file"),
        (["check", "--config", "my.py", "--sheet", "data"], "--sheet must be a file"),
        (["check", "--config", "streets", "--data-root", "data"], "makes its own data"),
        (["stats", "--config", "my.py", "--split", "test"], "--split must be train or val"),
        (["stats", "--config", "my.py", "--plot", "data"], "--plot must be a file"),
        (
            ["receipt", "--config", "my.py", "--image", "train_9", "--region", "0,0,1,1"],
            "such as train_",
        ),
        (
            ["receipt", "--config", "my.py", "--image", "train_0", "--region", "0,0,1"],
            "--region must be",
        ),
        (
            ["receipt", "--config", "my.py", "--image", "train_0", "--region", "0,0,999,1"],
            "inside the image",
        ),
        (
            [
                "receipt",
                "--config",
                "my.py",
                "--image",
                "train_0",
                "--region",
                f"0,0,1,{'9' * 5000}",
            ],
            "--region must be",
        ),
        (
            ["receipt", "--config", "my.py", "--image", "train_0", "--region", "0,0,²,1"],
            "--region must be",
        ),
        (["calibrate", "--config", "my.py"], "must have recorded clicks"),
        (["calibrate", "--config", "my.py", "--tolerances", "nan"], "--tolerances must be above 0"),
        (
            ["calibrate", "--config", "my.py", "--tolerances", "1,inf"],
            "--tolerances must be above 0",
        ),
        (["calibrate", "--config", "my.py", "--window", "0"], "--window must be from 1"),
        (["make", "--out", "x", "--size", "999999999999x1"], "--size must be"),
        (["make", "--out", "x", "--size", "32x64", "--train", "99999999"], "train"),
    ],
)
def test_bad_input_is_one_line_before_any_work(masks, tmp_path, harness, arguments, said):
    masks_config(tmp_path)
    before = sorted(tmp_path.iterdir())
    code, out, err = harness("data", *arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 1
    assert len(err) < 500
    assert sorted(tmp_path.iterdir()) == before
