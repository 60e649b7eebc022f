"""How the kernels are compiled: one set of options, one cache on disk, one version for all layouts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit, types

F = TypeVar("F", bound=Callable[..., Any])

# Only `contract` (fused multiply-add): infinities and NaN keep their meaning, and sums their order, so that
# the same rows give the same bits.
_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}


def inner(function: F) -> F:
    """Mark a function that compiled code calls: it is compiled into its caller, for the types met there."""
    return cast(F, njit(**_OPTIONS)(function))


def compile_for(function: F, *arguments: types.Type) -> F:
    """Compile an entry point for one list of argument types, or load it from the cache on disk.

    With explicit types, arrays of any layout are accepted where `rows_of` or `vector_of` says so; left to
    itself numba would compile once for each mixture of C-ordered, F-ordered, strided and read-only arrays.
    """
    try:
        return cast(F, njit(arguments, cache=True, **_OPTIONS)(function))
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
        # Neither the package, the user's cache directory nor NUMBA_CACHE_DIR can be written.
        return cast(F, njit(arguments, **_OPTIONS)(function))


def rows_of(dtype: types.Type) -> types.Array:
    """Type of rows as they come: any strides, perhaps read-only."""
    return types.Array(dtype, 2, "A", readonly=True)


def vector_of(dtype: types.Type) -> types.Array:
    """Type of a vector as it comes: any stride, perhaps read-only."""
    return types.Array(dtype, 1, "A", readonly=True)
