"""Find water masses in gridded ocean variables with NaN over land; write their map into the same group."""

from __future__ import annotations

import tempfile
from pathlib import Path

import dask.array as da
import numpy as np
import zarr

from dask_gmm import GaussianMixture, from_zarr

SHAPE, CHUNKS = (12, 20, 90, 180), (1, 20, 45, 90)  # month, depth, latitude, longitude


def write_ocean(path: Path) -> None:
    """Write temperature and salinity of a warm surface over cold deep water, round a continent."""
    rng = np.random.default_rng(0)
    depth = np.linspace(0, 1, SHAPE[1])[:, None, None]
    warm = rng.random(SHAPE) < 1 / (1 + np.exp(20 * (depth - 0.4)))
    group = zarr.create_group(path)
    for name, warm_value, cold_value, deviation in (("temperature", 18, 4, 2), ("salinity", 36, 34.7, 0.2)):
        values = np.where(warm, warm_value, cold_value) + deviation * rng.standard_normal(SHAPE)
        values[:, :, 30:60, 60:120] = np.nan
        group.create_array(name, data=values.astype("f4"), chunks=CHUNKS)


def main(path: Path) -> None:
    """Fit, map, and count the warm water of each depth."""
    write_ocean(path)
    ocean = from_zarr(path, component=["temperature", "salinity"], nan="drop")
    gm = GaussianMixture(n_components=2, random_state=0).fit(ocean)
    for mean, weight in zip(gm.means_, gm.weights_, strict=True):
        named = ", ".join(f"{n} {m:.2f}" for n, m in zip(gm.feature_names_in_, mean, strict=True))
        print(f"{weight:.1%} of the water: {named}")

    # Shape and chunks are those of the variables; land is -1.
    gm.predict(ocean).to_zarr(path, component="water_mass")
    water_mass = da.from_zarr(path, component="water_mass")
    is_warm = water_mass == gm.means_[:, 0].argmax()
    share = (is_warm.sum(axis=(0, 2, 3)) / (water_mass >= 0).sum(axis=(0, 2, 3))).compute()
    print(f"water_mass{water_mass.shape}: warm at the surface {share[0]:.0%}, at the bottom {share[-1]:.0%}")
    print(f"land: {(water_mass == -1).mean().compute():.1%} of the grid")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="dask-gmm-") as temporary:
        main(Path(temporary) / "ocean.zarr")
