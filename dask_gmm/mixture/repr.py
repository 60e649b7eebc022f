"""Estimators as text, HTML and a page, without the credentials that the URL of a checkpoint may hold."""

from __future__ import annotations

import copy
import importlib
import os
from collections.abc import Mapping
from typing import Any

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

    def report(
        self,
        url: str | os.PathLike[str],
        X: Any = None,
        *,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        """Write one self-contained HTML page about the fit; it asks no network for anything.

        Parameters
        ----------
        url : str or path
            A local path, or any URL that fsspec can write to. A file that is there is replaced.
        X : optional
            Rows as in `predict`: a picture shows their density, and how sure the mixture is of them. At most
            50 000 are taken, in one pass; samples on a grid are read once more, for a map of all of them.
        storage_options : mapping, optional
            For the fsspec file system.

        Raises
        ------
        ImportError
            matplotlib is not installed; it comes with the extra ``plot``.
        NotFittedError
            There is no fit to tell of (a ValueError).
        """
        # Pictures stand on estimators, and need a library that estimators do not.
        page = importlib.import_module("dask_gmm.plotting.report")
        page.write_report(self, url, X, storage_options=storage_options)


def _public(estimator: BaseEstimator) -> BaseEstimator:
    if not isinstance(estimator.checkpoint, (str, os.PathLike)):
        return estimator
    shown = copy.copy(estimator)
    shown.checkpoint = public_url(os.fspath(estimator.checkpoint))
    return shown
