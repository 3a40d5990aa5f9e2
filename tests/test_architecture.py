"""The picture in docs/project/architecture.md, enforced: a module imports lower layers and its own, never higher ones."""

import ast
import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

LAYERS = {
    "harness": 0,
    "harness.errors": 0,
    "harness.types": 0,
    "harness.seeds": 0,
    "harness.files": 0,
    "harness.drawing": 0,
    "harness.memory": 0,
    "harness.built_in": 0,
    "harness.sources": 0,
    "harness.cells": 0,
    "harness.logits": 0,
    "harness.votes": 0,
    "harness.views": 0,
    "harness.regions": 1,
    "harness.clicks": 1,
    "harness.scoring": 1,
    "harness.statistics": 1,
    "harness.protocols": 2,
    "harness.context": 2,
    "harness.pool": 2,
    "strategies": 2.5,
    "harness.schedule": 3,
    "harness.superpixels": 1,
    "harness.maps": 3,
    "harness.acquisition": 3,
    "harness.loop": 3,
    "harness.thumbnails": 3,
    "harness.networks": 3,
    "harness.explanation": 3,
    "harness.data": 4,
    "harness.segmentor": 4,
    "harness.blocks": 4,
    "harness.config": 4,
    "harness.provenance": 4,
    "harness.results": 4,
    "harness.archive": 4,
    "harness.claims": 4,
    "harness.doctor": 4,
    "harness.publish": 4,
    "harness.tune": 5,
    "harness.machine": 4,
    "harness.experiment": 5,
    "harness.bench": 5,
    "harness.workers": 5,
    "harness.executors": 5,
    "harness.profile": 5,
    "harness.estimate": 5,
    "harness.invocation": 5,
    "harness.cluster": 5,
    "harness.status": 5,
    "harness.testing": 3,
    "harness.api": 5,
    "harness.__main__": 6,
    "harness.cli": 6,
}
MODULES = sorted([*(ROOT / "harness").rglob("*.py"), *(ROOT / "strategies").rglob("*.py")])


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer_of(module: str) -> float:
    while module not in LAYERS:
        module = module.rpartition(".")[0]
    return LAYERS[module]


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {
                f"{node.module}.{alias.name}"
                for alias in node.names
                if (ROOT / node.module.replace(".", "/") / f"{alias.name}.py").exists()
            }
    return found


@pytest.mark.parametrize(
    "path", [path for path in MODULES if name_of(path) != "harness"], ids=name_of
)
def test_imports_point_downwards(path):
    """But for the public names of the package itself, which are imported when they are asked for."""
    own = layer_of(name_of(path))
    for imported in imports_of(path):
        if imported.split(".")[0] in {"harness", "strategies"}:
            assert layer_of(imported) <= own, (
                f"{name_of(path)} (layer {own}) imports {imported} (layer {layer_of(imported)})"
            )


@pytest.mark.parametrize(
    "path", [path for path in MODULES if "segmentor" not in path.parts], ids=name_of
)
def test_only_the_segmentor_knows_mmsegmentation(path):
    allowed = {"mmengine.config"} if name_of(path) == "harness.config" else set()
    assert (
        not {
            name for name in imports_of(path) if name.split(".")[0] in {"mmseg", "mmcv", "mmengine"}
        }
        - allowed
        - {"mmengine.config.Config"}
    )


@pytest.mark.parametrize(
    "path",
    [path for path in MODULES if path.parts[-2] != "strategies" and layer_of(name_of(path)) < 5],
    ids=name_of,
)
def test_nothing_below_an_experiment_knows_the_strategies(path):
    assert not {name for name in imports_of(path) if name.split(".")[0] == "strategies"}


def test_the_command_line_is_imported_by_nothing():
    for path in MODULES:
        if layer_of(name_of(path)) < 6:
            assert not {n for n in imports_of(path) if f"{n}.".startswith("harness.cli.")}


def test_the_loop_asks_fields_not_names():
    for name in ("loop", "acquisition", "bench", "networks"):
        tree = ast.parse((ROOT / "harness" / f"{name}.py").read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Compare):
                sides = [ast.unparse(side) for side in (node.left, *node.comparators)]
                assert not any(side.endswith("strategy.name") for side in sides), ast.unparse(node)
            assert not (
                isinstance(node, ast.Call)
                and ast.unparse(node.func) == "isinstance"
                and "Strategy" in ast.unparse(node)
            )


@pytest.mark.parametrize(
    "folders", [("harness", "strategies", "configs"), ("tests",)], ids=["product", "tests"]
)
def test_every_imported_package_is_declared(folders):
    """A package that only happens to lie in the environment is missing on a fresh machine."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = [
        *project["dependencies"],
        *project["optional-dependencies"]["imagenet"],
        *project["optional-dependencies"]["superpixels"],
        *project["optional-dependencies"]["cluster"],
        *(project["optional-dependencies"]["dev"] if folders == ("tests",) else []),
    ]
    named = {re.split(r"[<>=\[; ]", text)[0].lower() for text in declared}
    pinned = {
        line.split("==")[0].lower()
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    owners = importlib.metadata.packages_distributions()
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    imported = {name.split(".")[0] for path in files for name in imports_of(path)}
    third_party = (
        imported - set(sys.stdlib_module_names) - {"harness", "strategies", "tests", "configs"}
    )
    assert third_party >= ({"torch", "optuna"} if folders[0] == "harness" else {"pytest"})
    for name in third_party:
        owner = {distribution.lower().replace("_", "-") for distribution in owners[name]}
        assert owner & named, f"{name} is imported and not declared in pyproject.toml"
        assert owner & pinned, f"{name} is imported and has no version in constraints.txt"
