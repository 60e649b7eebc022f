"""The coordinates of the samples beside their predictions."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dask_gmm.storage.location import Location

if TYPE_CHECKING:
    import xarray as xr


def write_coordinates(location: Location, coordinates: xr.Dataset, attributes: Mapping[str, Any]) -> None:
    """Write coordinates into a Zarr group, by xarray's rules, where they replace those of an earlier call.

    Parameters
    ----------
    location : Location
        The group.
    coordinates : xarray.Dataset
    attributes : mapping
        Those of the group, which xarray would replace.
    """
    if not coordinates.coords:
        return
    # By "coordinates" xarray lists those without a dimension of their own, and it does so anew.
    kept = {name: value for name, value in attributes.items() if name != "coordinates"}
    plain = coordinates.compute().assign_attrs(kept)
    for coordinate in plain.coords.values():
        # Chunks and filters of the store that they came from.
        coordinate.encoding = {}
    with warnings.catch_warnings():
        # Of Zarr, that text has no type in its specification yet.
        warnings.filterwarnings("ignore", category=UserWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)
        plain.to_zarr(
            location.url,
            mode="a",
            storage_options=dict(location.storage_options) or None,
            consolidated=False,
        )
