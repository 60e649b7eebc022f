"""BLAS uses one thread while tasks run side by side: cores are not oversubscribed, and bits are equal."""

from __future__ import annotations

import threading
from functools import lru_cache
from types import TracebackType
from typing import Any

from threadpoolctl import OpenBLASController, ThreadpoolController


@lru_cache(maxsize=1)
def _controller() -> ThreadpoolController:
    # Looking for the loaded libraries takes milliseconds; NumPy's and SciPy's are loaded by now.
    return ThreadpoolController()


class SingleBlasThread:
    """Context in which BLAS uses one thread, shared by all tasks of this process.

    The limit belongs to the process, so it is set by the first task to enter and lifted by the last
    to leave; tasks that each restored what they found would lift it under one another.
    """

    _lock = threading.Lock()
    _users = 0
    _limiter: Any = None

    def __enter__(self) -> None:
        cls = SingleBlasThread
        with cls._lock:
            if cls._users == 0:
                with _ControlFromThisThread():
                    cls._limiter = _controller().limit(limits=1, user_api="blas")
            cls._users += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        cls = SingleBlasThread
        with cls._lock:
            cls._users -= 1
            if cls._users == 0:
                with _ControlFromThisThread():
                    cls._limiter.restore_original_limits()
                cls._limiter = None


class _ControlFromThisThread:
    """Context in which OpenBLAS takes this thread's limits.

    threadpoolctl would otherwise listen to the first thread that ever set one, and ignore all others
    without a word; here the first task sets the limit and the last one lifts it, on any two threads.
    """

    def __enter__(self) -> None:
        OpenBLASController.clear_controlling_thread(force=True)

    def __exit__(self, *error: object) -> None:
        OpenBLASController.clear_controlling_thread(force=True)
