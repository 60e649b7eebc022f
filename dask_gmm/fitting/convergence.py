"""How far from done: what is left to gain when a fit stops, and how much that matters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

# The tolerance, in nats a row, of a fit that goes on until the gap is negligible: in its first iterations,
# while the gains still shrink fast, the estimate of the gap is too small.
LOOSEST_TOL = 1e-3
# Gains below this part of the bound are rounding.
_ROUNDING = 1e-13


def remaining_gap(gains: Sequence[float], bound: float) -> float:
    """Estimate by how much the bound is below its limit, in nats a row.

    Gains that shrink by a constant ratio add up to gain * ratio / (1 - ratio): Aitken's extrapolation, as
    Böhning et al., The Distribution of the Likelihood Ratio for Mixtures (1994), use it for EM. The larger of
    the last two ratios counts, since the ratio grows while the faster directions die out.

    Parameters
    ----------
    gains : sequence of float
        Of EM's steps, in nats a row, the last one last.
    bound : float
        The last lower bound, in nats a row.

    Returns
    -------
    float
        NaN where nothing can be said: too few gains, or gains that grow or are negative.
    """
    if gains and 0.0 <= gains[-1] <= _ROUNDING * max(1.0, abs(bound)):
        return 0.0
    # A cold start has gained infinity in its first iteration.
    last = [gain for gain in gains[-3:] if gain != math.inf]
    if len(last) < 2 or not all(gain > 0.0 for gain in last):
        return math.nan
    ratio = max(after / before for before, after in pairwise(last))
    return last[-1] * ratio / (1.0 - ratio) if ratio < 1.0 else math.nan


def negligible_gap(n_free: int, weight: float) -> float:
    """Return the gap, in nats a row, that does not disturb a comparison of models: p ln n / (20 n).

    A tenth of what the Bayesian information criterion charges for the model.

    Parameters
    ----------
    n_free : int
        Free parameters p.
    weight : float
        Rows n, or the sum of their weights.
    """
    return n_free * math.log(max(weight, 2.0)) / (20.0 * weight)


def gap_advice(gain: float, remaining: float, n_free: int, weight: float, *, accelerated: bool) -> str | None:
    """Return what to tell of a fit that stopped far from its limit, None where it is near or nobody knows.

    Parameters
    ----------
    gain : float
        Of the last iteration, in nats a row.
    remaining : float
        Estimate of what is left to gain, in nats a row.
    n_free : int
        Free parameters.
    weight : float
        Rows, or the sum of their weights.
    accelerated : bool
        Whether the fit was allowed to accelerate EM.
    """
    allowed = negligible_gap(n_free, weight)
    if not remaining > allowed:
        return None
    # Gains shrink in proportion to what is left.
    tol = 10.0 ** math.floor(math.log10(max(allowed * min(gain / remaining, 1.0), 1e-12)))
    advice = f"set tol={tol:.0e} and a larger max_iter" + ("" if accelerated else ", and accelerate=True")
    return (
        f"About {remaining:.1g} nats a row are left to gain, {remaining * weight:.1g} over all rows, while "
        f"BIC charges {10.0 * allowed * weight:.1g} nats for all parameters: to compare models, {advice}."
    )
