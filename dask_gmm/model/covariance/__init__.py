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

from collections.abc import Mapping
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

# What else belongs to the name of a type: parameters of estimators, by their names.
_OPTIONS: Mapping[str, tuple[str, ...]] = {}
#: All of these.
TYPE_OPTIONS = tuple(dict.fromkeys(name for names in _OPTIONS.values() for name in names))


def covariance_types() -> tuple[str, ...]:
    """Return the names of all covariance types."""
    return tuple(_REGISTERED)


def spelled(covariance_type: str, **options: int | str) -> str:
    """Return the name of a type with those of `TYPE_OPTIONS` that belong to it: how it is told everywhere.

    Examples
    --------
    >>> spelled("diag", n_factors=8)
    'diag'
    """
    own = _OPTIONS.get(covariance_type, ())
    return f"{covariance_type}({', '.join(str(options[name]) for name in own)})" if own else covariance_type


@cache
def covariance_structure(covariance_type: str) -> Covariance:
    """Return the rules of the covariance type with this name, as `spelled` has it.

    Raises
    ------
    KeyError
        No type has it.
    """
    kind, _, rest = covariance_type.partition("(")
    module, name = _REGISTERED[kind].split(":")
    options = rest.removesuffix(")").split(", ") if rest else ()
    structure: Covariance = getattr(import_module(f"{__name__}.{module}"), name)(*options)
    return structure
