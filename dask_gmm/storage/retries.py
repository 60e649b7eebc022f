"""Trying again while a store fails, and giving up clearly where it refuses or fails for too long.

The clients of stores have retries of their own, which give up after seconds; an outage, or a store that
throttles a hundred workers at once, takes minutes.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from time import monotonic, sleep
from typing import TypeVar

from dask_gmm.config import READ_DEADLINE
from dask_gmm.errors import StoreError
from dask_gmm.storage.redaction import public_text
from dask_gmm.storage.store_errors import STORE_ERRORS, verdict

_LOGGER = logging.getLogger("dask_gmm")
_T = TypeVar("_T")

# Pauses, in seconds, double from the first to the longest. Each is drawn from the upper half, so that
# workers that failed together do not come back together.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_RANDOM = random.Random()


def patiently(action: Callable[[], _T], what: str, deadline: float | None = None) -> _T:
    """Return what `action` returns, trying again with growing pauses while a store fails.

    Parameters
    ----------
    action : callable
        What to do. It may be called several times.
    what : str
        The beginning of an error's message.
    deadline : float, optional
        In seconds, by default the configuration's. No try is begun that would end later if it took as long
        as the one before.

    Raises
    ------
    StoreError
        The store fails until the deadline, refuses, or has no such object.
    Exception
        Any error that is not one of a store is raised unchanged, at once.
    """
    deadline = READ_DEADLINE.get() if deadline is None else deadline
    began, pause = monotonic(), _FIRST_PAUSE
    while True:
        tried = monotonic()
        try:
            return action()
        except Exception as error:
            found = verdict(error)
            if found is None:
                raise
            # The client's own error, or its traceback, may hold a signed URL.
            told = f"{what}: {_described(error)}"
            if found != "passing":
                raise STORE_ERRORS[found](told) from None
            wait = pause * _RANDOM.uniform(0.5, 1.0)
            now = monotonic()
            if now + wait + (now - tried) > began + deadline:
                raise StoreError(
                    f"{told} (for {now - began:.0f} s; dask-gmm.read-deadline is {deadline:.0f} s)"
                ) from None
        _LOGGER.warning("%s. Another try in %.1f s.", told, wait)
        sleep(wait)
        pause = min(2 * pause, _LONGEST_PAUSE)


def _described(error: Exception) -> str:
    """Return an error's kind, text and notes without credentials."""
    parts = [f"{type(error).__name__}: {error}".rstrip(": "), *getattr(error, "__notes__", [])]
    return ", ".join(map(public_text, parts))
