"""A catalogue with error bars: find the mixture of the true velocities, and where each star truly is.

Errors widen what is seen. Told how large they are, the fit is of what is there (extreme deconvolution).

    python examples/sky_catalogue.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from dask_gmm import GaussianMixture, read_parquet

TRUE_MEANS = np.array([[0.0, 0.0], [3.0, 1.0]])
TRUE_COVARIANCES = np.array([[[1.0, 0.6], [0.6, 0.5]], [[0.2, 0.0], [0.0, 0.3]]])


def make_catalogue(folder: Path) -> pd.DataFrame:
    """Write stars of two streams with errors of their own into three files; return what is true."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    parts = []
    for number in range(3):
        stream = (rng.random(8_000) < 0.35).astype(int)
        roots = np.linalg.cholesky(TRUE_COVARIANCES)[stream]
        true = TRUE_MEANS[stream] + np.einsum("nij,nj->ni", roots, rng.normal(size=(8_000, 2)))
        errors = rng.gamma(3.0, 0.3, size=true.shape)
        seen = true + errors * rng.normal(size=true.shape)
        seen[rng.random(true.shape) < 0.05] = np.nan
        table = pd.DataFrame(
            np.hstack([seen, errors]), columns=["pm_ra", "pm_dec", "pm_ra_err", "pm_dec_err"]
        )
        table.to_parquet(folder / f"part-{number}.parquet")
        parts.append(pd.DataFrame(true, columns=["pm_ra", "pm_dec"]))
    return pd.concat(parts, ignore_index=True)


def main(folder: Path) -> None:
    """Fit with the errors and without, and compare both with the truth."""
    true = make_catalogue(folder / "stars")
    features = ["pm_ra", "pm_dec"]
    stars = read_parquet(folder / "stars", features, errors=["pm_ra_err", "pm_dec_err"])
    plain = read_parquet(folder / "stars", features, nan="keep")
    fits = {
        "told the errors": GaussianMixture(2, missing="em", random_state=0).fit(stars),
        "errors ignored": GaussianMixture(2, missing="em", random_state=0).fit(plain),
    }
    for name, gm in fits.items():
        order = np.argsort(gm.means_[:, 0])
        widest = np.abs(gm.covariances_[order] - TRUE_COVARIANCES).max()
        print(f"{name:>16}: covariances off by up to {widest:.2f}")

    gm = fits["told the errors"]
    denoised = np.asarray(gm.denoise(stars))
    seen = pd.read_parquet(folder / "stars")[features].to_numpy()
    there = ~np.isnan(seen)
    ratio = np.mean((denoised - true.to_numpy())[there] ** 2) / np.mean((seen - true.to_numpy())[there] ** 2)
    print(f"squared error of denoised velocities, over that of the measured ones: {ratio:.2f}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="dask-gmm-") as temporary:
        main(Path(temporary))
