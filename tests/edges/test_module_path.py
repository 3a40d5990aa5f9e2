"""``python -m harness`` in a folder whose names are those of our packages."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = str(Path(__file__).resolve().parent.parent.parent)


@pytest.mark.parametrize("decoy", ["strategies", "torch", "numpy", "configs", "rich", "typer"])
def test_a_folder_of_the_same_name_does_not_stand_for_a_package(tmp_path, decoy):
    (tmp_path / decoy).mkdir()
    (tmp_path / decoy / "__init__.py").write_text("raise SystemExit('the decoy was imported')")
    done = subprocess.run(
        [sys.executable, "-m", "harness", "strategies"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ROOT},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "random-region" in done.stdout
