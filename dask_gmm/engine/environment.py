"""Releases and processors of the workers of a pass, which the bits of a result depend on.

A reduction collects them on the way, from the workers that did something, whenever they came. Only whether
the package is there at all has to be asked beforehand.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from hashlib import sha256
from typing import Any
from weakref import WeakKeyDictionary

import numba
import numpy as np
from distributed import Client
from numba.core.registry import cpu_target
from threadpoolctl import threadpool_info

from dask_gmm.data.source import Block
from dask_gmm.errors import WorkersDifferError, warn_caller

_LOGGER = logging.getLogger("dask_gmm")

_PACKAGE = __name__.partition(".")[0]
_ANSWER_SECONDS = 10.0
# The workers that have told their release to a client.
_ANSWERED: WeakKeyDictionary[Client, set[str]] = WeakKeyDictionary()

# What compares equal where bits are the same: names and values, dask_gmm first.
Environment = tuple[tuple[str, str], ...]


@cache
def environment() -> Environment:
    """Return the environment of this process."""
    _, name, features = cpu_target.target_context.codegen().magic_tuple()
    blas = sorted(
        {str(library.get("architecture")) for library in threadpool_info() if library["user_api"] == "blas"}
    )
    return (
        (_PACKAGE, str(getattr(sys.modules[_PACKAGE], "__version__", "unknown"))),
        ("numpy", np.__version__),
        ("numba", numba.__version__),
        ("processor", f"{name} with features {sha256(features.encode()).hexdigest()[:6]}"),
        ("BLAS", " and ".join(blas)),
    )


class Environments:
    """The reduction to the environments of all workers of a pass."""

    def zero(self) -> frozenset[Environment]:
        """Return the environment of this process."""
        return frozenset([environment()])

    def update(self, value: frozenset[Environment], block: Block) -> frozenset[Environment]:
        """Return `value`: rows change nothing."""
        return value

    def combine(self, values: Sequence[frozenset[Environment]]) -> frozenset[Environment]:
        """Return the environments of all."""
        return frozenset[Environment]().union(*values)


def check_environments(found: frozenset[Environment]) -> bool:
    """Refuse another release, and warn where workers differ in what their bits depend on.

    Parameters
    ----------
    found : frozenset
        Environments of the workers of a pass.

    Returns
    -------
    bool
        Whether there was something to warn of.

    Raises
    ------
    WorkersDifferError
        Workers have another release of dask_gmm than this process.
    """
    values = {name: sorted({dict(one)[name] for one in found}) for one in found for name, _ in one}
    _check_releases(values[_PACKAGE])
    different = [f"{name}: {'; '.join(several)}" for name, several in values.items() if len(several) > 1]
    if different:
        warn_caller(
            f"The workers differ in what the last bits of a result depend on ({', '.join(different)}). Which "
            "worker does what is chance, so that the same fit may give other last digits another time. Use "
            "workers of one kind where that matters.",
            UserWarning,
        )
    return bool(different)


def check_releases(client: Client, workers: Iterable[str]) -> None:
    """Ask each worker once for its release, before it gets a task that it could not even unpack.

    A worker without the package would lose its connection over such a task, and nobody would hear why.

    Parameters
    ----------
    client : distributed.Client
    workers : iterable of str
        Addresses; those that answered before are not asked again.

    Raises
    ------
    WorkersDifferError
        A worker has no dask_gmm, or another release.
    """
    package = _PACKAGE

    def release() -> str | None:
        # Inside another function: so it is sent by value, and the package need not be there to run it.
        import importlib

        try:
            return str(getattr(importlib.import_module(package), "__version__", "unknown"))
        except ImportError:
            return None

    known = _ANSWERED.setdefault(client, set())
    new = sorted(set(workers) - known)
    if not new:
        return
    try:
        asked = {"workers": new, "on_error": "ignore", "callback_timeout": _ANSWER_SECONDS}
        releases: dict[str, Any] = client.run(release, **asked)
    except (OSError, ValueError) as error:
        # They are busy or gone; the pass itself tells what it can.
        _LOGGER.info("The workers do not tell their releases: %r", error)
        return
    without = sorted(address for address, found in releases.items() if found is None)
    if without:
        raise WorkersDifferError(
            f"{package} is not installed on {len(without)} of {len(new)} workers, {without[0]} among them. "
            f"Install {package} {_own_release()} there, as on this machine."
        )
    _check_releases(list(releases.values()))
    known.update(releases)


def _own_release() -> str:
    return dict(environment())[_PACKAGE]


def _check_releases(releases: Sequence[str]) -> None:
    others = sorted({release for release in releases if release != _own_release()})
    if others:
        raise WorkersDifferError(
            f"Workers have {_PACKAGE} {' and '.join(others)}, this process has {_own_release()}: results "
            "would be of both. Install the same release everywhere, and restart the workers."
        )
