"""Fit a lazy dask array on a cluster that is already there: that of the current client is used.

``python examples/dask_array_on_cluster.py [SCHEDULER-ADDRESS]`` starts a small one if you give no address.
"""

from __future__ import annotations

import sys

import dask.array as da
import numpy as np
from distributed import Client

from dask_gmm import GaussianMixture


def main() -> None:
    """Fit rows that are computed on the workers when they are needed."""
    rng = da.random.default_rng(0)
    centres = rng.choice(np.array([-4.0, 0.0, 4.0]), p=np.array([0.5, 0.3, 0.2]), size=(1_000_000, 1))
    x = centres + rng.standard_normal((1_000_000, 6), chunks=(100_000, 6))
    x = (x - x.mean(axis=0)) / x.std(axis=0)  # any lazy graph will do

    # In the workers' memory, if they have the room; a graph that is not persisted runs in every pass.
    x = x.persist()
    gm = GaussianMixture(n_components=3, covariance_type="tied", random_state=0).fit(x)
    print("weights:", gm.weights_.round(3))
    print("means of the first feature:", gm.means_[:, 0].round(2))

    # Answers to a dask array are dask arrays with its chunks: nothing has been computed yet.
    labels, log_density = gm.predict(x), gm.score_samples(x)
    sizes, rarest = da.compute(da.bincount(labels, minlength=3), log_density.min())
    print("rows of each component:", sizes)
    print(f"log density of the most unusual row: {rarest:.1f}")


if __name__ == "__main__":
    with Client(sys.argv[1]) if len(sys.argv) > 1 else Client(n_workers=2, threads_per_worker=1):
        main()
