"""Any fitted transformer in front of stored data, chunk by chunk."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.data.dispatch import lazy_source
from dask_gmm.data.mapped import RowMap, RowMapping
from dask_gmm.preprocessing.lazy import transformed


def map_rows(X: Any, transformer: Any) -> Any:
    """Return the rows of X that come out of a transformer, which is applied to each chunk after it is read.

    Parameters
    ----------
    X : dask array, dask DataFrame, source, zarr.Array, xarray object, path or URL
        Data that are read chunk by chunk, as in `GaussianMixture.fit`.
    transformer : fitted scikit-learn transformer, or callable
        Its ``transform`` (or the callable itself) maps rows of shape (n, n_features), float32 or float64, to
        rows of shape (n, n_out), each row by itself. It travels to the workers: it has to be picklable.

    Returns
    -------
    dask array, dask DataFrame or source
        Of the kind of X; a source for stored data and xarray objects, whose predictions have the coordinates
        of X. Rows that X drops stay dropped; with holes it is for the transformer to keep them.

    Raises
    ------
    TypeError
        X is in memory, or what comes out are no dense real numbers.
    ValueError
        What comes out has not one row for each row.

    Examples
    --------
    >>> import dask.array as da, numpy as np
    >>> from sklearn.preprocessing import QuantileTransformer
    >>> from dask_gmm.preprocessing import map_rows
    >>> X = np.random.default_rng(0).lognormal(size=(200, 2))
    >>> normal = QuantileTransformer(n_quantiles=50, output_distribution="normal").fit(X)
    >>> map_rows(da.from_array(X, chunks=(50, 2)), normal).compute().std(axis=0).round()
    array([1., 1.])
    """
    source = lazy_source(X)
    if source is None:
        raise TypeError(
            f"map_rows is for data that are read chunk by chunk; transform the {type(X).__name__}."
        )
    function: RowMap = getattr(transformer, "transform", transformer)
    apply = _Applied(function, None)
    probe = apply(np.zeros((2, source.n_features), dtype=source.dtype))
    dtype = np.dtype(np.float32 if probe.dtype == np.float32 else np.float64)
    identity = sha256(pickle.dumps(function)).hexdigest()[:16]
    names = _names_of(transformer, probe.shape[1])
    mapping = RowMapping(_Applied(function, probe.shape[1]), probe.shape[1], dtype, names, identity)
    return transformed(X, source, mapping)


@dataclass(frozen=True, slots=True)
class _Applied:
    """A transformer's answer, checked.

    Attributes
    ----------
    function : callable
    n_out : int or None
        Columns that must come out; None while that is not known.
    """

    function: Callable[[NDArray[Any]], Any]
    n_out: int | None

    def __call__(self, rows: NDArray[Any]) -> NDArray[Any]:
        out = self.function(rows)
        if hasattr(out, "toarray"):
            raise TypeError(
                "The transformer gives sparse rows; make it give dense ones (sparse_output=False)."
            )
        out = np.asarray(out)
        if out.dtype.kind not in "biuf":
            raise TypeError(f"The transformer gives {out.dtype}; rows of a mixture are real numbers.")
        if out.ndim != 2 or len(out) != len(rows) or self.n_out not in (None, out.shape[1]):
            raise ValueError(
                f"The transformer gives an array of shape {out.shape} for {len(rows)} rows, where "
                f"({len(rows)}, {self.n_out or 'n_out'}) is needed."
            )
        return out


def _names_of(transformer: Any, n_out: int) -> tuple[str, ...] | None:
    if not hasattr(transformer, "get_feature_names_out") or not hasattr(transformer, "feature_names_in_"):
        return None
    names = tuple(map(str, transformer.get_feature_names_out()))
    return names if len(names) == n_out else None
