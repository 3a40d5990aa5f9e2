"""A board on a frozen backbone, whose features lie on disk while it is unfinished."""

from harness.config import config_path

CONFIG = f"""
_base_ = ["{config_path("streets")}"]
data = dict(type="streets", height=64, width=128, train=8, val=4, seed=7)
training = dict(steps=6, steps_per_image=1, max_steps=12, crop=(64, 64))
cost_model = dict(steps=10)
harness = dict(window=16, seed_images=2, budgets=[0.4, 0.6], committee=3, seeds=[0])
"""


def rounds(out):
    return {
        str(path.relative_to(out)): path.read_bytes() for path in out.glob("runs/*/*/rounds.jsonl")
    }


def test_a_killed_board_goes_on_with_the_features_to_the_bytes_of_one_without(harness):
    config, out = harness.folder / "frozen.py", harness.folder / "out"
    config.write_text(CONFIG)
    arguments = ("bench", "--strategies", "cereals-g2-entropy", "--config", str(config))
    without = harness(*arguments, "--workers", "1", "--disk-gb", "0", "--out", "without")
    assert without.returncode == 0, without.stderr

    def features():
        return list(out.glob(".harness-work/features/*/*.features"))

    harness.kill_when(features, *arguments, "--workers", "2")
    assert features()
    done = harness(*arguments, "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert rounds(out) == rounds(harness.folder / "without")
    assert len(rounds(out)) == 2
    assert not (out / ".harness-work/features").exists()
