"""From the same start, the numbers of engines that share no code with us: oneDAL and R's mclust."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dask_gmm import GaussianMixture

N_ITER = 5
# mclust's names for our covariance types, and how it takes each one's start and gives its result.
MCLUST = {
    "full": (
        "VVV",
        "cholsigma = array(apply(array(start, c(d, d, K)), 3, chol), c(d, d, K))",
        "variance$sigma",
    ),
    "tied": ("EEE", "cholSigma = chol(matrix(start, d, d))", "variance$Sigma"),
    "diag": (
        "VVI",
        "scale = exp(colMeans(log(start))), shape = t(t(start) / exp(colMeans(log(start))))",
        "apply(variance$sigma, 3, diag)",
    ),
    "spherical": ("VII", "sigmasq = start", "variance$sigmasq"),
}

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def start_and_end(rows: Any, covariance_type: str) -> tuple[Any, Any]:
    """Return a rough fit, and what comes N_ITER iterations after it."""
    start = GaussianMixture(3, covariance_type=covariance_type, max_iter=1, random_state=0).fit(rows)
    end = GaussianMixture(
        3,
        covariance_type=covariance_type,
        reg_covar=0.0,
        tol=0.0,
        max_iter=N_ITER,
        weights_init=start.weights_,
        means_init=start.means_,
        precisions_init=start.precisions_,
    ).fit(rows)
    return start, end


@pytest.mark.parametrize(("covariance_type", "storage"), [("full", "full"), ("diag", "diagonal")])
def test_onedal(make_rows, relative_distance, covariance_type, storage):
    daal4py = pytest.importorskip("daal4py", reason="needs scikit-learn-intelex")
    rows = make_rows(2000)
    start, end = start_and_end(rows, covariance_type)
    covariances = [np.atleast_2d(covariance).copy() for covariance in start.covariances_]
    theirs = daal4py.em_gmm(
        nComponents=3,
        maxIterations=N_ITER,
        accuracyThreshold=0.0,
        regularizationFactor=0.0,
        covarianceStorage=storage,
    ).compute(rows, start.weights_[np.newaxis], start.means_, covariances)
    # It stops by itself once the likelihood stands still.
    assert theirs.nIterations.item() == N_ITER
    assert relative_distance(end.weights_, theirs.weights[0]) <= 1e-12
    assert relative_distance(end.means_, theirs.means) <= 1e-12
    assert relative_distance(end.covariances_, [np.squeeze(c) for c in theirs.covariances]) <= 1e-12
    assert end.lower_bound_ * len(rows) == pytest.approx(theirs.goalFunction.item(), rel=1e-12)


@pytest.mark.parametrize("covariance_type", MCLUST)
def test_mclust(make_rows, relative_distance, covariance_type, tmp_path):
    if not _has_mclust():
        pytest.skip("needs R with the package mclust")
    rows = make_rows(2000)
    start, end = start_and_end(rows, covariance_type)
    theirs = _run_mclust(rows, start, covariance_type, tmp_path)
    assert relative_distance(end.weights_, theirs["weights"]) <= 1e-12
    assert relative_distance(end.means_, theirs["means"].reshape(3, 3)) <= 1e-12
    assert relative_distance(end.covariances_.ravel(), theirs["covariances"]) <= 1e-12
    assert end.score(rows) * len(rows) == pytest.approx(theirs["log_likelihood"].item(), rel=1e-12)


@cache
def _has_mclust() -> bool:
    if shutil.which("Rscript") is None:
        return False
    return subprocess.run(["Rscript", "-e", "library(mclust)"], capture_output=True).returncode == 0


def _run_mclust(rows: Any, start: Any, covariance_type: str, folder: Path) -> dict[str, Any]:
    model, given, result = MCLUST[covariance_type]
    # R's arrays are column-major: what it reads and writes in order is our array with the axes reversed.
    values = {"rows": rows.T, "weights": start.weights_, "means": start.means_, "start": start.covariances_}
    for name, array in values.items():
        np.savetxt(folder / name, np.ravel(array), fmt="%.17g")
    shape = "start <- matrix(start, d, K)" if covariance_type == "diag" else ""
    script = f"""
    suppressMessages(library(mclust))
    setwd("{folder}")
    d <- 3; K <- 3
    rows <- matrix(scan("rows", quiet = TRUE), ncol = d)
    start <- scan("start", quiet = TRUE); {shape}
    variance <- list(modelName = "{model}", d = d, G = K, {given})
    parameters <- list(pro = scan("weights", quiet = TRUE), mean = matrix(scan("means", quiet = TRUE), d, K),
                       variance = variance)
    fit <- em(rows, modelName = "{model}", parameters = parameters,
              control = emControl(tol = c(0, 0), itmax = c({N_ITER}, {N_ITER})))
    variance <- fit$parameters$variance
    put <- function(x, name) writeLines(sprintf("%.17g", as.vector(x)), name)
    put(fit$parameters$pro, "weights"); put(fit$parameters$mean, "means")
    put({result}, "covariances"); put(fit$loglik, "log_likelihood")
    """
    subprocess.run(["Rscript", "-e", script], check=True, timeout=60)
    return {name: np.loadtxt(folder / name) for name in ("weights", "means", "covariances", "log_likelihood")}
