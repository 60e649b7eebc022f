"""What a model file holds, as people read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

# Components that are listed: more would hide what is above them.
_MOST_COMPONENTS = 64


def info_table(told: Mapping[str, Any], width: int = 80) -> str:
    """Return a description of several lines, and one line for each component, the heaviest first.

    Parameters
    ----------
    told : mapping
        As `info` prints it as JSON.
    width : int
        Columns that there are; means of features that go beyond are left out.

    Examples
    --------
    >>> told = {"model": "m.gmm", "release": "1.0", "n_components": 2, "n_features": 1, "dtype": "float64",
    ...         "covariance_type": "full", "feature_names": ["depth"], "converged": True, "n_iter": 7,
    ...         "lower_bound": -1.25, "weights": [0.25, 0.75], "means": [[10.0], [0.5]]}
    >>> print(info_table(told))
    m.gmm, written by dask_gmm 1.0
    2 components (full) of 1 feature, float64
    converged after 7 iterations, -1.25 nats a row
    component  weight  mean of depth
            1  75.0 %            0.5
            0  25.0 %             10
    """
    n_features, bound = told["n_features"], told["lower_bound"]
    ended = "converged" if told["converged"] else "not converged"
    lines = [
        f"{told['model']}, written by dask_gmm {told['release']}",
        f"{told['n_components']} components ({told['covariance_type']}) of "
        f"{n_features} feature{'s' if n_features > 1 else ''}, {told['dtype']}",
        f"{ended} after {told['n_iter']} iterations" + ("" if bound is None else f", {bound:.6g} nats a row"),
    ]
    if "threshold" in told:
        lines.append(f"anomalies have a log density below {told['threshold']:.6g} nats")
    lines += [f"before it: {step['kind']}" for step in told.get("steps", ())]
    return "\n".join([*lines, *_components(told, width)])


def _components(told: Mapping[str, Any], width: int) -> list[str]:
    n_features = told["n_features"]
    names: Sequence[str] = told["feature_names"] or [f"feature {j}" for j in range(n_features)]
    headings = [f"mean of {name}" for name in names]
    lengths = accumulate((2 + len(heading) for heading in headings), initial=len("component  weight"))
    shown = sum(length <= width for length in lengths) - 1
    lines = ["  ".join(["component", "weight", *headings[:shown]])]
    order = sorted(range(told["n_components"]), key=lambda k: -told["weights"][k])
    for k in order[:_MOST_COMPONENTS]:
        means = [f"{told['means'][k][j]:{len(headings[j])}.5g}" for j in range(shown)]
        lines.append("  ".join([f"{k:9}", f"{100 * told['weights'][k]:4.1f} %", *means]))
    left = [
        f"{n - most} more {name}"
        for n, most, name in (
            (told["n_components"], _MOST_COMPONENTS, "components"),
            (n_features, shown, "features"),
        )
        if n > most
    ]
    return [*lines, *([f"and {', '.join(left)}"] if left else [])]
