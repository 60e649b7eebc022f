"""Pictures of fitted mixtures, as scikit-learn's displays are. They need matplotlib: the extra ``plot``."""

from dask_gmm.plotting.convergence_display import ConvergenceDisplay
from dask_gmm.plotting.corner import MixtureCornerDisplay
from dask_gmm.plotting.correlations import CovarianceDisplay
from dask_gmm.plotting.ellipses import MixtureDisplay
from dask_gmm.plotting.entropies import ResponsibilityDisplay
from dask_gmm.plotting.report import write_report
from dask_gmm.plotting.selection_display import SelectionDisplay

__all__ = [
    "ConvergenceDisplay",
    "CovarianceDisplay",
    "MixtureCornerDisplay",
    "MixtureDisplay",
    "ResponsibilityDisplay",
    "SelectionDisplay",
    "write_report",
]
