"""Rows that repeat: a component shrinks onto one value and collapses, unless a prior holds it.

python examples/repeated_rows.py
"""

from __future__ import annotations

import numpy as np

from dask_gmm import BayesianGaussianMixture, CollapsedComponentError, GaussianMixture


def main() -> None:
    """Fit rows of which a fifth is the same reading of a stuck sensor."""
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.normal(size=(4_000, 3)), rng.normal(size=(2_000, 3)) + 5.0])
    rows[::5] = [2.0, 2.0, 2.0]  # the sensor was stuck
    try:
        GaussianMixture(3, reg_covar=0.0, random_state=0).fit(rows)
    except CollapsedComponentError as error:
        print(f"maximum likelihood: {str(error)[:78]} ...")

    gm = GaussianMixture(3, reg_covar=0.0, mean_prior="auto", random_state=0).fit(rows)
    widths = np.sqrt([np.linalg.eigvalsh(covariance)[0] for covariance in gm.covariances_])
    print(
        f"with mclust's prior: smallest deviations {np.sort(widths).round(3)}, weights {gm.weights_.round(2)}"
    )

    bayesian = BayesianGaussianMixture(n_components=10, random_state=0, max_iter=300).fit(rows)
    used = bayesian.weights_ > 0.01
    print(f"Bayesian: {used.sum()} of 10 components are used, weights {bayesian.weights_[used].round(2)}")


if __name__ == "__main__":
    main()
