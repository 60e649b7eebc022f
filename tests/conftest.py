"""Rows to fit, and what it means for two models to be the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

PARAMETERS = ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_")

MakeRows = Callable[..., NDArray[np.float64]]
SameModel = Callable[..., None]
Distance = Callable[[Any, Any], float]


def _make_rows(
    n_rows: int = 600, n_features: int = 3, n_components: int = 3, *, spread: float = 2.2, seed: int = 0
) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n_rows) % n_components)
    centres = rng.normal(size=(n_components, n_features))
    centres *= spread / np.linalg.norm(centres, axis=1, keepdims=True)
    shapes = np.eye(n_features) + 0.3 * rng.normal(size=(n_components, n_features, n_features))
    noise = rng.normal(size=(n_rows, n_features))
    return centres[labels] + np.einsum("ij,ijk->ik", noise, shapes[labels])


def _distance(actual: Any, expected: Any) -> float:
    actual, expected = np.asarray(actual, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    assert actual.shape == expected.shape
    return float(np.max(np.abs(actual - expected)) / np.max(np.abs(expected)))


def _assert_same_model(actual: Any, expected: Any, rtol: float) -> None:
    for name in PARAMETERS:
        distance = _distance(getattr(actual, name), getattr(expected, name))
        assert distance <= rtol, f"{name} differ by {distance:.2g}"


@pytest.fixture(scope="session")
def make_rows() -> MakeRows:
    """Rows of a mixture, shuffled: ``make_rows(n_rows, n_features, n_components, spread=, seed=)``.

    Centres are `spread` away from zero, deviations are about one.
    """
    return _make_rows


@pytest.fixture(scope="session")
def relative_distance() -> Distance:
    """Largest difference of two arrays over the largest entry of the second."""
    return _distance


@pytest.fixture(scope="session")
def assert_same_model() -> SameModel:
    """Compare all parameters of two fitted estimators: ``assert_same_model(actual, expected, rtol)``."""
    return _assert_same_model


_COLUMNS = ("full", "tied", "diag", "spherical", "means", "bounds")
_ACCURACY = pytest.StashKey[dict[str, dict[str, float]]]()


@pytest.fixture
def note_accuracy(request: pytest.FixtureRequest) -> Callable[[str, str, float], None]:
    """Put an error into the table at the end of the run: ``note_accuracy(case, column, error)``.

    Columns are covariance types (errors of their covariances), means and bounds. Of several errors in one
    place the largest is shown.
    """
    table = request.config.stash.setdefault(_ACCURACY, {})

    def note(case: str, column: str, error: float) -> None:
        line = table.setdefault(case, {})
        line[column] = max(error, line.get(column, 0.0))

    return note


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the table of accuracies."""
    table = config.stash.get(_ACCURACY, {})
    if not table:
        return
    terminalreporter.section("errors against EM in extended precision")
    terminalreporter.line(f"{'':<36}" + "".join(f"{column:>12}" for column in _COLUMNS))
    for case, line in table.items():
        errors = "".join(f"{line.get(column, np.nan):>12.1e}" for column in _COLUMNS)
        terminalreporter.line(f"{case:<36}{errors}")
