"""The four covariance structures: everything that depends on the covariance type lives here.

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
explained in `dask_gmm.model.covariance.packing`.
"""

from dask_gmm.model.covariance.base import Covariance, NotPositiveDefiniteError
from dask_gmm.model.covariance.matrices import Full, Tied
from dask_gmm.model.covariance.packing import pack, triangle, unpack
from dask_gmm.model.covariance.variances import Diag, Spherical

__all__ = ["Covariance", "NotPositiveDefiniteError", "covariance_structure", "pack", "triangle", "unpack"]

_STRUCTURES: dict[str, Covariance] = {rules.name: rules for rules in (Full(), Tied(), Diag(), Spherical())}


def covariance_structure(covariance_type: str) -> Covariance:
    """Return the rules of 'full', 'tied', 'diag' or 'spherical'."""
    return _STRUCTURES[covariance_type]
