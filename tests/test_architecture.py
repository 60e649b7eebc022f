"""The house: imports point downwards only, no circles, one covariance type in one place, small modules."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from itertools import chain, pairwise
from pathlib import Path

import pytest

import dask_gmm
from dask_gmm.model.covariance import covariance_types

ROOT = Path(dask_gmm.__file__).parent
# From the ground up: a room may import what is on the floors below, and nothing of its neighbours.
FLOORS = (
    # The package itself is asked for its version only.
    {"errors", "compiled", "_version", ""},
    {"config"},
    {"storage"},
    {"data"},
    {"engine"},
    {"fitting"},
    {"checkpointing", "reporting"},
    {"mixture"},
    {"preprocessing"},
    {"plotting"},
    # For old pickles, `selection`.
    {"writing", "selection"},
    {"cli"},
    {"__main__"},
)
ALLOWED = {
    room: {room}.union(*FLOORS[:number]) | ({"model"} if number >= FLOORS.index({"fitting"}) else set())
    for number, floor in enumerate(FLOORS)
    for room in floor
}
# Beside the stairs: mathematics, which everything from fitting upwards uses.
ALLOWED["model"] = {"model", "errors", "compiled"}
# Back ends that the mathematics must not know.
FOREIGN = {"dask", "distributed", "zarr", "pyarrow", "fsspec"}

MOST_LINES_OF_A_FUNCTION = 60
MOST_LINES_OF_A_MODULE = 350
# One pass of a parser over bytes, which Numba compiles as a whole.
LONGER = {"dask_gmm.data.parquet.thrift._walk"}
# The habits of a package of stored data: how to open it, its source, and its reader.
HABITS = {"opening", "reader", "source"}
# Names of arguments that have a type.
TYPED = {"source", "reader", "block", "settings", "spec", "run", "runs", "passes"}


def modules() -> dict[str, Path]:
    """Return the project's modules by dotted name."""
    names = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


MODULES = modules()
TREES = {name: ast.parse(path.read_text()) for name, path in MODULES.items()}
# The package itself exports lazily what is upstairs.
INSIDE = sorted(MODULES.keys() - {"dask_gmm"})


def imports(name: str, *, when_loaded: bool = False) -> set[str]:
    """Return the modules that a module imports anywhere in it, or only when it is loaded."""
    found = set()
    for node in TREES[name].body if when_loaded else ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            members = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (members & MODULES.keys()) or {node.module}
    return found


def own_imports(name: str, *, when_loaded: bool = False) -> set[str]:
    """Return those of them that are the project's."""
    return {module for module in imports(name, when_loaded=when_loaded) if module.split(".")[0] == "dask_gmm"}


def room(name: str) -> str:
    """Return the folder, or the module at the top, that a module belongs to; nothing for the package."""
    return name.split(".")[1] if name.count(".") else ""


def functions(tree: ast.AST, name: str) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Yield the functions and methods of a module with their dotted names, those inside others too."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield f"{name}.{node.name}", node
        inner = (
            f"{name}.{node.name}"
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
            else name
        )
        yield from functions(node, inner)


def lines_of_code(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return how many lines a function has without its docstring."""
    first = function.body[0]
    documented = ast.get_docstring(function) is not None
    assert function.end_lineno is not None
    assert first.end_lineno is not None
    docstring = first.end_lineno - first.lineno + 1 if documented else 0
    return function.end_lineno - function.lineno + 1 - docstring


def test_every_room_has_its_place():
    assert {room(name) for name in MODULES} == ALLOWED.keys()


@pytest.mark.parametrize("name", INSIDE)
def test_dependencies_point_downwards(name):
    assert {room(module) for module in own_imports(name)} <= ALLOWED[room(name)]


def test_the_package_loads_nothing_before_it_is_used():
    assert own_imports("dask_gmm", when_loaded=True) == {"dask_gmm._version", "dask_gmm.errors"}


def test_the_package_is_asked_for_its_version_only():
    for name in INSIDE:
        nodes = list(ast.walk(TREES[name]))
        asked = {
            node.attr
            for node in nodes
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "dask_gmm"
        }
        for node in nodes:
            if isinstance(node, ast.ImportFrom) and node.module == "dask_gmm":
                asked |= {alias.name for alias in node.names if f"dask_gmm.{alias.name}" not in MODULES}
        assert asked <= {"__version__"}, name


@pytest.mark.parametrize("name", [name for name in MODULES if room(name) in ("model", "fitting")])
def test_the_mathematics_know_no_back_end(name):
    assert not {module.split(".")[0] for module in imports(name)} & FOREIGN


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Return modules that import each other in a circle, with the first one again at the end."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found[::-1]
    return []


def test_no_imports_go_round_in_a_circle():
    """Function-level imports, and those for annotations, included."""
    graph = {name: own_imports(name) - {name, "dask_gmm"} for name in INSIDE}
    assert circle(graph) == []


def test_circles_are_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) in (["b", "c", "b"], ["c", "b", "c"])
    assert not circle({"a": {"b", "c"}, "b": {"c"}})


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


def test_no_relative_imports():
    for name, tree in TREES.items():
        assert not any(node.level for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)), name


def test_private_names_stay_in_their_modules():
    for name, tree in TREES.items():
        nodes = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        own = [node for node in nodes if (node.module or "").startswith("dask_gmm.")]
        private = [alias.name for node in own for alias in node.names if alias.name.startswith("_")]
        assert {alias for alias in private if not alias.startswith("__")} == set(), name


def test_no_two_modules_have_the_same_name():
    stems = sorted(path.stem for path in MODULES.values() if path.stem != "__init__")
    assert {one for one, other in pairwise(stems) if one == other} <= HABITS


@pytest.mark.parametrize("name", MODULES)
def test_modules_and_functions_are_small(name):
    assert len(MODULES[name].read_text().splitlines()) <= MOST_LINES_OF_A_MODULE
    long = {
        dotted
        for dotted, function in functions(TREES[name], name)
        if lines_of_code(function) > MOST_LINES_OF_A_FUNCTION
    }
    assert long == {dotted for dotted in LONGER if dotted.rpartition(".")[0] == name}


@pytest.mark.parametrize("name", MODULES)
def test_arguments_that_have_a_type_say_it(name):
    arguments = [node for node in ast.walk(TREES[name]) if isinstance(node, ast.arg)]
    untyped = {
        argument.arg
        for argument in arguments
        if argument.arg in TYPED and argument.annotation and ast.unparse(argument.annotation) == "Any"
    }
    assert not untyped


def test_all_functions_are_looked_at():
    tree = ast.parse(
        'class A:\n    def b(self):\n        """C."""\n        def d(): pass\n        return d\n'
    )
    found = dict(functions(tree, "m"))
    assert {name: lines_of_code(function) for name, function in found.items()} == {"m.A.b": 3, "m.A.b.d": 1}
    assert len({*chain.from_iterable(dict(functions(tree, name)) for name, tree in TREES.items())}) > 1000
