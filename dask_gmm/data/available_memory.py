"""How much memory this process may take, and the refusal of chunks that are larger."""

from __future__ import annotations

import psutil
from dask.utils import format_bytes
from distributed import get_worker
from distributed.system import MEMORY_LIMIT

from dask_gmm.errors import ChunkTooLargeError

# Smaller ones fit, or nothing does; asking the system takes longer than to read them.
_SMALL = 64 << 20


def available_bytes() -> int:
    """Return the memory limit of this process's worker; elsewhere what the machine has left.

    No more than its container may have. Swap space counts: it is slow, but it is there.
    """
    try:
        limit = get_worker().memory_manager.memory_limit
    except ValueError:
        limit = None
    if limit:
        return int(limit)
    return int(min(MEMORY_LIMIT, psutil.virtual_memory().available) + psutil.swap_memory().free)


def check_fits(n_bytes: int, name: str) -> None:
    """Refuse to read what would not fit into the memory of this process even once.

    Parameters
    ----------
    n_bytes : int
        As decoded.
    name : str
        What it is.

    Raises
    ------
    ChunkTooLargeError
    """
    if n_bytes <= _SMALL:
        return
    available = available_bytes()
    if n_bytes > available:
        raise ChunkTooLargeError(
            f"{name} decodes to {format_bytes(n_bytes)}, as its metadata announce, and this process has "
            f"{format_bytes(available)}. Rechunk the data, or read them where there is more memory."
        )
