"""The tasks of a pass, as workers run them.

Each is a plain function of what it was sent, so that a task whose worker died runs again elsewhere and gives
the same value. What it was sent are opaque bytes: Dask would otherwise look for keys and futures inside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from distributed.protocol.pickle import loads

from dask_gmm.engine.allocator import keep_freed_memory
from dask_gmm.engine.blas import SingleBlasThread
from dask_gmm.engine.cache import KeptBlocks
from dask_gmm.engine.group import combine_values, run_group
from dask_gmm.engine.memory_pressure import give_back_afterwards
from dask_gmm.engine.read_ahead import Reading, let_next_task_begin, take_turn
from dask_gmm.engine.suitable import on_large_workers
from dask_gmm.engine.telemetry import Watched


def hold_payload(payload: bytes) -> bytes:
    """Return what is too large to travel inside each task that needs it."""
    return payload


@on_large_workers
@give_back_afterwards
def keep_group(group: bytes, inputs: Mapping[Any, Any]) -> KeptBlocks:
    """Read a group's rows, which then stay on the worker as this task's result."""
    return KeptBlocks(_open(group, inputs))


@on_large_workers
@give_back_afterwards
def reduce_group(
    group: bytes | KeptBlocks, reductions: bytes, inputs: Mapping[Any, Any], _data_producer: bool = False
) -> list[Any]:
    """Return the value of each reduction over a group.

    Parameters
    ----------
    group : bytes or KeptBlocks
        How to read the rows, or the rows themselves.
    reductions : bytes
    inputs : mapping
        Results of the futures that the rows are made of.
    _data_producer : bool
        For the scheduler; see `dask_gmm.engine.submit`.
    """
    reading = group.reading if isinstance(group, KeptBlocks) else _open(group, inputs)
    watched, opened = Watched(reading.reader), loads(reductions)
    blocks = replace(reading, reader=watched).begin()
    with take_turn(), SingleBlasThread(), watched:
        return run_group(blocks, opened, let_next_task_begin if reading.overlaps else None)


@on_large_workers
@give_back_afterwards
def merge_groups(reductions: bytes, parts: Sequence[list[Any]]) -> list[Any]:
    """Return one value of each reduction for those of several groups."""
    return combine_values(loads(reductions), parts)


def _open(group: bytes, inputs: Mapping[Any, Any]) -> Reading:
    keep_freed_memory()
    reading: Reading = loads(group)
    if inputs:
        reading.reader.supply(inputs)
    return reading
