"""Covariance types: everything that depends on the structure of a component's covariance lives here.

Shapes, for K components of d features:

========= ================== ============ ==========================================================
type      covariances        free numbers second moments (`Statistics.second`)
========= ================== ============ ==========================================================
full      (K, d, d)          K d(d+1)/2   (K, d(d+1)/2): packed upper triangle of sum r v v^T
tied      (d, d)             d(d+1)/2     (d(d+1)/2,): the same, summed over components
diag      (K, d)             K d          (K, d): sum r v^2
spherical (K,)               K            (K,): sum r |v|^2
factor    (K, d, q + 1)      see `Factor` (K, d, q + 1): sum r v u^T and r v^2, u = G_k^T v
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
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dask_gmm.model.covariance.covariance import Covariance

# Module and class of each type, by the name that users give it; this order is that of help texts.
_REGISTERED = {
    "full": "full:Full",
    "tied": "tied:Tied",
    "diag": "diag:Diag",
    "spherical": "spherical:Spherical",
    "factor": "factor:Factor",
}

#: What the noise of factor analysers may be: for each feature, or for each component.
NOISES = ("diag", "spherical")
# What else belongs to the name of a type: parameters of estimators by their names, with their defaults.
# Such types have no conjugate prior.
_OPTIONS: Mapping[str, Mapping[str, int | str]] = {"factor": {"n_factors": 1, "noise": NOISES[0]}}
#: All of these.
TYPE_OPTIONS = tuple(dict.fromkeys(name for names in _OPTIONS.values() for name in names))


def covariance_types() -> tuple[str, ...]:
    """Return the names of all covariance types."""
    return tuple(_REGISTERED)


def conjugate_types() -> tuple[str, ...]:
    """Return the names of the types whose covariances have a conjugate prior."""
    return tuple(name for name in _REGISTERED if name not in _OPTIONS)


def spelled(covariance_type: str, **options: int | str) -> str:
    """Return the name of a type with those of `TYPE_OPTIONS` that belong to it: how it is told everywhere.

    Examples
    --------
    >>> spelled("diag", n_factors=8), spelled("factor", n_factors=8)
    ('diag', 'factor(8)')
    """
    own = _OPTIONS.get(covariance_type, {})
    values = [options.get(name, default) for name, default in own.items()]
    # Those at the end that are as usual go without saying.
    while len(values) > 1 and values[-1] == list(own.values())[len(values) - 1]:
        values.pop()
    return f"{covariance_type}({', '.join(map(str, values))})" if values else covariance_type


def asked_type(parameters: Mapping[str, Any]) -> str:
    """Return the covariance type that parameters of an estimator ask for, by their names."""
    given = {name: parameters[name] for name in TYPE_OPTIONS if name in parameters}
    return spelled(str(parameters["covariance_type"]), **given)


def unspelled(covariance_type: str) -> dict[str, int | str]:
    """Return the parameters of an estimator that ask for a type: `spelled` undone.

    Examples
    --------
    >>> unspelled("factor(8)")
    {'covariance_type': 'factor', 'n_factors': 8, 'noise': 'diag'}
    """
    kind, _, rest = covariance_type.partition("(")
    own = _OPTIONS.get(kind, {})
    given = rest.removesuffix(")").split(", ") if rest else []
    values = [type(default)(value) for default, value in zip(own.values(), given, strict=False)]
    return {"covariance_type": kind, **own, **dict(zip(own, values, strict=False))}


@cache
def covariance_structure(covariance_type: str) -> Covariance:
    """Return the rules of the covariance type with this name, as `spelled` has it.

    Raises
    ------
    KeyError
        No type has it.
    """
    options = unspelled(covariance_type)
    module, name = _REGISTERED[str(options.pop("covariance_type"))].split(":")
    structure: Covariance = getattr(import_module(f"{__name__}.{module}"), name)(**options)
    return structure
