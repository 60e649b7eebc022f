"""The command line: ``dask gmm``, ``dask-gmm`` and ``python -m dask_gmm``.

Every ``dask`` command imports this package, so nothing here imports NumPy, Dask or the estimator before a
command runs.
"""

from dask_gmm.cli.commands import gmm

__all__ = ["gmm"]
