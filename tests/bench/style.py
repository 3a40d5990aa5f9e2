"""Count what a stranger has to read: lengths, types, dense expressions, comments.

    python -m tests.bench.style harness strategies

Tests are left out. A line of code is a line that is neither blank, nor a comment, nor part of a
docstring.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from pathlib import Path

import numpy as np

_TYPES = {"dataclass", "NamedTuple", "TypedDict", "BaseModel", "Block", "Enum", "IntEnum"}


def names(nodes) -> set[str]:
    """Return the last parts of names, calls and attributes."""
    called = [node.func if isinstance(node, ast.Call) else node for node in nodes]
    return {
        node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "") for node in called
    }


def docstring_lines(tree: ast.AST) -> set[int]:
    """Return the numbers of lines that a string alone stands on."""
    return {
        number
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        for number in range(node.lineno, node.end_lineno + 1)
    }


def main(folders: list[str]) -> None:
    """Print the table."""
    files = [path for folder in folders for path in sorted(Path(folder).rglob("*.py"))]
    lines = code = wide = comments = types = protocols = choices = 0
    lengths: list[int] = []
    for path in files:
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        said = docstring_lines(tree)
        rows = text.splitlines()
        lines += len(rows)
        remarks = {
            token.start[0]
            for token in tokenize.generate_tokens(io.StringIO(text).readline)
            if token.type == tokenize.COMMENT
        }
        own = [n for n, row in enumerate(rows, 1) if row.strip() and n not in said]
        alone = {n for n in own if rows[n - 1].lstrip().startswith("#")}
        code += len(own) - len(alone)
        comments += len(remarks)
        wide += sum(len(rows[n - 1]) > 100 for n in own)
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                bases = names(node.bases)
                protocols += "Protocol" in bases
                types += bool((bases | names(node.decorator_list)) & _TYPES)
            choices += isinstance(node, ast.IfExp)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                inside = range(node.lineno, node.end_lineno + 1)
                lengths.append(sum(n in inside for n in own))
    middle, most = np.percentile(lengths, [50, 90])
    print(f"files {len(files)}, lines {lines}, lines of code {code}")
    print(f"lines of a function, median / p90 / max: {middle:.0f} / {most:.0f} / {max(lengths)}")
    print(f"value types {types}, per 1,000 lines {1000 * types / lines:.1f}")
    print(f"Protocols {protocols}")
    print(f"lines of code over 100 columns {wide}, {100 * wide / code:.1f} %")
    print(f"a if b else c, per 1,000 lines {1000 * choices / lines:.1f}")
    print(f"lines with a comment {comments}, {100 * comments / lines:.1f} %")


if __name__ == "__main__":
    main(sys.argv[1:] or ["harness", "strategies"])
