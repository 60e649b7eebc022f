"""A single reduction over all rows, where nothing else is to be computed from them."""

from __future__ import annotations

from contextlib import closing
from typing import TypeVar

from dask_gmm.data.source import Source
from dask_gmm.engine.choose import choose_engine
from dask_gmm.engine.reduction import Reduction

Value = TypeVar("Value")


def one_pass(source: Source, reduction: Reduction[Value]) -> Value:
    """Return the value of a reduction over all rows, of which none stay in memory."""
    with closing(choose_engine(source, cache=False)) as engine:
        value: Value
        (value,) = engine.run([reduction])
    return value
