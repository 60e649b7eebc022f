"""The picture of the README: a mixture that was fitted chunk by chunk, over the density of its rows.

python examples/front_page.py [FILE.svg]
"""

from __future__ import annotations

import sys
from pathlib import Path

import dask.array as da
import matplotlib
import numpy as np
from numpy.typing import NDArray

from dask_gmm import GaussianMixture
from dask_gmm.plotting import MixtureDisplay

matplotlib.use("svg")
import matplotlib.pyplot as plt

CENTRES = np.array([[0.0, 0.0], [4.5, 1.0], [1.5, 4.0], [6.0, 5.0]])
ROOTS = np.array(
    [[[1, 0.6], [0, 0.5]], [[0.5, 0], [0.4, 1.1]], [[1.2, -0.5], [0, 0.4]], [[0.6, 0], [0, 0.6]]]
)


def rows(numbers: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the rows of one chunk, which nobody ever holds all together."""
    rng = np.random.default_rng(int(numbers[0, 0]))
    labels = rng.choice(4, size=20_000, p=[0.4, 0.25, 0.25, 0.1])
    drawn: NDArray[np.float64] = np.einsum("ij,ijk->ik", rng.normal(size=(20_000, 2)), ROOTS[labels])
    return CENTRES[labels] + drawn


def main(target: Path) -> None:
    """Fit a million rows in fifty chunks, and draw them."""
    chunks = da.arange(50, chunks=1)[:, np.newaxis]
    X = da.map_blocks(rows, chunks, chunks=((20_000,) * 50, (2,)), meta=np.empty((0, 2)))
    gm = GaussianMixture(4, random_state=0, init_params="sample").fit(X)
    figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    MixtureDisplay.from_estimator(gm, X, ax=axes)
    axes.set_title("1 000 000 rows in 50 chunks, four components")
    # Without a date, so that the same rows make the same file.
    matplotlib.rcParams["svg.hashsalt"] = "dask_gmm"
    figure.savefig(target, metadata={"Date": None})


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".svg"))
