"""Is the truth found in rows with holes and with errors: ``python tests/benchmarks/truth.py``.

Rows are drawn from a known mixture, then values go missing at random (the more often, the larger the first
feature is, which is always there), or errors of known size are added. Each way to fit starts from the truth,
so that no optimum is missed, and what it finds is compared with the truth over several draws:

- error: the largest difference from the truth, of a mean in deviations of its component, of a covariance over
  the largest variance of its component; the median over the draws.
- bias: the mean difference of a parameter over its standard error, root mean square over all parameters. It
  is about 1 for estimates that are right but for chance, whatever the number of rows.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tables import heading, line

from dask_gmm import GaussianMixture

Array = NDArray[np.float64]

WEIGHTS = np.array([0.5, 0.3, 0.2])
MEANS = np.array([[0.0, 0.0, 0.0], [5.0, 3.0, 0.0], [1.0, 5.0, 4.0]])
ROOTS = np.array(
    [
        [[1.0, 0.0, 0.0], [0.7, 0.7, 0.0], [0.3, -0.3, 0.9]],
        [[0.9, 0.0, 0.0], [-0.5, 0.8, 0.0], [0.0, 0.5, 0.8]],
        [[1.1, 0.0, 0.0], [0.4, 0.9, 0.0], [-0.6, 0.0, 0.7]],
    ]
)
COVARIANCES = ROOTS @ ROOTS.transpose(0, 2, 1)
SHARES, DEVIATIONS = (0.1, 0.3, 0.5), (0.3, 1.0, 3.0)


def drawn(rng: np.random.Generator, n: int) -> Array:
    """Return rows of the mixture."""
    labels = rng.choice(len(WEIGHTS), size=n, p=WEIGHTS)
    rows: Array = MEANS[labels] + np.einsum("nij,nj->ni", ROOTS[labels], rng.normal(size=(n, 3)))
    return rows


def with_holes(rng: np.random.Generator, rows: Array, share: float) -> Array:
    """Let a share of all values go missing at random, given the first feature, which stays."""
    rank = (rows[:, 0].argsort().argsort() + 0.5) / len(rows)
    # Its mean over the rows is what two features of three have to miss.
    chance = rank ** (1.0 / (1.5 * share) - 1.0)
    gone = rng.random((len(rows), 2)) < chance[:, np.newaxis]
    return np.column_stack([rows[:, 0], np.where(gone, np.nan, rows[:, 1:])])


def fitted(rows: Array, X_err: Array | None = None, **settings: Any) -> Array:
    """Return the parameters that a fit from the truth ends with."""
    gm = GaussianMixture(
        3,
        weights_init=WEIGHTS,
        means_init=MEANS,
        precisions_init=np.linalg.inv(COVARIANCES),
        tol=1e-8,
        max_iter=2000,
        accelerate=True,
        **settings,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gm.fit(rows, X_err=X_err)
    return np.concatenate([gm.weights_, gm.means_.ravel(), gm.covariances_.ravel()])


TRUTH = np.concatenate([WEIGHTS, MEANS.ravel(), COVARIANCES.ravel()])

Ways = Mapping[str, Callable[[Array, Any], Array]]

OF_HOLES: Ways = {
    '`missing="em"`': lambda rows, _: fitted(rows, missing="em"),
    "dropping rows": lambda rows, _: fitted(rows, nan="drop"),
    "filling in means": lambda rows, _: fitted(np.where(np.isnan(rows), np.nanmean(rows, axis=0), rows)),
}
OF_ERRORS: Ways = {
    "`X_err`": lambda rows, errors: fitted(rows, errors),
    "ignoring errors": lambda rows, _: fitted(rows),
}


def spoiled(seed: int, n: int, share: float | None, deviation: float | None) -> tuple[Array, Array | None]:
    """Return rows with holes, or with errors and these."""
    rng = np.random.default_rng(seed)
    rows = drawn(rng, n)
    if share is not None:
        return with_holes(rng, rows, share), None
    assert deviation is not None
    errors = deviation * rng.uniform(0.5, 1.5, size=rows.shape)
    return rows + errors * rng.normal(size=rows.shape), errors


def compared(
    ways: Ways, n: int, seeds: int, share: float | None = None, deviation: float | None = None
) -> dict[str, tuple[float, float]]:
    """Return the error and the bias of each way to fit."""
    found: dict[str, list[Array]] = {name: [] for name in ways}
    for seed in range(seeds):
        rows, errors = spoiled(seed, n, share, deviation)
        for name, way in ways.items():
            found[name].append(way(rows, errors))
    scales = np.sqrt(np.diagonal(COVARIANCES, axis1=1, axis2=2))
    largest = np.repeat(scales.max(axis=1) ** 2, 9)
    units = np.concatenate([np.ones(3), scales.ravel(), largest])
    result = {}
    for name, fits in found.items():
        away = (np.array(fits) - TRUTH) / units
        error = float(np.median(np.abs(away).max(axis=1)))
        spread = away.std(axis=0, ddof=1) / np.sqrt(seeds)
        result[name] = error, float(np.sqrt(np.mean((away.mean(axis=0) / spread) ** 2)))
    return result


def main() -> None:
    """Print the table of README.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, default=20)
    given = parser.parse_args()
    heading("values", "fitted by", "error", "bias")
    for share in SHARES:
        # What is filled in by constants may have no variance at all: then its bias is without bound.
        for name, (error, bias) in compared(OF_HOLES, given.rows, given.seeds, share=share).items():
            line(f"{share:.0%} missing", name, f"{error:.2f}", f"{min(bias, 999.0):.1f}")
    for deviation in DEVIATIONS:
        for name, (error, bias) in compared(OF_ERRORS, given.rows, given.seeds, deviation=deviation).items():
            line(f"errors of {deviation:g} deviations", name, f"{error:.2f}", f"{min(bias, 999.0):.1f}")


if __name__ == "__main__":
    main()
