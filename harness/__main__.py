"""``python -m harness``: the package that is installed, whatever lies in the current folder."""

import sys
from pathlib import Path

# -m puts the current folder first; a folder there called strategies must not stand for ours
_HERE = Path(__file__).resolve().parent.parent
if not sys.flags.safe_path and Path(sys.path[0]).resolve() == Path.cwd() != _HERE:
    del sys.path[0]

from harness.cli.main import main  # noqa: E402

if __name__ == "__main__":
    main()
