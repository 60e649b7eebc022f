"""The package's public names, which are imported when they are first used."""

from __future__ import annotations

import pickle

import pytest

import dask_gmm
from dask_gmm import errors


def test_every_public_name_is_there() -> None:
    assert set(dask_gmm._MODULES) < set(dask_gmm.__all__)
    for name in set(dask_gmm.__all__) - {"__version__"}:
        assert getattr(dask_gmm, name).__name__ == name
        assert name in dir(dask_gmm)


def test_every_error_is_public_and_has_one_base() -> None:
    kinds = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type)}
    assert kinds.keys() <= set(dask_gmm.__all__)
    for name, kind in kinds.items():
        assert getattr(dask_gmm, name) is kind
        assert issubclass(kind, (dask_gmm.DaskGMMError, Warning))
        assert len(kind.__mro__) == len(set(kind.__mro__))


def test_errors_travel() -> None:
    """A worker's error arrives as it was raised."""
    for error in (
        dask_gmm.CollapsedComponentError("gone", 3),
        dask_gmm.StoreMissingError("not there"),
        dask_gmm.DriverError("s3://bucket/fit"),
    ):
        arrived = pickle.loads(pickle.dumps(error))
        assert type(arrived) is type(error)
        assert str(error) in str(arrived)
    assert pickle.loads(pickle.dumps(dask_gmm.CollapsedComponentError("gone", 3))).component == 3


def test_other_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'GausianMixture'"):
        dask_gmm.GausianMixture  # noqa: B018


def test_a_warning_points_at_the_line_that_called_the_package():
    def module(name, text):
        names = {"__name__": name, "inner": inner}
        exec(compile(text, f"{name}.py", "exec"), names)
        return names["call"]

    inner = errors.warn_caller
    inner = module("dask_gmm.engine.deepest", "def call():\n  inner('look', UserWarning)")
    inner = module("dask_gmm.data.deeper", "def call():\n  inner()")
    inner = module("sklearn.callback._callback_support", "def call():\n  inner()")
    inner = module("dask_gmm_of_the_user", "\n\ndef call():\n  inner()")
    with pytest.warns(UserWarning, match="look") as caught:
        inner()
    assert (caught[0].filename, caught[0].lineno) == ("dask_gmm_of_the_user.py", 4)
