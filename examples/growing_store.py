"""A store that grows: each day's rows are added to the model, and the old ones are never read again.

python examples/growing_store.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import zarr
from numpy.typing import NDArray

from dask_gmm import GaussianMixture, from_zarr


def day(number: int) -> NDArray[np.float64]:
    """Return the rows of a day; from the twentieth on one of three groups moves."""
    rng = np.random.default_rng(number)
    centres = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
    centres[2] += 0.05 * max(0, number - 20)
    return centres[rng.integers(3, size=3_000)] + rng.normal(size=(3_000, 2))


def main(folder: Path) -> None:
    """Fit ten days, add twenty more one by one, and compare with a fit of all."""
    first = zarr.create_array(
        folder / "first.zarr", data=np.concatenate([day(number) for number in range(10)]), chunks=(3_000, 2)
    )
    gm = GaussianMixture(3, random_state=0, tol=1e-6).fit(from_zarr(first))
    gm.save(folder / "model.gmm")

    for number in range(10, 30):
        new = zarr.create_array(folder / f"day{number}.zarr", data=day(number), chunks=(3_000, 2))
        gm = GaussianMixture.load(folder / "model.gmm").update(from_zarr(new))
        gm.save(folder / "model.gmm")
        if number in (12, 29):
            print(f"day {number}: a new row is {gm.update_.drift:+.3f} nats likelier than an old one")

    everything = np.concatenate([day(number) for number in range(30)])
    whole = GaussianMixture(3, random_state=0, tol=1e-6).fit(everything)
    print(f"a fit of all 30 days is {whole.score(everything) - gm.score(everything):.1e} nats a row better")

    stream = GaussianMixture(3, random_state=0)
    for number in range(30):
        stream.partial_fit(day(number))  # nothing is stored
    print(f"a stream in batches: {whole.score(everything) - stream.score(everything):.1e} nats a row short")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="dask-gmm-") as temporary:
        main(Path(temporary))
