"""The settings: one table, which Dask's configuration and the README show."""

from __future__ import annotations

import re
from pathlib import Path

import dask
import pytest

from dask_gmm.config import KILLED_RETRIES, NAMESPACE, SETTINGS, START_BYTES

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_dask_shows_the_defaults(setting):
    assert dask.config.get(setting.key) == setting.default
    assert setting.get() == setting.parse(setting.default)
    assert setting.meaning.endswith(".")


def test_what_is_set_counts():
    with dask.config.set({START_BYTES.key: "1 kB", KILLED_RETRIES.key: "3"}):
        assert START_BYTES.get() == 1000
        assert KILLED_RETRIES.get() == 3


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_what_cannot_be_understood_is_named(setting):
    with dask.config.set({setting.key: "nonsense"}), pytest.raises(ValueError, match=setting.key):
        setting.get()


def test_the_readme_lists_all_and_no_others():
    named = set(re.findall(rf"`{NAMESPACE}\.([a-z-]+)`", README.read_text()))
    assert named == {setting.name for setting in SETTINGS}
