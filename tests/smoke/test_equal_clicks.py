"""`harness.budget_unit="clicks"`: a board of equal clicks, from the command line."""

import pytest

pytestmark = pytest.mark.slow

IN_CLICKS = (
    *("--set", "harness.images_per_round=None", "--set", "harness.rounds=None"),
    *("--set", "harness.budget_unit=clicks"),
)


def test_a_board_of_equal_clicks(harness, tiny_config):
    from harness.results import read_run

    asked = ("bench", "--config", str(tiny_config), *IN_CLICKS)
    asked += ("--strategies", "random-region,cereals-g2-entropy")
    refused = harness(*asked, "--set", "harness.budgets=[0.251,0.5]")
    assert refused.returncode == 2
    assert "harness.budgets must begin above what the seed set costs: seed" in refused.stderr
    assert not (harness.folder / "out").exists()
    within = (*asked, "--set", "harness.budgets=[0.5,0.7]")
    planned = harness(*within, "--dry-run")
    assert "round 2: 70.00 % of the pool's clicks spent" in planned.stdout
    done = harness(*within, "--seeds", "0,1,2", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert "EQUAL CLICKS" in done.stdout
    run = read_run(harness.folder / "out/runs/cereals-g2-entropy/seed-1")
    totals = run.info.totals.polygon
    for record, share in zip(run.rounds[1:], (0.5, 0.7), strict=True):
        assert record.budget_clicks == round(share * totals) <= record.clicks.billed
    again = harness("explain", "out/runs/cereals-g2-entropy/seed-1")
    assert again.returncode == 0, again.stderr
    assert "the query made again is the recorded one" in again.stdout
    checked = harness("publish", "--runs", "out", "--allow-dirty", "--check")
    assert checked.returncode == 0, checked.stderr
