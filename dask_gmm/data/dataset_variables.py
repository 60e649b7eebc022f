"""Which variables of a Dataset can be features: numbers over the dimensions of the samples.

Files hold other variables beside these: cell bounds, grid mappings, dates, names of stations. To take one
for a feature, or to repeat the samples along its dimensions, would give wrong numbers without a word.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import xarray as xr

# Attributes by which a variable names another that describes it; CF conventions 1.11, appendix A.
_DESCRIBED_BY = {
    "bounds": "cell bounds",
    "climatology": "climatological bounds",
    "grid_mapping": "a grid mapping",
}
# Cells have two to four corners, and their dimension has no coordinates, ...
_MOST_CORNERS = 4
# ... but often one of these names.
_CORNERS = {
    "bnds",
    "nbnds",
    "nbnd",
    "bounds",
    "nv",
    "nvertex",
    "vertex",
    "vertices",
    "corners",
    "axis_nbounds",
}
_KINDS = {"M": "dates", "m": "time spans", "U": "text", "S": "text", "c": "complex numbers"}


def check_variables(dataset: xr.Dataset) -> None:
    """Refuse a Dataset with variables that cannot be features.

    A variable may lack some of the samples' dimensions; it is repeated along them.

    Raises
    ------
    TypeError
        A variable does not consist of real numbers. This and `ValueError` name all that cannot be features.
    ValueError
        A scalar, a variable that describes others, or one with a dimension of its own.
    """
    if not dataset.data_vars:
        raise ValueError("The Dataset has no variables.")
    others = {name: what for name, array in dataset.data_vars.items() if (what := _other_kind(array))}
    # What is left may be features. Dimensions are told apart only among them.
    wrong_kind = bool(others)
    described = _descriptions(dataset)
    for name, array in dataset.data_vars.items():
        if name not in others and (what := described.get(name) or ("" if array.ndim else "a scalar")):
            others[name] = what
    left = {name: array for name, array in dataset.data_vars.items() if name not in others}
    others |= _with_own_dimensions(left)
    if not others:
        return
    if not left and not wrong_kind:
        raise ValueError(f"The variables of the Dataset have no dimension of samples: {_listed(others)}.")
    raise (TypeError if wrong_kind else ValueError)(_message(dataset, others))


def _other_kind(array: xr.DataArray) -> str | None:
    """Return what a variable consists of, None for real numbers."""
    kind = getattr(array.dtype, "kind", "O")
    if kind == "O" and array.chunks is None:
        try:
            np.asarray(array.values, dtype=np.float64)
        except (TypeError, ValueError):
            return "text or other objects"
    return _KINDS.get(kind)


def _descriptions(dataset: xr.Dataset) -> dict[Hashable, str]:
    """Return what the variables that others name in their attributes are."""
    found: dict[Hashable, str] = {}
    for name, variable in dataset.variables.items():
        for attribute, what in _DESCRIBED_BY.items():
            # Where xarray decoded a file, they have become encoding.
            value = variable.attrs.get(attribute, variable.encoding.get(attribute))
            if isinstance(value, str):
                # A grid mapping may be given as "crs: x y".
                found |= {word.rstrip(":"): f"{what} of {name!r}" for word in value.split()[:1]}
    return found


def _with_own_dimensions(arrays: Mapping[Hashable, xr.DataArray]) -> dict[Hashable, str]:
    """Return the variables with dimensions that the samples do not have."""
    samples = _sample_dimensions(list(arrays.values()))
    return {
        name: f"has the dimension {', '.join(repr(d) for d in array.dims if d not in samples)} of its own"
        for name, array in arrays.items()
        if not samples.issuperset(array.dims)
    }


def _sample_dimensions(arrays: Sequence[xr.DataArray]) -> frozenset[Hashable]:
    dims = [frozenset(array.dims) for array in arrays]
    corners = {
        dim
        for array in arrays
        for dim in array.dims
        if _is_of_corners(dim, array, sum(dim in one for one in dims) / len(dims))
    }
    without = [one for one in dims if not one & corners] or dims
    widest = max(without, key=len, default=frozenset[Hashable]())
    if all(one <= widest for one in without):
        return widest
    # Those that most variables have.
    return max(without, key=lambda one: (dims.count(one), len(one)))


def _is_of_corners(dim: Hashable, array: xr.DataArray, share: float) -> bool:
    """Tell whether a dimension is that of the corners of cells, given the share of variables that have it."""
    if dim in array.coords or share == 1:
        return False
    return dim in _CORNERS or (array.sizes[dim] <= _MOST_CORNERS and share <= 0.5)


def _message(dataset: xr.Dataset, others: Mapping[Hashable, str]) -> str:
    names = [name for name in dataset.data_vars if name not in others]
    select = f"Select the features, for example X[{names}]" if names else "Give other variables"
    return (
        "The variables of a Dataset are the features: real numbers over the dimensions of the samples. These "
        f"cannot be: {_listed(others)}. {select}, or make coordinates of the others: "
        f"X.set_coords({list(others)}). xarray.broadcast repeats samples along others on purpose."
    )


def _listed(others: Mapping[Hashable, str]) -> str:
    return "; ".join(f"{name!r}: {what}" for name, what in others.items())
