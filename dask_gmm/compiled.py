"""How loops are compiled: one set of options, one cache on disk, one version for all memory layouts."""

from __future__ import annotations

import gc
import hashlib
import logging
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit, types
from numba.core.caching import CompileResultCacheImpl, FunctionCache
from numba.core.serialize import dumps

F = TypeVar("F", bound=Callable[..., Any])

_LOGGER = logging.getLogger("dask_gmm")

#: For all. `contract` allows fused multiply-add and nothing else: infinities and NaN keep their meaning, and
#: sums their order, so that the same rows give the same bits.
OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}


def inner(function: F) -> F:
    """Mark a function that compiled code calls: it is compiled into its caller, for the types met there."""
    return cast(F, njit(**OPTIONS)(function))


def inlined(function: F) -> F:
    """Mark an inner function with one caller: it is compiled as a part of that, once instead of twice."""
    return cast(F, njit(inline="always", **OPTIONS)(function))


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
    with _uncollected():
        dispatcher.compile(arguments)
    dispatcher.disable_compile()
    return cast(F, dispatcher)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Pause the garbage collector: looking through what a compilation makes takes a fifth of its time."""
    collected = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collected:
            gc.enable()


def read_only(dtype: types.Type, ndim: int, layout: str = "A") -> types.Array:
    """Return the type of an array that is only read: of any strides unless a layout is given."""
    return types.Array(dtype, ndim, layout, readonly=True)


class _Checked(CompileResultCacheImpl):  # type: ignore[misc]
    """What is kept of a compiled function, with a checksum: damaged machine code would end the process."""

    def reduce(self, compiled: Any) -> tuple[bytes, bytes]:
        content = dumps(super().reduce(compiled))
        return hashlib.sha256(content).digest(), content

    def rebuild(self, target_context: Any, reduced: tuple[bytes, bytes]) -> Any:
        digest, content = reduced
        if hashlib.sha256(content).digest() != digest:
            raise ValueError("damaged")
        return super().rebuild(target_context, pickle.loads(content))


class _Cache(FunctionCache):  # type: ignore[misc]
    """numba's cache on disk, which by itself only notices changes to the file of the entry point.

    One that is damaged, full or not to be written costs a compilation, never a fit.
    """

    _impl_class = _Checked

    @property
    def _told(self) -> str:
        return f"{self._py_func.__module__}.{self._py_func.__qualname__}"

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        try:
            kept = super().load_overload(signature, target_context)
        except Exception:  # whatever unpickling other bytes raises
            _LOGGER.warning(
                "The cache of compiled code in %s is damaged; it is compiled anew.", self.cache_path
            )
            with suppress(OSError):
                self.flush()
            return None
        if kept is None:
            _LOGGER.info("Compiling %s, once for this machine (beforehand: dask gmm warm).", self._told)
        return kept

    def save_overload(self, signature: Any, compiled: Any) -> None:
        try:
            super().save_overload(signature, compiled)
        except Exception as error:  # of the disk, or of an index that another process damaged meanwhile
            _LOGGER.info("Compiled code is not kept in %s: %r", self.cache_path, error)

    def _index_key(self, signature: Any, codegen: Any) -> tuple[Any, ...]:
        return (*super()._index_key(signature, codegen), _sources_digest(self._py_func.__code__.co_filename))


@cache
def _sources_digest(path: str) -> str:
    """Return a text that changes with the files of the folder of `path`, and with this one."""
    digest = hashlib.sha256()
    for source in (Path(__file__), *sorted(Path(path).parent.glob("*.py"))):
        digest.update(source.read_bytes())
    return digest.hexdigest()
