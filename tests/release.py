"""Is this tree ready to be released? Built, compared, installed in an empty environment, tried.

    python -m tests.release

builds sdist and wheel, builds the wheel again from the sdist (equal byte for byte), reads the metadata, installs the wheel with the
constraints into an empty environment, and uses it in an empty folder.
"""

import filecmp
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from email import message_from_string
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def call(*command: object, cwd: Path = ROOT) -> str:
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def build(place: Path) -> tuple[Path, Path]:
    """Return sdist and wheel; the wheel from the sdist must be the wheel from the tree."""
    call(sys.executable, "-m", "build", "--outdir", place / "tree", "--sdist", "--wheel", ROOT)
    (sdist,) = (place / "tree").glob("*.tar.gz")
    (wheel,) = (place / "tree").glob("*.whl")
    with tarfile.open(sdist) as packed:
        packed.extractall(place, filter="data")
    source = place / sdist.name.removesuffix(".tar.gz")
    call(sys.executable, "-m", "build", "--outdir", place / "again", "--wheel", source)
    if not filecmp.cmp(wheel, place / "again" / wheel.name, shallow=False):
        sys.exit("the wheel from the sdist differs from the wheel from the tree")
    return sdist, wheel


def check_metadata(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as files:
        names = files.namelist()
        (name,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        found = message_from_string(files.read(name).decode())
    for key in ("Name", "Version", "Summary", "License-Expression", "Requires-Python", "Keywords"):
        if not found[key]:
            sys.exit(f"the metadata must name {key}")
    for name in ("harness/py.typed", "harness/configs/streets.py", "strategies/__init__.py"):
        if name not in names:
            sys.exit(f"the wheel must hold {name}")
    if any(name.startswith(("tests/", "docs/", "results/")) for name in names):
        sys.exit("the wheel must hold no tests, documents or results")
    print(f"{wheel.name}: {len(names)} files, {wheel.stat().st_size / 1e6:.1f} MB")


def try_out(wheel: Path, place: Path) -> None:
    venv.create(place / "env", with_pip=True)
    python = place / "env" / "bin" / "python"
    call(python, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", wheel)
    (place / "empty").mkdir()
    harness = place / "env" / "bin" / "harness"
    print(call(harness, "--version", cwd=place / "empty").strip())
    call(harness, "strategies", cwd=place / "empty")
    said = call(harness, "bench", "--preset", "minute", "--dry-run", cwd=place / "empty")
    print(said.splitlines()[0])


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        _, wheel = build(place)
        check_metadata(wheel)
        try_out(wheel, place)
    print("ready")


if __name__ == "__main__":
    main()
