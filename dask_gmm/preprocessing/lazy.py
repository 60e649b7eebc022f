"""What both transformers do with data that are not in memory: one pass to fit, changes after reading."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dask_gmm.data.abilities import HasNanRule, nan_rule_of
from dask_gmm.data.aligned import with_nan_rule
from dask_gmm.data.dispatch import lazy_source
from dask_gmm.data.imported import is_instance
from dask_gmm.data.mapped import RowMap, RowMapping, map_source
from dask_gmm.data.source import Answer, Block, Source


def is_lazy(X: Any) -> bool:
    """Tell whether data are read chunk by chunk; whatever else there is, scikit-learn takes it."""
    return isinstance(X, str | os.PathLike) or lazy_source(X) is not None


def with_holes(source: Source) -> Source:
    """Return the same rows with a NaN as no value, unless the source leaves them out."""
    if isinstance(source, HasNanRule) and nan_rule_of(source) == "error":
        return with_nan_rule(source, "keep")
    return source


def transformed(X: Any, source: Source, mapping: RowMapping) -> Any:
    """Return the rows of X that come out of a mapping, lazily and of the same kind.

    Parameters
    ----------
    X
        What the user gave.
    source : Source
        Its rows.
    mapping : RowMapping

    Returns
    -------
    dask array, dask DataFrame, or MappedSource
        Of everything else, that is, of stored data and of xarray objects, a source: what is predicted from
        it comes back as from the data themselves.
    """
    if is_instance(X, "dask.array", "Array") or is_instance(X, "dask.dataframe", "DataFrame"):
        answer = Answer(_Rows(mapping), mapping.dtype, mapping.n_features, np.nan)
        lazy = with_holes(source).apply(answer)
        if not isinstance(getattr(lazy, "_meta", None), pd.DataFrame):
            return lazy
        return lazy.rename(columns=dict(enumerate(mapping.feature_names or lazy.columns)))
    return map_source(source, mapping)


@dataclass(frozen=True, slots=True)
class _Rows:
    mapping: RowMapping

    def __call__(self, block: Block) -> NDArray[Any]:
        return self.mapping(block).rows


def mapping_of(
    function: RowMap,
    source: Source,
    identity: str,
    names: Callable[[], Sequence[str]] | None,
    n_features: int,
) -> RowMapping:
    """Return a mapping of the rows of `source`, whose dtype it keeps."""
    out = None if names is None else tuple(map(str, names()))
    return RowMapping(function, n_features, source.dtype, out, identity)


def set_features(estimator: object, features: Mapping[str, Any]) -> None:
    """Set number and names of the features, and forget the names of an earlier fit."""
    if features:
        vars(estimator).pop("feature_names_in_", None)
        for name, value in features.items():
            setattr(estimator, name, value)
