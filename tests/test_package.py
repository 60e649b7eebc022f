"""The package's public names, which are imported when they are first used."""

from __future__ import annotations

import pytest

import dask_gmm


def test_every_public_name_is_there() -> None:
    assert set(dask_gmm.__all__) == set(dask_gmm._MODULES)
    for name in dask_gmm.__all__:
        assert getattr(dask_gmm, name).__name__ == name
        assert name in dir(dask_gmm)


def test_other_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'GausianMixture'"):
        dask_gmm.GausianMixture  # noqa: B018
