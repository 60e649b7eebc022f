"""How far from done: what is left to gain when a fit stops, and how much that matters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

# The tolerance, in nats per row, of a fit that goes on until the gap is negligible. It decides where rows are
# few for the parameters: a gap that is negligible there is wide, and on the way EM passes plateaus which look
# as if it were done.
LOOSEST_TOL = 1e-4
# So many gains show by what ratio they shrink: those of accelerated steps jump.
_LAST_GAINS = 5
# Gains below this part of the bound are rounding.
_ROUNDING = 1e-13


def remaining_gap(gains: Sequence[float], bound: float) -> float:
    """Estimate by how much the bound is below its limit, in nats per row.

    Gains that shrink by a constant ratio add up to gain * ratio / (1 - ratio): Aitken's extrapolation, as
    Böhning et al., The Distribution of the Likelihood Ratio for Mixtures (1994), use it for EM. The ratio
    grows while the faster directions die out, so it is taken to grow once more as it did; where that makes it
    one, EM is on a plateau, behind which gains may rise again.

    Parameters
    ----------
    gains : sequence of float
        Gains of EM's steps, in nats per row, the last one last.
    bound : float
        The last lower bound, in nats per row.

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
    ratios = [after / before for before, after in pairwise(last)]
    ratio = max(*ratios, 2.0 * ratios[-1] - ratios[0])
    return last[-1] * ratio / (1.0 - ratio) if ratio < 1.0 else math.nan


def penalty(criterion: str, n_free: int, weight: float) -> float:
    """Return what a criterion charges for a model, in nats over all rows: what it adds to -2 log L, halved.

    Parameters
    ----------
    criterion : {'bic', 'aic', 'icl'}
        BIC charges p ln n / 2, ICL the same besides the entropy, AIC p.
    n_free : int
        Free parameters p.
    weight : float
        Rows n, or the sum of their weights.
    """
    return float(n_free) if criterion == "aic" else 0.5 * n_free * math.log(max(weight, 2.0))


def negligible_gap(criterion: str, n_free: int, weight: float) -> float:
    """Return the gap, in nats per row, that does not disturb a comparison of models by a criterion.

    A tenth of its `penalty`, which has the same parameters.
    """
    return 0.1 * penalty(criterion, n_free, weight) / weight


def gap_advice(gain: float, remaining: float, n_free: int, weight: float, *, accelerated: bool) -> str | None:
    """Return what to tell of a fit that stopped far from its limit, None where it is near or unknown.

    Parameters
    ----------
    gain : float
        Gain of the last iteration, in nats per row.
    remaining : float
        Estimate of what is left to gain, in nats per row.
    n_free : int
        Free parameters.
    weight : float
        Rows, or the sum of their weights.
    accelerated : bool
        Whether the fit was allowed to accelerate EM.
    """
    if not remaining > negligible_gap("bic", n_free, weight):
        return None
    charges = {name: penalty(name, n_free, weight) for name in ("bic", "aic")}
    allowed = 0.1 * min(charges.values()) / weight
    # Gains shrink in proportion to what is left.
    tol = 10.0 ** math.floor(math.log10(max(allowed * min(gain / remaining, 1.0), 1e-12)))
    advice = f"set tol={tol:.0e} and a larger max_iter" + ("" if accelerated else ", and accelerate=True")
    return (
        f"About {remaining:.1g} nats a row are left to gain, {remaining * weight:.1g} over all rows, while "
        f"BIC charges {charges['bic']:.1g} nats for all parameters and AIC {charges['aic']:.1g}: to compare "
        f"models, {advice}."
    )


def passes_left(gains: Sequence[float], remaining: float, tol: float, gap: float | None) -> int | None:
    """Return after how many more passes gains and gap are expected below their limits.

    Parameters
    ----------
    gains : sequence of float
        Gains of the last steps that were kept, in nats per row, the last one last.
    remaining : float
        Estimate of what is left to gain, in nats per row; NaN where there is none.
    tol : float
        Limit of the gain.
    gap : float or None
        Limit of `remaining`, where there is one.

    Returns
    -------
    int or None
        None where gains do not shrink, or nothing is known of what is left.

    Examples
    --------
    >>> passes_left([1.0, 0.5], remaining=0.5, tol=0.1, gap=None)
    3
    >>> passes_left([1.0, 0.5], remaining=0.5, tol=0.1, gap=0.01)
    6
    """
    last = [gain for gain in gains[-_LAST_GAINS:] if math.isfinite(gain)]
    if not last:
        return None
    ahead = [(abs(last[-1]), tol)] if gap is None else [(abs(last[-1]), tol), (remaining, gap)]
    if all(value < limit for value, limit in ahead):
        return 0
    if len(last) < 2 or not 0.0 < last[-1] < last[0] or any(math.isnan(value) for value, _ in ahead):
        return None
    if any(limit <= 0.0 for _, limit in ahead):
        return None
    log_ratio = (math.log(last[-1]) - math.log(last[0])) / (len(last) - 1)
    steps = [math.log(limit / value) / log_ratio for value, limit in ahead if value >= limit]
    return math.floor(max(steps)) + 1
