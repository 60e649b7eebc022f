"""What can be known of the files in deploy/ without the systems that they are for."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from dask_gmm.cli import gmm

DEPLOY = Path(__file__).parents[2] / "deploy"
SCRIPTS = [*DEPLOY.rglob("*.sh"), *DEPLOY.rglob("*.sbatch")]
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts(script: Path) -> None:
    subprocess.run(["bash", "-n", script], check=True)
    assert script.stat().st_mode & 0o111, "not executable"
    shellcheck = Path(sys.executable).with_name("shellcheck")
    if not shellcheck.exists():
        pytest.skip("shellcheck is not installed")
    checked = subprocess.run([shellcheck, script], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_every_file_is_in_the_readme() -> None:
    text = (DEPLOY / "README.md").read_text()
    linked = set(re.findall(r"\]\(([^)]+)\)", text))
    files = {str(path.relative_to(DEPLOY)) for path in DEPLOY.rglob("*") if path.is_file()}
    assert linked == files - {"README.md"}


def documents() -> list[Any]:
    return [(path, document) for path in MANIFESTS for document in yaml.safe_load_all(path.read_text())]


def _closed(schema: Any) -> Any:
    """Return a schema that refuses properties that it does not list, so that a misspelt one fails."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _closed(value) for name, value in schema.items()}
    if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        closed.setdefault("additionalProperties", False)
    return closed


def _dask_schema(kind: str) -> Any:
    # Found, not imported: the operator's own imports take seconds.
    package = find_spec("dask_kubernetes")
    if package is None or package.origin is None:
        pytest.skip("dask-kubernetes is not installed")
    folder = Path(package.origin).parent / "operator/deployment/helm/dask-kubernetes-operator/crds"
    for path in folder.glob("*.yaml"):
        definition = yaml.safe_load(path.read_text())
        if definition["spec"]["names"]["kind"] == kind:
            (version,) = definition["spec"]["versions"]
            schema = _closed(version["schema"]["openAPIV3Schema"])
            for name in ("apiVersion", "kind", "metadata"):
                schema["properties"].setdefault(name, {})
            return schema
    raise LookupError(kind)


DASK_KINDS = ("DaskJob", "DaskCluster", "DaskAutoscaler")


def _errors(document: Any) -> list[str]:
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft7Validator(_dask_schema(document["kind"]))
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]


@pytest.mark.parametrize(
    "document",
    [document for _, document in documents() if document["kind"] in DASK_KINDS],
    ids=lambda document: document["kind"],
)
def test_operator_manifests(document: Any) -> None:
    assert _errors(document) == []


def test_a_misspelt_field_would_be_found() -> None:
    (document,) = [document for _, document in documents() if document["kind"] == "DaskJob"]
    document["spec"]["cluster"]["spec"]["worker"]["replica"] = 4
    container = document["spec"]["job"]["spec"]["containers"][0]
    container["resource"] = container.pop("resources")
    assert len(_errors(document)) == 2


@pytest.mark.parametrize(
    "document",
    [document for _, document in documents() if document["kind"] not in DASK_KINDS],
    ids=lambda document: document["kind"],
)
def test_core_manifests(document: Any) -> None:
    validate = pytest.importorskip("kubernetes_validate")
    validate.validate(document, "1.31", strict=True)


def containers() -> list[Any]:
    found: list[Any] = []

    def search(node: Any) -> None:
        if isinstance(node, dict):
            found.extend(node.get("containers", []))
            node = list(node.values())
        if isinstance(node, list):
            for item in node:
                search(item)

    for _, document in documents():
        search(document)
    return found


def test_containers() -> None:
    assert len(containers()) == 6
    for container in containers():
        assert container["image"] == "registry.example.org/me/dask-gmm:0.1.0"
        assert container["resources"]["limits"]["memory"] == container["resources"]["requests"]["memory"]
        assert "env" not in container, "a secret is referred to, not written down"


def test_commands_have_these_options() -> None:
    commands = [container["args"] for container in containers() if container["args"][1] == "gmm"]
    assert len(commands) == 2
    for _, _, command, *arguments in commands:
        # What the command line's parser says; nothing is run.
        gmm.commands[command].make_context(command, list(arguments))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_options_in_scripts(script: Path) -> None:
    text = script.read_text().replace("\\\n", " ")
    for line in re.findall(r"^dask gmm fit (.*)$", text, re.MULTILINE):
        used = set(re.findall(r"--[a-z-]+", line))
        shown = CliRunner().invoke(gmm, ["fit", "--help"]).stdout
        assert used <= set(re.findall(r"--[a-z-]+", shown))


def test_the_python_script_compiles() -> None:
    ast.parse((DEPLOY / "slurm" / "elastic.py").read_text())


def test_dockerfile_installs_extras_that_exist() -> None:
    import tomllib

    text = (DEPLOY / "kubernetes" / "Dockerfile").read_text()
    (extras,) = re.findall(r'"/opt/dask-gmm\[([a-z0-9,]+)\]"', text)
    project = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["project"]
    assert set(extras.split(",")) <= project["optional-dependencies"].keys()
