"""The memory that this process may take, and the refusal to read chunks that are larger."""

from __future__ import annotations

import psutil
from dask.utils import format_bytes
from distributed import get_worker
from distributed.system import MEMORY_LIMIT

from dask_gmm.errors import ChunkTooLargeError

# Smaller chunks fit if anything does, and asking the system takes longer than reading them.
_SMALL = 64 << 20


def available_bytes() -> int:
    """Return the memory limit of the worker in this process, or, without a worker, what the machine has left.

    It is no more than the container of the process may have. Swap space counts: it is slow, but it is there.
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
        Size once decoded.
    name : str
        What the error calls it.

    Raises
    ------
    ChunkTooLargeError
        It is larger than `available_bytes`.
    """
    if n_bytes <= _SMALL:
        return
    available = available_bytes()
    if n_bytes > available:
        raise ChunkTooLargeError(
            f"{name} decodes to {format_bytes(n_bytes)}, as its metadata announce, and this process has "
            f"{format_bytes(available)}. Rechunk the data, or read them where there is more memory."
        )
