"""Which source serves a given object. Packages are imported only when the object needs them."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from dask_gmm.data.abilities import SelectsFeatures, nan_rule_of
from dask_gmm.data.aligned import with_nan_rule
from dask_gmm.data.imported import is_instance
from dask_gmm.data.rows import NanRule
from dask_gmm.data.source import Source, is_source

_PARQUET = (".parquet", ".parq", ".pq")


def lazy_source(
    X: Any,
    nan: NanRule = "error",
    features: Sequence[str] | None = None,
    feature_dim: Hashable | None = None,
) -> Source | None:
    """Return the source of data that are read chunk by chunk, None for data in memory.

    Parameters
    ----------
    X : Source, dask array or dataframe, zarr.Array, or path or URL of a Zarr array or Parquet data
        Anything else is taken for data in memory.
    nan : {'error', 'drop', 'keep'}
        What becomes of rows with a NaN or a null; with 'error' a source goes on as it was made.
    features : sequence of str, optional
        Which features to take, by name and in this order, where the data have names.
    feature_dim : hashable, optional
        Of xarray objects, as in `from_xarray`.

    Raises
    ------
    TypeError
        Dask's bags and delayed values, which have no columns.
    ValueError
        A Zarr group; the message lists its arrays.
    """
    if isinstance(X, (str, os.PathLike)):
        source: Source | None = _stored(os.fspath(X), nan, features)
    else:
        source = _lazy_source(X, features, feature_dim)
    if source is None:
        return None
    if features is not None and isinstance(source, SelectsFeatures):
        source = source.select_features(features)
    own = nan_rule_of(source)
    # A source that drops them was made to.
    return source if nan in ("error", own) or own == "drop" else with_nan_rule(source, nan)


def _lazy_source(X: Any, features: Sequence[str] | None, feature_dim: Hashable | None) -> Source | None:
    if is_instance(X, "xarray", "DataArray") or is_instance(X, "xarray", "Dataset"):
        from dask_gmm.data.xarray import from_xarray

        chosen = None
        if is_instance(X, "xarray", "Dataset"):
            names = list(features or ())
            if feature_dim is not None:
                # They are called after variable and level.
                names = list(dict.fromkeys(name.partition("[")[0] for name in names))
            elif len(names) == len(X.data_vars):
                # Nothing to choose: another order is refused, as that of a data frame in memory is.
                names = []
            chosen = _present(names, X.data_vars)
        return from_xarray(X[chosen] if chosen else X, feature_dim)
    if is_source(X):
        return X
    if is_instance(X, "zarr", "Array"):
        from dask_gmm.data.zarr.source import ZarrSource

        return ZarrSource.from_array(X)
    if is_instance(X, "zarr", "Group"):
        from dask_gmm.data.zarr.source import from_zarr

        # Says which arrays it has.
        return from_zarr(X)
    if is_instance(X, "dask.array", "Array"):
        from dask_gmm.data.dask_array import DaskArraySource

        return DaskArraySource(X)
    if is_instance(X, "dask.dataframe", "DataFrame"):
        from dask_gmm.data.dask_dataframe import DaskFrameSource

        return DaskFrameSource(X, _present(features, X.columns))
    if hasattr(X, "__dask_graph__"):
        raise TypeError(
            f"X is a dask {type(X).__name__}; give a two-dimensional dask array or a dask DataFrame "
            "(a Series becomes one with .to_frame())."
        )
    return None


def _present(features: Sequence[str] | None, names: Any) -> list[str] | None:
    """Return the features if they are all there, otherwise None: then what is there will be compared."""
    return None if features is None or not set(features) <= set(names) else list(features)


def _stored(url: str, nan: NanRule, features: Sequence[str] | None) -> Source:
    if looks_like_parquet(url):
        from dask_gmm.data.parquet import read_parquet

        return read_parquet(url, None if features is None else list(features), nan=nan)
    from dask_gmm.data.zarr.source import from_zarr

    try:
        return from_zarr(url)
    except ValueError:
        if features is None:
            raise
        return from_zarr(url, list(features))


def looks_like_parquet(url: str, storage_options: Mapping[str, Any] | None = None) -> bool:
    """Tell whether a path or URL names Parquet data: by its ending, or by what lies below it."""
    # A question mark begins a query, or is part of a path.
    for path in (url.rstrip("/"), url.split("?")[0].rstrip("/")):
        if path.endswith(_PARQUET):
            return True
        if path.endswith(".zarr"):
            return False
    from dask_gmm.storage.location import Location

    filesystem, root = Location.of(url, storage_options).open_filesystem()
    found = filesystem.find(root, maxdepth=4)
    return any(name.endswith(_PARQUET) or "/_delta_log/" in name for name in found)
