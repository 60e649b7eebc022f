"""What `tests/lowest.txt` pins, for the lowest versions, is what pyproject.toml asks for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def _floors(requirements: list[str]) -> dict[str, str]:
    found = {}
    for requirement in requirements:
        match = re.match(r"([\w-]+)(?:\[[\w,-]+\])?>=([\d.]+)", requirement)
        if match:
            found[match[1]] = match[2]
    return found


def test_pins_are_the_floors():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = _floors([*project["dependencies"], *project["optional-dependencies"]["test"]])
    lines = (ROOT / "tests" / "lowest.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if "==" in line)
    # Both are one release.
    assert pinned.pop("distributed") == pinned["dask"]
    assert pinned == {name: version for name, version in asked.items() if name != "pytest"}
