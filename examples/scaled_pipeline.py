"""Scale features of different units in a scikit-learn Pipeline, fit, and find anomalies among new rows."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Self

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.pipeline import make_pipeline

from dask_gmm import GaussianMixture, write_predictions

N_ROWS, CHUNK_ROWS = 200_000, 20_000
UNITS = np.array([1.0, 1e3, 1e-3])  # say metres, grams and volts


class Scaler(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Subtract the means and divide by the deviations: scikit-learn's StandardScaler for dask arrays."""

    def fit(self, X: da.Array, y: None = None) -> Self:
        """Compute both in one pass over the chunks."""
        self.mean_, self.scale_ = dask.compute(X.mean(axis=0), X.std(axis=0))
        return self

    def transform(self, X: da.Array) -> da.Array:
        """Return the scaled array, lazily."""
        return (X - self.mean_) / self.scale_


def make_rows(seed: int, share_of_strays: float) -> da.Array:
    """Return two groups of rows, 30 % in the second, and some rows far from both."""
    rng = da.random.default_rng(seed)
    column, chunks = (N_ROWS, 1), (CHUNK_ROWS, len(UNITS))
    centres = 3.0 * (rng.random(column, chunks=(CHUNK_ROWS, 1)) < 0.3)
    strays = 30.0 * (rng.random(column, chunks=(CHUNK_ROWS, 1)) < share_of_strays)
    return (centres + strays + rng.normal(size=(N_ROWS, len(UNITS)), chunks=chunks)) * UNITS


def main(folder: Path) -> None:
    """Learn what is usual from old rows, and look for what is not among new ones."""
    pipeline = make_pipeline(Scaler(), GaussianMixture(n_components=2, tol=1e-6, random_state=0))
    pipeline.fit(make_rows(seed=0, share_of_strays=0.0))
    scaler, gm = pipeline[0], pipeline[-1]
    for weight, mean in zip(gm.weights_, gm.means_ * scaler.scale_ + scaler.mean_, strict=True):
        print(f"{weight:.1%} of the rows around {(mean / UNITS).round(2)}")

    new = scaler.transform(make_rows(seed=1, share_of_strays=0.001))
    outputs = ["labels", "log_density", "anomaly"]
    written = write_predictions(gm, new, folder / "new.parquet", outputs, threshold=-20.0)
    print(f"{written.n_anomalies} of {written.n_rows} new rows are anomalies")
    frame = dd.read_parquet(folder / "new.parquet")
    print(frame.groupby("anomaly")["log_density"].mean().compute())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="dask-gmm-") as temporary:
        main(Path(temporary))
