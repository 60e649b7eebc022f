"""How the kernels are compiled: one set of options, one cache on disk, one version for all layouts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit, types
from numba.core.caching import FunctionCache

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
    dispatcher = njit(**OPTIONS)(function)
    try:
        dispatcher._cache = _Cache(function)
    except RuntimeError as error:
        # Neither the package's directory, the user's cache directory nor NUMBA_CACHE_DIR can be written.
        if "no locator available" not in str(error):
            raise
    dispatcher.compile(arguments)
    dispatcher.disable_compile()
    return cast(F, dispatcher)


def read_only(dtype: types.Type, ndim: int, layout: str = "A") -> types.Array:
    """Return the type of an array that is only read: of any strides unless a layout is given."""
    return types.Array(dtype, ndim, layout, readonly=True)


class _Cache(FunctionCache):  # type: ignore[misc]
    """numba's cache on disk, which by itself only notices changes to the file of the entry point."""

    def _index_key(self, signature: Any, codegen: Any) -> tuple[Any, ...]:
        return (*super()._index_key(signature, codegen), _sources_digest())


@cache
def _sources_digest() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
