import io
import tarfile

import pytest

from harness.archive import ARCHIVE, unpacked, write_archive
from harness.errors import InputError
from harness.publish.board import build_board
from tests.unit.test_publish import out  # noqa: F401  a board of toy runs


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))


def test_a_board_is_the_same_from_its_archive(out, tmp_path):  # noqa: F811
    packed = tmp_path / "packed"
    (out / "runs/good/seed-0/failure.txt").write_text("not of a board")
    count = write_archive(out, packed / ARCHIVE)
    assert count == 4 * 3 * 3
    again = build_board(packed)
    assert again.rows == build_board(out).rows
    assert again.digest == build_board(out).digest
    assert not list(packed.glob("runs"))
    first = (packed / ARCHIVE).read_bytes()
    write_archive(out, packed / ARCHIVE)
    assert (packed / ARCHIVE).read_bytes() == first
    assert unpacked(packed) == unpacked(packed)
    assert unpacked(out) == out


def archive_of(folder, name, kind=tarfile.REGTYPE):
    folder.mkdir()
    with tarfile.open(folder / ARCHIVE, "w:xz") as archive:
        member = tarfile.TarInfo(name)
        member.type, member.size = kind, 2 * (kind == tarfile.REGTYPE)
        archive.addfile(member, io.BytesIO(b"{}"))


@pytest.mark.parametrize(
    "name", ["../../run.json", "/run.json", "runs/a/seed-0/../../x", "runs/a/seed-0/evil.py"]
)
def test_what_is_no_run_file_is_refused_and_nothing_stays(tmp_path, name):
    archive_of(tmp_path / "bad", name)
    with pytest.raises(InputError, match="must hold run files"):
        unpacked(tmp_path / "bad")
    left = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert left == []


def test_links_and_damage_are_refused(tmp_path):
    archive_of(tmp_path / "link", "runs/a/seed-0/run.json", tarfile.SYMTYPE)
    with pytest.raises(InputError, match="must hold run files"):
        unpacked(tmp_path / "link")
    archive_of(tmp_path / "torn", "runs/a/seed-0/run.json")
    whole = (tmp_path / "torn" / ARCHIVE).read_bytes()
    (tmp_path / "torn" / ARCHIVE).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="cannot be read"):
        unpacked(tmp_path / "torn")
    (tmp_path / "torn" / ARCHIVE).write_bytes(b"no archive")
    with pytest.raises(InputError, match="cannot be read"):
        unpacked(tmp_path / "torn")
