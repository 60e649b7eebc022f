"""Imports point downwards only: mixture, fitting, engine, data; model stands alone."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import dask_gmm
from dask_gmm.model.covariance import covariance_types

ROOT = Path(dask_gmm.__file__).parent
# What each room may import of the project. The rooms that are not listed are upstairs: any of these.
ALLOWED = {
    "model": {"model", "errors"},
    "storage": {"storage", "config", "errors"},
    "data": {"data", "storage", "config", "errors"},
    "engine": {"engine", "data", "storage", "config", "errors"},
    "fitting": {"fitting", "engine", "data", "storage", "model", "config", "errors"},
}
# Back ends that the mathematics must not know.
FOREIGN = {"dask", "distributed", "zarr", "pyarrow", "fsspec"}


def modules() -> dict[str, Path]:
    """Return the project's modules by dotted name."""
    names = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


MODULES = modules()


def imports(name: str, *, when_loaded: bool = False) -> set[str]:
    """Return the modules that a module imports anywhere in it, or only when it is loaded."""
    tree = ast.parse(MODULES[name].read_text())
    found = set()
    for node in tree.body if when_loaded else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            members = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (members & MODULES.keys()) or {node.module}
    return found


def room(name: str) -> str:
    return name.split(".")[1] if name.count(".") else ""


def test_there_are_modules():
    assert {"dask_gmm", "dask_gmm.mixture.gaussian_mixture", "dask_gmm.model.moments"} <= MODULES.keys()
    assert ALLOWED.keys() <= {room(name) for name in MODULES}


@pytest.mark.parametrize("name", [name for name in MODULES if room(name) in ALLOWED])
def test_dependencies_point_downwards(name):
    own = {module for module in imports(name) if module.split(".")[0] == "dask_gmm"}
    assert {room(module) for module in own} <= ALLOWED[room(name)]


@pytest.mark.parametrize("name", [name for name in MODULES if room(name) in ("model", "fitting")])
def test_the_mathematics_know_no_back_end(name):
    assert not {module.split(".")[0] for module in imports(name)} & FOREIGN


def covariance_types_named(path: Path) -> list[int]:
    """Return the lines where a module compares with a covariance type's name, or lists names of several.

    A name alone, such as a default, decides nothing.
    """
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.Compare, ast.MatchValue)):
            least = 1
        elif isinstance(node, (ast.List, ast.Tuple, ast.Set, ast.Dict)):
            least = 2
        else:
            continue
        values = {part.value for part in ast.walk(node) if isinstance(part, ast.Constant)}
        if len(values & {*covariance_types()}) >= least:
            found.append(node.lineno)
    return found


@pytest.mark.parametrize("name", [name for name in MODULES if ".model.covariance" not in name])
def test_only_covariances_know_their_types(name):
    assert not covariance_types_named(MODULES[name])


def test_covariance_types_are_found_where_they_are_named(tmp_path):
    module = tmp_path / "module.py"
    module.write_text(
        'default = "full"\n'
        'if kind == "tied": pass\n'
        'if kind in ("diag", other): pass\n'
        'TYPES = ["full", "tied"]\n'
        "match kind:\n"
        '    case "full" | "diag": pass\n'
    )
    assert {*covariance_types_named(module)} == {2, 3, 4, 6}


def test_no_module_is_its_own_ancestor():
    graph = {name: imports(name, when_loaded=True) & MODULES.keys() - {name} for name in MODULES}
    TopologicalSorter(graph).prepare()


def test_no_relative_imports():
    for name, path in MODULES.items():
        levels = [
            node.level for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)
        ]
        assert not any(levels), name
