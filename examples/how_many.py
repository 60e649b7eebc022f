"""How many components, and of which kind? All candidates read the rows in the same passes.

python examples/how_many.py [FILE.png]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import zarr

from dask_gmm import GaussianMixtureIC, from_zarr
from dask_gmm.plotting import SelectionDisplay

matplotlib.use("agg")


def main(folder: Path, picture: Path) -> None:
    """Compare twelve candidates, print the table and draw the criterion."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(3, 4)) * 2.5
    shapes = np.eye(4) + 0.5 * rng.normal(size=(3, 4, 4))
    labels = rng.integers(3, size=60_000)
    rows = centres[labels] + np.einsum("ni,nij->nj", rng.normal(size=(60_000, 4)), shapes[labels])
    zarr.create_array(folder / "rows.zarr", data=rows, chunks=(10_000, 4))

    selection = GaussianMixtureIC(
        range(1, 7), covariance_type=("full", "diag"), accelerate=True, random_state=0
    ).fit(from_zarr(folder / "rows.zarr"))
    table = pd.DataFrame(selection.results_)
    print(table[["n_components", "covariance_type", "bic", "icl", "n_iter"]].round(0).to_string(index=False))
    best = selection.best_estimator_
    print(f"chosen: {best.n_components} components ({best.covariance_type})")
    display = SelectionDisplay.from_estimator(selection)
    display.figure_.savefig(picture)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="dask-gmm-") as temporary:
        place = Path(temporary)
        main(place, Path(sys.argv[1]) if len(sys.argv) > 1 else place / "how_many.png")
