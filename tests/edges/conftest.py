"""Small folders of images and masks, made as each test wants them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.cli import main as command
from harness.config import config_path

CLASSES = {0: "background", 1: "cell", 2: "vessel"}


def labels_of(number: int, height: int = 64, width: int = 96) -> np.ndarray:
    """Return (H, W) labels 0, 1 and 2; each number gives other ones."""
    labels = np.zeros((height, width), np.uint8)
    labels[10 + number : 30 + number, 10 : 40 + number] = 1
    labels[40:55, 50 - number : 80] = 2
    return labels


def write_masks(root: Path, train: int = 4, val: int = 2, save=None) -> Path:
    """Write a folder of masks; ``save(labels, path)`` writes a mask another way."""
    rng = np.random.default_rng(0)
    for split, count in (("train", train), ("val", val)):
        (root / "images" / split).mkdir(parents=True)
        (root / "labels" / split).mkdir(parents=True)
        for number in range(count):
            labels = labels_of(number)
            photo = np.array([[40, 40, 40], [200, 80, 80], [60, 90, 220]])[labels]
            photo = (photo + rng.integers(-20, 20, photo.shape)).clip(0, 255).astype(np.uint8)
            name = f"{split}_{number}"
            Image.fromarray(photo).save(root / "images" / split / f"{name}.png")
            path = root / "labels" / split / f"{name}.png"
            if save is None:
                Image.fromarray(labels).save(path)
            else:
                save(labels, path)
    return root


def masks_config(folder: Path, root: str = "data", classes=None, extra: str = "") -> Path:
    """Write the config of a tiny board on masks."""
    file = folder / "my.py"
    file.write_text(
        f"""
_base_ = ["{config_path("streets_standard")}"]
data = dict(_delete_=True, type="masks", root={root!r}, images="images/{{split}}",
            labels="labels/{{split}}", classes={classes or CLASSES!r})
model = dict(decode_head=dict(num_classes={len(set((classes or CLASSES).values()))}))
training = dict(steps=4, steps_per_image=1, max_steps=8, crop=(32, 32))
cost_model = dict(steps=4)
harness = dict(window=16, stride=4, seed_images=1, images_per_round=1, rounds=1, committee=2, seeds=[0])
{extra}
"""
    )
    return file


@pytest.fixture
def masks(tmp_path):
    return write_masks(tmp_path / "data")


@pytest.fixture
def harness(tmp_path, monkeypatch, capfd, cache):
    """Run a command in this process, in an empty folder; return its exit code, output and errors."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["harness", *arguments])
        with pytest.raises(SystemExit) as end:
            command.main()
        out, err = capfd.readouterr()
        return end.value.code, out, err

    return run
