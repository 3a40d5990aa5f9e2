"""A training that is killed goes on at its last checkpoint, to the same weights, bit for bit."""

import pytest
import torch

from harness import segmentor  # noqa: F401  (imports mmseg quietly)
from harness.blocks import CostModel
from harness.data.cityscapes import ClickOracle
from harness.loop import draw_seed_set
from harness.pool import LabelledPool
from harness.segmentor import checkpoint, runner
from harness.segmentor.checkpoint import Checkpoints
from harness.segmentor.trainer import SegmentorTrainer
from tests.specs import short_spec

STEPS = 12


class Killed(BaseException):
    """What a test raises in the middle of a step."""


@pytest.fixture(scope="module", params=["pixel", "cover", "pipeline"])
def trainer(request, train_split, val_split) -> SegmentorTrainer:
    spec = short_spec(
        steps=STEPS,
        sampler=request.param,
        cost_model=CostModel(steps=5),
        train_pipeline=[
            {"type": "RandomCrop", "crop_size": (64, 64)},
            {"type": "PhotoMetricDistortion"},
        ],
    )
    return SegmentorTrainer(spec, train_split=train_split, val_split=val_split)


@pytest.fixture(scope="module")
def pool(train_split) -> LabelledPool:
    pool = LabelledPool(train_split.index.sizes)
    pool.add(
        ClickOracle(train_split).annotate(
            [candidate.region for candidate in draw_seed_set(pool.sizes, 2, seed=0)], pool
        )
    )
    return pool


@pytest.fixture(scope="module")
def whole(trainer, pool):
    return trainer.fit(pool, 0, 0, with_cost=True)


@pytest.fixture
def killed_at(trainer, pool, monkeypatch, tmp_path):
    """Return a function that trains with a checkpoint after each step and is killed at the start of one."""

    def kill(step: int) -> Checkpoints:
        monkeypatch.setattr(checkpoint, "EVERY_S", 0.0)
        seen = []

        def before_train_iter(self, runner, batch_idx, data_batch=None):
            seen.append(batch_idx)
            if len(seen) == step + 1:
                raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(runner._FiniteLoss, "before_train_iter", before_train_iter)
            with pytest.raises(Killed):
                trainer.fit(pool, 0, 0, with_cost=False, checkpoints=tmp_path)
        return Checkpoints(tmp_path)

    return kill


def assert_equal(ours, theirs) -> None:
    for name, value in theirs._model.state_dict().items():
        assert torch.equal(ours._model.state_dict()[name], value), name
    for name, value in theirs._cost_head.state_dict().items():
        assert torch.equal(ours._cost_head.state_dict()[name], value), name


def test_a_killed_training_goes_on_to_the_same_weights(trainer, pool, whole, killed_at, tmp_path):
    for step in (3, 4):  # killed twice: after 3 steps, and 4 steps later
        kept = killed_at(step)
    assert kept.latest()["step"] == 7
    again = trainer.fit(pool, 0, 0, with_cost=True, checkpoints=tmp_path)
    assert_equal(again, whole)


def test_checkpoints_change_nothing(trainer, pool, whole, monkeypatch, tmp_path):
    monkeypatch.setattr(checkpoint, "EVERY_S", 0.0)
    assert_equal(trainer.fit(pool, 0, 0, with_cost=True, checkpoints=tmp_path), whole)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    trainer, pool, whole, killed_at, tmp_path, damage, capsys
):
    killed_at(5)
    newest = tmp_path / "training.ckpt"
    content = bytearray(newest.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 1
    newest.write_bytes(
        content if damage == "flipped" else content[: {"cut": -1, "empty": 0}[damage]]
    )
    assert Checkpoints(tmp_path).latest()["step"] == 4
    assert "damaged checkpoint" in capsys.readouterr().err
    assert_equal(trainer.fit(pool, 0, 0, with_cost=True, checkpoints=tmp_path), whole)


def test_two_damaged_checkpoints_start_again(trainer, pool, whole, killed_at, tmp_path):
    killed_at(5)
    for path in tmp_path.iterdir():
        path.write_bytes(b"HCK1")
    assert Checkpoints(tmp_path).latest() is None
    assert_equal(trainer.fit(pool, 0, 0, with_cost=True, checkpoints=tmp_path), whole)


def test_a_checkpoint_is_data_and_never_code(tmp_path):
    """A pickle that would run a command is refused by the reader, even with a right checksum."""
    import hashlib
    import io

    class Evil:
        def __reduce__(self):
            return (print, ("code ran",))

    buffer = io.BytesIO()
    torch.save({"step": Evil()}, buffer)
    payload = buffer.getvalue()
    (tmp_path / "training.ckpt").write_bytes(b"HCK1" + hashlib.sha256(payload).digest() + payload)
    with pytest.raises(Exception, match="Weights only load failed"):
        Checkpoints(tmp_path).latest()
