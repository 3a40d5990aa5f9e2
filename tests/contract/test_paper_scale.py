"""The configs for real Cityscapes make a step and predict: on generated images, since no copy of the data is here."""

from pathlib import Path

import mmseg
import pytest
from mmengine.config import Config
from mmengine.registry import MODELS

from harness.config import config_path, load_spec
from harness.data.source import open_splits
from harness.experiment import build_trainer

DATA = "data={'type': 'streets', 'height': 128, 'width': 256, 'train': 2, 'val': 1, 'seed': 5}"
THEIRS = Path(mmseg.__file__).parent / ".mim" / "configs" / "_base_" / "models"


def trainer_of(config):
    changes = [DATA, "harness.seed_images=1", "harness.images_per_round=1", "harness.rounds=1"]
    spec = load_spec(config_path(config), changes=[*changes, "training.precision=float32"])
    return build_trainer(spec, *open_splits(spec.data))


@pytest.mark.parametrize(
    "config", ["cityscapes", "cityscapes_deeplabv3plus", "cityscapes_segformer"]
)
def test_a_config_of_cityscapes_makes_a_step_and_asks_a_committee(config):
    trainer_of(config).check([1, 2], votes=["vote-entropy-region"])


@pytest.mark.parametrize(
    ("config", "file"),
    [
        ("cityscapes_deeplabv3plus", "deeplabv3plus_r50-d8.py"),
        ("cityscapes_segformer", "segformer_mit-b0.py"),
    ],
)
def test_a_network_has_the_weights_of_the_one_that_mmseg_gives_that_name(config, file):
    model = Config.fromfile(THEIRS / file).model
    model.pretrained, model.data_preprocessor.size = None, (64, 64)
    theirs = MODELS.build(model).state_dict()
    ours = trainer_of(config).assembly.build().state_dict()
    assert {name: value.shape for name, value in ours.items() if "loss" not in name} == {
        name: value.shape for name, value in theirs.items() if "loss" not in name
    }
