"""The partitions that a dask DataFrame has when it is computed, and those of a Series beside it.

Dask's optimizer joins partitions of files of which few columns are read: a frame of eight partitions may be
computed as three, and a Series of another column as two. What depends on the partition - a sample, a function
given to ``map_partitions`` - then depends on how many are joined, so a frame is taken as Dask computes it.
"""

from __future__ import annotations

from typing import Any

import dask.dataframe as dd
import pandas as pd
from dask._collections import new_collection
from dask._expr import Expr


def optimized(frame: dd.DataFrame | dd.Series) -> Expr:
    """Return the expression that Dask computes for the frame."""
    return frame.expr.optimize(fuse=True)


def can_be_paired(frame: dd.DataFrame, series: dd.Series) -> bool:
    """Tell whether the partitions of a Series can be matched with those of the frame one by one."""
    own = _lowered(frame.expr).npartitions
    return _lowered(series.expr).npartitions == own and (not _is_joined(frame) or _is_aligned(frame))


def paired(frame: dd.DataFrame, series: dd.Series) -> Expr:
    """Return an expression whose partitions are pairs of the frame's and the Series's, see `can_be_paired`.

    What both are computed from is computed once, unless partitions of the frame are joined.
    """
    if not _is_joined(frame):
        return _lowered(_pairs(frame, series).expr).fuse()
    whole = optimized(frame)
    # By the rule by which Dask joins partitions of files.
    joined = _lowered(series.repartition(npartitions=whole.npartitions).expr)
    return _pairs(new_collection(whole), new_collection(joined)).expr.lower_completely()


def _pairs(frame: dd.DataFrame, series: dd.Series) -> Any:
    return frame.map_partitions(
        _pair, series, align_dataframes=False, enforce_metadata=False, meta=frame._meta
    )


def _pair(frame: pd.DataFrame, series: pd.Series[Any]) -> tuple[pd.DataFrame, pd.Series[Any]]:
    return frame, series


def _lowered(expression: Expr) -> Expr:
    """Return the expression as Dask computes it, but with the partitions of its files as they are."""
    return expression.simplify().lower_completely().simplify()


def _is_joined(frame: dd.DataFrame) -> bool:
    return bool(optimized(frame).npartitions != _lowered(frame.expr).npartitions)


def _is_aligned(frame: dd.DataFrame) -> bool:
    """Tell whether the partitions of the frame are those of the files that it is read from."""
    whole = optimized(frame)
    return {node.npartitions for node in whole.walk()} <= {1, whole.npartitions}
