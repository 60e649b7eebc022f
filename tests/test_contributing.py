"""CONTRIBUTING.md and the README tell the truth: what they name exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / ".github" / "CONTRIBUTING.md").read_text()
README = (ROOT / "README.md").read_text()
PROSE = re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL)

# Words in code style that are nobody's names: those of tools, and examples of names to choose.
FOREIGN = {"Any", "long", "repr", "model/covariance/yours.py", "model/observation/yours.py",
           "model/estimation/yours.py", "data/yours.py", "tests/model/observation/test_yours.py",
           "tests/model/estimation/test_yours.py"}  # fmt: skip
_PATH = re.compile(r"\.?[\w.-]+(/[\w.*-]+)*/?")
_NAME = re.compile(r"[A-Za-z_]\w*(\.\w+)*")


def spans(text: str) -> set[str]:
    """Return what a text has between back quotes."""
    return set(re.findall(r"`([^`\n]+)`", text))


def exists(path: str) -> bool:
    """Whether a path of the document is that of a file or folder, or of several for one with a star."""
    return any(any(base.glob(path.rstrip("/"))) for base in (ROOT, ROOT / "dask_gmm"))


def is_path(span: str) -> bool:
    """Whether something in code style is meant for a file or a folder."""
    return bool(_PATH.fullmatch(span)) and ("/" in span or span.endswith((".py", ".md", ".toml")))


def names_of(body: list[ast.stmt], prefix: str = "") -> Iterator[str]:
    """Yield classes, functions, constants and fields, alone and with their class."""
    for node in body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from (node.name, prefix + node.name)
            if isinstance(node, ast.ClassDef):
                yield from names_of(node.body, f"{node.name}.")
            else:
                yield from (argument.arg for argument in ast.walk(node) if isinstance(argument, ast.arg))
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for name in [
                part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)
            ]:
                yield from (name, prefix + name)


def defined(folder: str) -> set[str]:
    """Return the names that the modules of a folder define."""
    trees = [ast.parse(path.read_text()) for path in (ROOT / folder).rglob("*.py")]
    return {name for tree in trees for name in names_of(tree.body)}


DEFINED = defined("dask_gmm") | defined("tests")


def in_sentences() -> list[tuple[str, str]]:
    """Return names and the files that they are said to be in: "`A` (`b.py`)", "`A` in `b.py`"."""
    text = " ".join(PROSE.split())
    found = re.findall(r"`([A-Za-z_]\w*)`(?: of| in|,)? \(?(?:the )?(?:in |of )?`([\w/.]+\.py)`", text)
    return sorted({(name, path) for name, path in found if not {name, path} & FOREIGN})


@pytest.mark.parametrize("path", sorted(filter(is_path, spans(PROSE) - FOREIGN)))
def test_files_exist(path):
    assert exists(path)


@pytest.mark.parametrize(
    "name", sorted(s for s in spans(PROSE) - FOREIGN if _NAME.fullmatch(s) and not is_path(s))
)
def test_names_are_defined(name):
    assert name in DEFINED or name.startswith(("pytest", "python"))


@pytest.mark.parametrize(("name", "path"), in_sentences())
def test_names_are_in_the_files_said(name, path):
    files = [base / path for base in (ROOT, ROOT / "dask_gmm") if (base / path).exists()]
    assert any(name in set(names_of(ast.parse(file.read_text()).body)) for file in files)


def test_enough_is_looked_at():
    assert len(in_sentences()) > 40
    assert not exists("model/nowhere.py")
    assert "Covariance.estimate" in DEFINED
    assert "Covariance.estimates" not in DEFINED


def test_commands_name_files_that_exist():
    commands = "".join(re.findall(r"```.*?```", TEXT, re.DOTALL)) + " ".join(spans(TEXT))
    for path in re.findall(r"(?:tests|examples|deploy)/[\w/.]+", commands):
        if path not in FOREIGN:
            assert exists(path), path


def test_the_readme_s_test_command_is_the_first_step():
    (command,) = re.findall(r"^python3 -m venv .* pytest$", README, re.MULTILINE)
    assert command in TEXT


def test_each_room_is_in_the_figure():
    figure = next(block for block in re.findall(r"```(.*?)```", TEXT, re.DOTALL) if "cli/" in block)
    rooms = {path.name for path in (ROOT / "dask_gmm").iterdir() if (path / "__init__.py").exists()}
    assert set(re.findall(r"(\w+)/", figure)) == rooms


@pytest.mark.parametrize(
    "page", ["examples/README.md", "deploy/reliability.md", "tests/benchmarks/README.md"]
)
def test_links_of_the_pages_behind_it_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text())
    missing = [link for link in links if "://" not in link and not ((ROOT / page).parent / link).exists()]
    assert not missing
    scripts = re.findall(r"python (tests/[\w/.]+)", (ROOT / page).read_text())
    assert links or scripts
    assert all((ROOT / script).exists() for script in scripts)


def test_files_that_the_readme_names_exist():
    places = {span for span in spans(README) if is_path(span)}
    links = {link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link}
    scripts = set(re.findall(r"(?:tests|examples|deploy)/[\w/.]+", README))
    missing = {path for path in places | links | scripts if not exists(path)}
    assert not missing
