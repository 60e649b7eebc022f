"""Estimators shown without the credentials that the URL of a checkpoint may hold."""

from __future__ import annotations

import copy
import os

from sklearn.base import BaseEstimator
from sklearn.utils import estimator_html_repr

from dask_gmm.storage.redaction import public_url


class ShownMixin:
    """Text and HTML of an estimator with a parameter `checkpoint`; comes before `BaseEstimator`."""

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:
        text: str = BaseEstimator.__repr__(_public(self), N_CHAR_MAX)
        return text

    def _html_repr(self) -> str:
        html: str = estimator_html_repr(_public(self))
        return html


def _public(estimator: BaseEstimator) -> BaseEstimator:
    if not isinstance(estimator.checkpoint, (str, os.PathLike)):
        return estimator
    shown = copy.copy(estimator)
    shown.checkpoint = public_url(os.fspath(estimator.checkpoint))
    return shown
