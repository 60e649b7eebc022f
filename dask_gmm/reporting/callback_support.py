"""scikit-learn's support of callbacks, which came with its release 1.9, or what stands for it before.

Fits are the same either way. Before 1.9 there are no callbacks of scikit-learn's own (progress bars,
monitors); what this package reports by, on the command line, is served by what is here.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

Method = TypeVar("Method", bound=Callable[..., Any])


class PlainContext:
    """A task of a fit: the few things of ``sklearn.callback.CallbackContext`` that callbacks here use.

    Parameters
    ----------
    callbacks : sequence of callback
    task_name : str
    task_id : int
        Counts the tasks of the same parent from zero.
    max_subtasks : int
    parent : PlainContext or None
    """

    def __init__(
        self,
        callbacks: list[Any],
        task_name: str,
        task_id: int,
        max_subtasks: int,
        parent: PlainContext | None = None,
    ) -> None:
        self.task_name, self.task_id, self.max_subtasks, self.parent = (
            task_name,
            task_id,
            max_subtasks,
            parent,
        )
        self._callbacks, self._n_children = callbacks, 0

    def subcontext(self, task_name: str = "", max_subtasks: int = 0) -> PlainContext:
        """Return the next task within this one."""
        child = PlainContext(self._callbacks, task_name, self._n_children, max_subtasks, self)
        self._n_children += 1
        return child

    def call_on_fit_task_begin(self, estimator: object, **_: object) -> None:
        """Tell that the task begins."""
        for callback in self._callbacks:
            callback.on_fit_task_begin(estimator=estimator, context=self)

    def call_on_fit_task_end(
        self,
        estimator: object,
        reconstruction_attributes: Callable[[], Mapping[str, Any]] | None = None,
        **_: object,
    ) -> bool:
        """Tell that the task ends; True where a callback asks to stop."""
        stops = []
        for callback in self._callbacks:
            given: dict[str, Any] = {}
            asked = inspect.signature(callback.on_fit_task_end).parameters
            if "fitted_estimator" in asked and reconstruction_attributes is not None:
                fitted = copy.copy(estimator)
                vars(fitted).update(reconstruction_attributes())
                given["fitted_estimator"] = fitted
            stops.append(bool(callback.on_fit_task_end(estimator=estimator, context=self, **given)))
        return any(stops)


class PlainSupport:
    """What ``sklearn.callback.CallbackSupportMixin`` gives to estimators."""

    def set_callbacks(self, *callbacks: Any) -> Self:
        """Set what is told of fits; none to tell nobody."""
        vars(self).pop("_skl_callbacks", None)
        if callbacks:
            self._skl_callbacks = list(callbacks)
        return self

    def _init_callback_context(self, *, max_subtasks: int = 0) -> PlainContext:
        callbacks = list(getattr(self, "_skl_callbacks", []))
        context = PlainContext(callbacks, "fit", 0, max_subtasks)
        self._callback_fit_ctx = context
        for callback in callbacks:
            callback.setup(estimator=self, context=context)
        return context


def with_teardown(method: Method) -> Method:
    """Return a method of `PlainSupport` that tells callbacks when it has ended, however it did."""

    @functools.wraps(method)
    def managed(estimator: Any, *arguments: Any, **options: Any) -> Any:
        try:
            return method(estimator, *arguments, **options)
        finally:
            context = vars(estimator).pop("_callback_fit_ctx", None)
            if context is not None:
                for callback in getattr(estimator, "_skl_callbacks", []):
                    callback.teardown(estimator=estimator, context=context)

    return managed  # type: ignore[return-value]


if TYPE_CHECKING:
    CallbackContext = PlainContext
    CallbackSupportMixin = PlainSupport
    with_callbacks = with_teardown
else:
    try:
        from sklearn.callback import CallbackContext, CallbackSupportMixin, with_callbacks
    except ImportError:
        CallbackContext, CallbackSupportMixin, with_callbacks = PlainContext, PlainSupport, with_teardown
