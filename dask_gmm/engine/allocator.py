"""A worker's allocator is told to keep the memory that one chunk frees for the next chunk.

Dask starts workers with MALLOC_TRIM_THRESHOLD_ set. That keeps glibc from learning how large a program's
blocks are: each array above 128 KiB is then mapped and unmapped, and the kernel clears its pages anew for
each chunk. Passes over stored rows took a third longer for it, `tests/benchmarks/plan.py`.
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache
from typing import Any

# glibc's malloc.h. The largest block that is not mapped, as far as glibc allows, and the free memory that an
# arena may keep.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 32 << 20


@cache
def keep_freed_memory() -> None:
    """Let this process keep freed memory of up to 32 MiB per arena; do nothing without glibc.

    Nothing is changed either where the user has set MALLOC_MMAP_THRESHOLD_ in the environment.
    """
    mallopt = _find_in_glibc("mallopt")
    if mallopt is not None and "MALLOC_MMAP_THRESHOLD_" not in os.environ:
        mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def give_back_freed_memory() -> None:
    """Return all free pages to the system, also those between others that are in use; needs glibc."""
    malloc_trim = _find_in_glibc("malloc_trim")
    if malloc_trim is not None:
        malloc_trim(0)


def _find_in_glibc(name: str) -> Any:
    """Return a function of the C library, None where it has none of that name."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform.startswith("linux") else None
