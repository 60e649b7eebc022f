"""EM on rows that were fitted and rows that came later, of which only the later ones are read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dask_gmm.fitting.passes import Passes
from dask_gmm.fitting.settings import FitSettings
from dask_gmm.model.kept_statistics import KeptStatistics, adds_up
from dask_gmm.model.parameters import Parameters
from dask_gmm.model.statistics import Totals


@dataclass(frozen=True, slots=True)
class Appended:
    """A mixture with more rows in it.

    Attributes
    ----------
    parameters : Parameters
        What the M-step made of all rows.
    kept : KeptStatistics
        The statistics of all rows.
    totals : Totals
        Of the new rows under the parameters that were kept.
    """

    parameters: Parameters
    kept: KeptStatistics
    totals: Totals


def append_rows(
    passes: Passes,
    before: KeptStatistics,
    settings: FitSettings,
    n_passes: int,
    dtype: np.dtype[np.floating],
) -> Appended:
    """Add rows to those of `before`, and maximize.

    The first pass makes EM's step on all rows together. Further ones evaluate the new rows again, by the
    parameters of the step before, while the old ones' sums stay: incremental EM with two blocks of rows (Neal
    and Hinton, A view of the EM algorithm that justifies incremental, sparse, and other variants, 1998).

    Parameters
    ----------
    passes : Passes
        Over the new rows.
    before : KeptStatistics
    settings : FitSettings
    n_passes : int
        At least one.
    dtype : dtype
        Of the rows that were fitted.

    Raises
    ------
    CollapsedComponentError
        A component without spread.
    DataError
        Rows that cannot be used.
    ValueError
        Rows with missing values, whose sums do not add up for the covariance type.
    """
    totals, parameters, kept = None, before.parameters, before
    for _ in range(n_passes):
        (found,) = passes.e_steps("pass", [parameters], [settings])
        if not adds_up(found.statistics):
            raise ValueError(
                f"Rows with missing values cannot be added to a mixture with covariance_type="
                f"{parameters.covariance_type!r}: what was summed of the old rows does not tell which "
                "features they had. Fit all rows again, or use covariance_type='full' or 'tied'."
            )
        totals = found.statistics.totals if totals is None else totals
        kept = before.with_rows(parameters, found.statistics, found.kernel.origins)
        parameters = settings.estimation.maximize(
            parameters, kept.statistics, kept.origins, reg_covar=settings.start.reg_covar, dtype=dtype
        )
    assert totals is not None
    return Appended(parameters, kept, totals)
