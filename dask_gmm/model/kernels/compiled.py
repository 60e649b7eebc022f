"""How the kernels are compiled: one set of options, one cache on disk, one version for all layouts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit, types

F = TypeVar("F", bound=Callable[..., Any])

#: For all. `contract` allows fused multiply-add and nothing else: infinities and NaN keep their meaning, and
#: sums their order, so that the same rows give the same bits.
OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}


def inner(function: F) -> F:
    """Mark a function that compiled code calls: it is compiled into its caller, for the types met there."""
    return cast(F, njit(**OPTIONS)(function))


def reordered(function: F) -> F:
    """Mark an inner function whose sums may run in the order of vector lanes: fixed by their length."""
    return cast(F, njit(**{**OPTIONS, "fastmath": {"contract", "reassoc"}})(function))


def compile_for(function: F, *arguments: types.Type) -> F:
    """Compile an entry point for one list of argument types, or load it from the cache on disk.

    Given types, numba accepts arrays of any layout where the type is `read_only`; left to itself it would
    compile once for each combination of C-ordered, F-ordered, strided and read-only arrays.
    """
    try:
        return cast(F, njit(arguments, cache=True, **OPTIONS)(function))
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
        # Neither the package, the user's cache directory nor NUMBA_CACHE_DIR can be written.
        return cast(F, njit(arguments, **OPTIONS)(function))


def read_only(dtype: types.Type, ndim: int, layout: str = "A") -> types.Array:
    """Return the type of an array that is only read: of any strides unless a layout is given."""
    return types.Array(dtype, ndim, layout, readonly=True)
