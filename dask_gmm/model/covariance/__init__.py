"""Covariance types: everything that depends on the structure of a component's covariance lives here.

Shapes, for K components of d features:

========= ================== ============ ==========================================================
type      covariances        free numbers second moments (`Statistics.second`)
========= ================== ============ ==========================================================
full      (K, d, d)          K d(d+1)/2   (K, d(d+1)/2): packed upper triangle of sum r v v^T
tied      (d, d)             d(d+1)/2     (d(d+1)/2,): the same, summed over components
diag      (K, d)             K d          (K, d): sum r v^2
spherical (K,)               K            (K,): sum r |v|^2
========= ================== ============ ==========================================================

with v = x - origin of the component and r the responsibility times the sample weight. "Packed" is
explained in `dask_gmm.model.covariance.triangles`.

`covariance.Covariance` says what a type has to say; `two_kernels.QuadraticOrCentred` is a base for those that
the two compiled kernels evaluate; each type has a file of its own. Nobody else compares a type's name or
lists the names: the table of this module is the one place that knows them. Options and validation read it
without importing the types, which takes a second.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dask_gmm.model.covariance.covariance import Covariance

# Module and class of each type, by the name that users give it; this order is that of help texts.
_REGISTERED = {
    "full": "full:Full",
    "tied": "tied:Tied",
    "diag": "diag:Diag",
    "spherical": "spherical:Spherical",
}


def covariance_types() -> tuple[str, ...]:
    """Return the names of all covariance types."""
    return tuple(_REGISTERED)


@cache
def covariance_structure(covariance_type: str) -> Covariance:
    """Return the rules of the covariance type with this name.

    Raises
    ------
    KeyError
        No type has it.
    """
    module, name = _REGISTERED[covariance_type].split(":")
    structure: Covariance = getattr(import_module(f"{__name__}.{module}"), name)()
    return structure
