"""A fit as one page: what was fitted and how, its components, its pictures, and what to do."""

from __future__ import annotations

import html
import io
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import sklearn
from sklearn.utils.validation import check_is_fitted

import dask_gmm
from dask_gmm.plotting.canvas import Array, deviations_and_correlations, matrices_of, names_of
from dask_gmm.plotting.convergence_display import ConvergenceDisplay
from dask_gmm.plotting.correlations import CovarianceDisplay
from dask_gmm.plotting.ellipses import MixtureDisplay
from dask_gmm.plotting.entropies import MOST_ROWS, ResponsibilityDisplay
from dask_gmm.plotting.page import STYLE, TABLE_SCRIPT
from dask_gmm.plotting.sampled_rows import row_sample
from dask_gmm.storage.atomic import write_atomically
from dask_gmm.storage.location import Location

# Components, and features, of which there is a picture of correlations.
_MOST_PICTURED, _MOST_FEATURES = 16, 40
# Features whose means stand in the table; more are in the model.
_MOST_COLUMNS = 8
_FEW_ROWS = 0.001


def write_report(
    estimator: Any,
    url: str | os.PathLike[str],
    X: Any = None,
    *,
    storage_options: Mapping[str, Any] | None = None,
) -> None:
    """Write one self-contained HTML page about a fitted mixture; it asks no network for anything.

    Parameters
    ----------
    estimator : GaussianMixture
        Fitted.
    url : str or path
        A local path, or any URL that fsspec can write to. A file that is there is replaced.
    X : optional
        Rows as in ``predict``: a picture shows their density, and how sure the mixture is of them. At most
        50 000 are taken, in one pass; samples on a grid are read once more, for a map of all of them.
    storage_options : mapping, optional
        For the fsspec file system.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    check_is_fitted(estimator)
    write_atomically(Location.of(url, storage_options), report_page(estimator, X).encode())


def report_page(estimator: Any, X: Any = None) -> str:
    """Return the page as text."""
    matrices = matrices_of(estimator)
    title = f"Gaussian mixture of {len(estimator.weights_)} components"
    sections = [
        _section("What was fitted", _facts(_summary(estimator))),
        _section("What to look at", _list(_advice(estimator, matrices))),
        _section("Components", _components(estimator, matrices)),
        _section("Pictures", "".join(_pictures(estimator, X))),
        _section("Parameters", _facts(_parameters(estimator))),
        _section("Versions", _facts(_versions())),
    ]
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head>\n<body><main><h1>{title}</h1>{''.join(sections)}</main>"
        f"<script>{TABLE_SCRIPT}</script></body></html>\n"
    )


def _summary(estimator: Any) -> dict[str, str]:
    history = getattr(estimator, "history_", None)
    told = {
        "components": str(len(estimator.weights_)),
        "covariance type": str(estimator.covariance_type_),
        "features": str(estimator.n_features_in_),
        "converged": "yes" if estimator.converged_ else "no",
        "iterations": str(estimator.n_iter_),
        "lower bound": f"{float(np.ravel(estimator.lower_bound_)[0]):.6g} nats per row",
    }
    if hasattr(estimator, "threshold_"):
        told["anomalies below"] = f"{estimator.threshold_:.6g} nats"
    if history is not None:
        told["passes over the data"] = f"{len(history.passes)} in {history.seconds:.3g} s"
        if history.n_bytes is not None:
            told["bytes read"] = f"{history.n_bytes:,}"
        told["restarts"] = str(len(history.restarts))
        told["left to gain"] = f"about {history.remaining:.2g} nats per row"
    return told


def _advice(estimator: Any, matrices: Array) -> list[str]:
    """Return what is worth a look, each with what to do about it."""
    told = []
    if not estimator.converged_:
        told.append("The fit did not converge: raise max_iter, or tol where less is enough.")
    rare = np.flatnonzero(np.asarray(estimator.weights_) < _FEW_ROWS)
    if len(rare):
        told.append(
            f"Components {', '.join(map(str, rare[:10]))} have less than {_FEW_ROWS:.1%} of the rows each: "
            "fewer components may do, or they are anomalies."
        )
    deviations = np.sqrt(np.diagonal(matrices, axis1=1, axis2=2))
    floor = np.sqrt(getattr(estimator, "reg_covar", 0.0))
    narrow = np.flatnonzero((deviations <= 1.5 * floor).any(axis=1))
    if floor > 0 and len(narrow):
        told.append(
            f"Components {', '.join(map(str, narrow[:10]))} are about as narrow as reg_covar lets them be: "
            "repeated or discrete values? Then set priors, for example mean_prior='auto'."
        )
    return told or ["Nothing: the fit converged, and no component is nearly empty or degenerate."]


def _components(estimator: Any, matrices: Array) -> str:
    names = names_of(estimator)
    shown = list(range(min(len(names), _MOST_COLUMNS)))
    deviations, correlations = deviations_and_correlations(matrices)
    heads = ["component", "weight", *(f"{names[j]} (mean ± deviation)" for j in shown), "largest correlation"]
    lines = []
    for k in np.argsort(-np.asarray(estimator.weights_), kind="stable"):
        cells = [
            f"<td data-value='{estimator.means_[k][j]:.9g}'>"
            f"{estimator.means_[k][j]:.4g} ± {deviations[k, j]:.3g}</td>"
            for j in shown
        ]
        lines.append(
            f"<tr><th scope='row' data-value='{k}'>{k}</th>"
            f"<td data-value='{estimator.weights_[k]:.9g}'>{estimator.weights_[k]:.2%}</td>"
            f"{''.join(cells)}{_largest(correlations[k], names)}</tr>"
        )
    head = "".join(f"<th scope='col'><button>{html.escape(name)}</button></th>" for name in heads)
    more = f"<p>The first {len(shown)} of {len(names)} features.</p>" if len(shown) < len(names) else ""
    return (
        f"<div class='wide' tabindex='0' role='region' aria-label='Table of components'>"
        f"<table id='components'><caption>By descending weight; click on a head to sort.</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>{more}"
    )


def _largest(correlation: Any, names: Sequence[str]) -> str:
    apart = np.abs(correlation - np.diag(np.diag(correlation)))
    if len(names) < 2:
        return "<td data-value='0'>–</td>"
    i, j = map(int, np.unravel_index(int(apart.argmax()), apart.shape))
    value = correlation[i, j]
    return f"<td data-value='{abs(value):.9g}'>{html.escape(f'{names[i]}, {names[j]}')}: {value:+.2f}</td>"


def _pictures(estimator: Any, X: Any) -> Iterator[str]:
    names = names_of(estimator)
    sample = None if X is None else row_sample(estimator, X, MOST_ROWS)
    if len(names) > 1:
        display: Any = MixtureDisplay.from_estimator(estimator, X, sample=sample)
        told = (
            f"Ellipses of one and two standard deviations of each component, over {names[0]} and {names[1]}"
        )
        yield _figure(display.figure_, told)
    if hasattr(estimator, "history_") and estimator.history_.restarts[estimator.history_.best]:
        yield _figure(
            ConvergenceDisplay.from_estimator(estimator).figure_, "The bound, and gains, by iteration"
        )
    if 1 < len(names) <= _MOST_FEATURES:
        largest = np.argsort(-np.asarray(estimator.weights_), kind="stable")[:_MOST_PICTURED]
        display = CovarianceDisplay.from_estimator(estimator, sorted(map(int, largest)))
        yield _figure(display.figure_, "Correlations between the features of each component")
    if X is not None and len(estimator.weights_) > 1:
        display = ResponsibilityDisplay.from_estimator(estimator, X, sample=sample)
        yield _figure(display.figure_, "How sure the mixture is of the component of each row")


def _figure(figure: Any, caption: str) -> str:
    from matplotlib import pyplot

    file = io.StringIO()
    # Without a date the same fit gives the same page.
    figure.savefig(file, format="svg", metadata={"Date": None})
    pyplot.close(figure)
    drawing = file.getvalue()
    drawing = drawing[drawing.index("<svg") :].replace(
        "<svg", f'<svg role="img" aria-label="{html.escape(caption)}"', 1
    )
    return f"<figure>{drawing}<figcaption>{html.escape(caption)}.</figcaption></figure>"


def _parameters(estimator: Any) -> dict[str, str]:
    return {
        name: repr(value) for name, value in estimator.get_params(deep=False).items() if name != "checkpoint"
    }


def _versions() -> dict[str, str]:
    return {
        "dask_gmm": dask_gmm.__version__,
        "scikit-learn": sklearn.__version__,
        "NumPy": np.__version__,
        "Python": platform.python_version(),
    }


def _section(title: str, content: str) -> str:
    return f"<section><h2>{title}</h2>{content}</section>\n"


def _facts(told: Mapping[str, str]) -> str:
    lines = (f"<dt>{html.escape(name)}</dt><dd>{html.escape(text)}</dd>" for name, text in told.items())
    return f"<dl>{''.join(lines)}</dl>"


def _list(items: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{html.escape(item)}</li>' for item in items)}</ul>"
