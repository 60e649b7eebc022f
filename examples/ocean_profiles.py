"""Classify ocean profiles: temperature and salinity at every depth are features, shallow places are left out.

Whole profiles are compared, so those that end above the deepest level are dropped and labelled -1.

    python examples/ocean_profiles.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import xarray as xr

from dask_gmm import GaussianMixture, from_xarray, write_predictions


def make_ocean() -> xr.Dataset:
    """Return profiles on a grid: warm and salty near the equator, cold and fresh near the poles."""
    rng = np.random.default_rng(0)
    latitude, longitude = np.linspace(-75, 75, 61), np.arange(0, 360, 3.0)
    depth = np.array([0.0, 50.0, 200.0, 1000.0])
    grid = (latitude.size, longitude.size, depth.size)
    warm = (np.abs(latitude) < 30)[:, None, None]
    decay = np.exp(-depth / 300)
    temperature = 2 + np.where(warm, 24, 8) * decay + rng.normal(0, 0.5, grid)
    salinity = 34.6 + np.where(warm, 1.2, -0.6) * decay + rng.normal(0, 0.1, grid)
    floor = rng.choice([100.0, 5000.0], size=grid[:2], p=[0.2, 0.8])  # in metres
    dims = ("latitude", "longitude", "depth")
    ocean = xr.Dataset(
        {"temperature": (dims, temperature), "salinity": (dims, salinity), "floor": (dims[:2], floor)},
        coords={"latitude": latitude, "longitude": longitude, "depth": depth},
    )
    return ocean.where(ocean.depth < ocean.floor).drop_vars("floor")


def main(folder: Path) -> None:
    """Fit the classes, map them, and tell what each is like."""
    make_ocean().chunk(latitude=20, longitude=60).to_zarr(folder / "ocean.zarr", consolidated=False)
    ocean = xr.open_zarr(folder / "ocean.zarr", consolidated=False)

    profiles = from_xarray(ocean[["temperature", "salinity"]], feature_dim="depth", nan="drop")
    print(profiles.head(2).round(1).to_string())
    gm = GaussianMixture(n_components=2, random_state=0).fit(profiles)

    # `predict` makes the same profiles of a Dataset: which dimension has the features is remembered.
    classes = gm.predict(ocean[["temperature", "salinity"]]).compute()  # -1 is too shallow
    warm = int(gm.means_[:, 0].argmax())
    tropics = classes.sel(latitude=slice(-25, 25))
    share = (tropics == warm).sum() / (tropics >= 0).sum()
    shallow = (classes < 0).mean().item()
    print(f"{share.item():.0%} of the profiles in the tropics are warm, {shallow:.0%} of all are too shallow")

    table = gm.summarize(profiles).to_frame()
    print(table.loc[warm, ["n_rows", "mean", "q0.05", "q0.5", "q0.95"]].round(2).to_string())

    write_predictions(gm, profiles, folder / "classes.zarr", ["labels", "log_density"])
    written = xr.open_zarr(folder / "classes.zarr", consolidated=False)
    print(written["labels"].sel(latitude=0.0, longitude=slice(0, 15)).values)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="dask-gmm-") as temporary:
        main(Path(temporary))
