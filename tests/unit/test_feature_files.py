"""Features on disk: the same bits and strides as made, or none."""

import errno
import multiprocessing
import os
import signal
from pathlib import Path

import pytest
import torch

from harness.networks import NetworkStore
from harness.segmentor import feature_files
from harness.segmentor.feature_files import FEATURE_SUFFIX, FeatureFiles
from harness.segmentor.frozen import FeatureCache

PLENTY = 1 << 30
HEADER = 4096


def features(seed: int = 0) -> tuple[torch.Tensor, ...]:
    rng = torch.Generator().manual_seed(seed)
    coarse = torch.rand((1, 5, 7, 9), generator=rng)
    return (
        torch.rand((1, 3, 14, 18), generator=rng).to(memory_format=torch.channels_last),
        coarse,
        coarse.to(torch.bfloat16).permute(0, 2, 3, 1),
        torch.tensor([[[[float("nan"), -0.0]]]], dtype=torch.float64),
    )


def assert_same(found, expected) -> None:
    assert len(found) == len(expected)
    for one, two in zip(found, expected, strict=True):
        assert (one.dtype, one.shape, one.stride()) == (two.dtype, two.shape, two.stride())
        flat = [level.contiguous().flatten().view(torch.uint8) for level in (one, two)]
        assert torch.equal(*flat)


def only_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    assert path.suffix == FEATURE_SUFFIX
    return path


def test_what_is_read_has_the_bits_and_strides_of_what_was_made(tmp_path):
    assert FeatureFiles(tmp_path, 0).get("a") is None
    assert FeatureFiles(tmp_path, PLENTY).put("a", features())
    assert FeatureFiles(tmp_path, PLENTY).put("a mirrored", features(1))
    again = FeatureFiles(tmp_path, 0)
    assert_same(again.get("a"), features())
    assert_same(again.get("a mirrored"), features(1))
    assert all(level.data_ptr() % 64 == 0 for level in again.get("a"))


def test_what_is_written_into_features_stays_in_this_process(tmp_path):
    files = FeatureFiles(tmp_path, PLENTY)
    assert files.put("a", features())
    for level in files.get("a"):
        level.zero_()
    assert_same(files.get("a"), features())


def test_a_file_with_any_byte_changed_is_not_read_and_is_made_again(tmp_path):
    FeatureFiles(tmp_path, PLENTY).put("a", features())
    path = only_file(tmp_path)
    whole = path.read_bytes()
    for position in (0, 7, 8, 20, HEADER - 1, HEADER, HEADER + 700, len(whole) - 1):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        assert FeatureFiles(tmp_path, 0).get("a") is None, position
    found = FeatureCache(files=FeatureFiles(tmp_path, PLENTY)).get("a", features)
    assert_same(found, features())
    assert path.read_bytes() == whole


@pytest.mark.parametrize("length", [0, 5, HEADER - 1, HEADER, HEADER + 64, -1])
def test_a_file_that_is_cut_is_not_read(tmp_path, length):
    FeatureFiles(tmp_path, PLENTY).put("a", features())
    path = only_file(tmp_path)
    path.write_bytes(path.read_bytes()[:length])
    assert FeatureFiles(tmp_path, 0).get("a") is None


def test_beyond_the_bound_features_are_made_again_and_nothing_fails(tmp_path):
    FeatureFiles(tmp_path, PLENTY).put("a", features())
    size = only_file(tmp_path).stat().st_size
    files, made = FeatureFiles(tmp_path / "small", 2 * size - 1), []

    def make():
        made.append(1)
        return features()

    cache = FeatureCache(most_bytes=0, files=files)
    for key in ("a", "b", "a", "b"):
        assert_same(cache.get(key, make), features())
    assert len(made) == 3  # "a" once, and "b" each time: no room on disk nor in memory
    assert sum(file.stat().st_size for file in (tmp_path / "small").iterdir()) == size


def test_a_full_disk_fails_nothing_and_is_not_asked_again(tmp_path, monkeypatch):
    asked = []

    def full(path, *, sync):
        asked.append(path)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(feature_files, "atomic_write", full)
    cache = FeatureCache(files=FeatureFiles(tmp_path, PLENTY))
    for key in ("a", "b"):
        assert_same(cache.get(key, features), features())
    assert len(asked) == 1


def test_views_of_something_larger_are_not_kept(tmp_path):
    part = (torch.ones(1, 4, 8, 8)[..., :4],)
    assert not FeatureFiles(tmp_path, PLENTY).put("a", part)
    assert not FeatureFiles(tmp_path, PLENTY).put("b", (torch.ones(1, 4, 1, 1).expand(1, 4, 8, 8),))
    assert not list(tmp_path.iterdir())


def _share(folder: Path, ready, answers) -> None:
    torch.set_num_threads(1)
    ready.wait()
    same = 0
    for number in range(60):
        found = FeatureCache(files=FeatureFiles(folder, PLENTY)).get(
            f"{number}", lambda number=number: features(number)
        )
        same += all(
            torch.equal(one.nan_to_num(), two.nan_to_num())
            for one, two in zip(found, features(number), strict=True)
        )
    answers.put(same)


def test_two_processes_at_once_read_the_same(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready, answers = context.Barrier(2), context.Queue()
    processes = [context.Process(target=_share, args=(tmp_path, ready, answers)) for _ in range(2)]
    for process in processes:
        process.start()
    assert [answers.get(timeout=120) for _ in processes] == [60, 60]
    for process in processes:
        process.join()
    assert len(list(tmp_path.iterdir())) == 60  # and no drafts


def _die_before_the_rename(folder: Path) -> None:
    os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    FeatureFiles(folder, PLENTY).put("a", features())


def test_a_killed_writer_leaves_nothing_that_is_read_or_stays(tmp_path):
    folder = tmp_path / "features/0123456789abcdef"
    process = multiprocessing.get_context("spawn").Process(
        target=_die_before_the_rename, args=(folder,)
    )
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    assert len(list(folder.iterdir())) == 1
    assert FeatureFiles(folder, 0).get("a") is None
    NetworkStore.clear_up(tmp_path)
    assert not list(tmp_path.iterdir())
