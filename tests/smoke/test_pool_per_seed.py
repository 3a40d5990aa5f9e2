"""`harness.pool_per_seed`: each seed buys from images of its own."""

import json

import pytest

pytestmark = pytest.mark.slow


def bought(folder, strategy, seed) -> set[str]:
    from harness.results import read_run

    run = read_run(folder / f"out/runs/{strategy}/seed-{seed}")
    return {receipt.image_id for record in run.rounds for receipt in record.query}


def test_each_seed_has_a_pool_of_its_own(harness, tiny_config):
    own = ("--set", "harness.pool_per_seed=5")
    asked = ("bench", "--config", str(tiny_config), "--strategies", "random-region,entropy-region")
    refused = harness(*asked, "--set", "harness.pool_per_seed=9")
    assert refused.returncode == 2
    assert "harness.pool_per_seed must be at most 8" in refused.stderr
    done = harness(*asked, *own, "--seeds", "0,1,2", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert "each seed has a pool of its own, 5 images drawn" in done.stdout
    pools = [bought(harness.folder, "full-data", seed) for seed in (0, 1, 2)]
    assert [len(pool) for pool in pools] == [5, 5, 5]
    assert len(set(map(frozenset, pools))) > 1
    for seed, pool in enumerate(pools):
        for strategy in ("random-region", "entropy-region"):
            assert bought(harness.folder, strategy, seed) <= pool
        info = json.loads(
            (harness.folder / f"out/runs/random-region/seed-{seed}/run.json").read_text()
        )
        assert (info["train_images"], info["train_px"]) == (5, 5 * 64 * 128)
    again = harness("explain", "out/runs/entropy-region/seed-1")
    assert again.returncode == 0, again.stderr
    assert "the query made again is the recorded one" in again.stdout
    checked = harness("publish", "--runs", "out", "--allow-dirty", "--check")
    assert checked.returncode == 0, checked.stderr
