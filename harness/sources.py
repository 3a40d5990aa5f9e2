"""A user's own source files: which ones a file or a module reads, and what they hold.

A result depends on them as it does on a config, so their content is part of its identity.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

_INSTALLED = tuple(
    Path(sysconfig.get_path(name)).resolve()
    for name in ("stdlib", "platstdlib", "purelib", "platlib")
)
_OURS = tuple(Path(__file__).resolve().parent.parent / name for name in ("harness", "strategies"))


def files_of(module: str) -> list[Path]:
    """Return the source files of a module of one's own, a package's all; none of an installed one.

    Nothing is imported but the packages that hold the module.
    """
    top = module.partition(".")[0]
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return []
    if spec is None:
        return []
    places = [Path(place).resolve() for place in spec.submodule_search_locations or ()]
    files = [file for place in places for file in sorted(place.rglob("*.py"))]
    if not places and spec.origin is not None and spec.origin.endswith(".py"):
        files = [Path(spec.origin).resolve()]
    return [file for file in files if not _is_foreign(file)]


def with_imports(files: Iterable[Path]) -> list[Path]:
    """Return files and all of one's own that they import, directly or through others, sorted."""
    found: set[Path] = set()
    due = list(files)
    while due:
        file = due.pop()
        if file in found:
            continue
        found.add(file)
        due += [own for name in _imported(file) for own in files_of(name)]
    return sorted(found)


def digest_of(files: Iterable[Path]) -> str:
    """Return a hash of names and contents."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def _imported(file: Path) -> Iterator[str]:
    """Yield the modules that a file names; a package's own are among its files already."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def _is_foreign(file: Path) -> bool:
    return any(place in file.parents for place in (*_INSTALLED, *_OURS))
