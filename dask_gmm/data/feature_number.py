"""Features as users name them."""

from __future__ import annotations

from collections.abc import Sequence

Feature = int | str


def feature_number(feature: Feature, names: Sequence[str] | None, n_features: int) -> int | None:
    """Return the number of a feature that is given by it or by its name; None where there is none such."""
    if isinstance(feature, str):
        return None if names is None or feature not in names else list(names).index(feature)
    return int(feature) if 0 <= int(feature) < n_features else None
