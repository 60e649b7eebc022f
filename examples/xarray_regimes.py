"""Find weather regimes in an xarray Dataset; labels and probabilities keep its coordinates."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from dask_gmm import GaussianMixture, from_xarray, write_predictions

N_DAYS, N_PLACES = 730, (30, 40)


def make_weather() -> xr.Dataset:
    """Return two years of gridded pressure and temperature: blocked and westerly days; none over the sea."""
    rng = np.random.default_rng(0)
    blocked = rng.random((N_DAYS, 1, 1)) < 0.3
    shape = (N_DAYS, *N_PLACES)
    pressure = np.where(blocked, 1035.0, 1010.0) + 5.0 * rng.standard_normal(shape)
    temperature = np.where(blocked, -4.0, 9.0) + 3.0 * rng.standard_normal(shape)
    coordinates = {
        "time": pd.date_range("2024-01-01", periods=N_DAYS),
        "lat": np.linspace(45.0, 60.0, N_PLACES[0]),
        "lon": np.linspace(-10.0, 20.0, N_PLACES[1]),
    }
    dims = tuple(coordinates)
    weather = xr.Dataset(
        {"pressure": (dims, pressure), "temperature": (dims, temperature)}, coords=coordinates
    )
    return weather.where(weather.lon > -5.0)


def main(folder: Path) -> None:
    """Fit, and look at the regimes by month and place."""
    make_weather().chunk(time=73).to_zarr(folder / "weather.zarr", consolidated=False)
    weather = xr.open_zarr(folder / "weather.zarr", consolidated=False)

    # In this order: a store may list its variables in any.
    rows = from_xarray(weather[["pressure", "temperature"]], nan="drop")
    gm = GaussianMixture(n_components=2, random_state=0).fit(rows)
    for mean, weight in zip(gm.means_, gm.weights_, strict=True):
        named = ", ".join(f"{n} {m:.1f}" for n, m in zip(gm.feature_names_in_, mean, strict=True))
        print(f"{weight:.0%} of the days and places: {named}")

    regime = gm.predict(rows)  # a lazy DataArray; -1 over the sea
    winter = regime.sel(time="2025-01", lat=slice(50, 55)).compute()
    share = (winter == gm.means_[:, 0].argmax()).where(winter >= 0).mean().item()
    print(f"January 2025, 50 to 55 degrees north: {share:.0%} blocked")
    certain = gm.predict_proba(rows).max("component").mean("time").compute()
    print(f"probability of the likelier regime, on average: {certain.mean().item():.3f}")

    write_predictions(gm, rows, folder / "regimes.zarr", ["labels", "log_density"])
    written = xr.open_zarr(folder / "regimes.zarr", consolidated=False)
    print(f"{', '.join(written.data_vars)} by {', '.join(written.sizes)}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="dask-gmm-") as temporary:
        main(Path(temporary))
