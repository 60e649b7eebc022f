"""Models with the steps before them, as the commands fit, write and use them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click
from sklearn.pipeline import Pipeline, make_pipeline

from dask_gmm.cli.sources import open_source
from dask_gmm.data.source import Source
from dask_gmm.preprocessing import PCA, StandardScaler, load_pipeline, save_pipeline, to_sklearn

Step = StandardScaler | PCA


@dataclass(frozen=True)
class Model:
    """A fitted mixture and the fitted steps before it.

    Attributes
    ----------
    steps : tuple of StandardScaler or PCA
    mixture : GaussianMixture or BayesianGaussianMixture
    """

    steps: tuple[Step, ...]
    mixture: Any

    @classmethod
    def load(cls, url: str) -> Model:
        """Read a model file, with or without steps."""
        *steps, mixture = [step for _, step in load_pipeline(url).steps]
        return cls(tuple(steps), mixture)

    def save(self, url: str, *, with_statistics: bool | None = None) -> None:
        """Write a model file; see `GaussianMixture.save`."""
        if self.steps:
            save_pipeline(self._pipeline, url, with_statistics=with_statistics)
        else:
            self.mixture.save(url, with_statistics=with_statistics)

    def open(self, given: Mapping[str, Any]) -> Source:
        """Return the rows of SOURCE as the mixture takes them."""
        features = getattr(self.steps[0] if self.steps else self.mixture, "feature_names_in_", None)
        source: Any = open_source(given["source"], given, self.mixture, features)
        for step in self.steps:
            source = step.transform(source)
        rows: Source = source
        return rows

    def to_sklearn(self) -> Any:
        """Return scikit-learn's mixture, or its pipeline where there are steps."""
        return to_sklearn(self._pipeline) if self.steps else self.mixture.to_sklearn()

    @property
    def n_features(self) -> int:
        """Features of the rows that go in."""
        return int((self.steps[0] if self.steps else self.mixture).n_features_in_)

    @property
    def _pipeline(self) -> Pipeline:
        return make_pipeline(*self.steps, self.mixture)


def fit_steps(given: Mapping[str, Any], source: Source, weights: Any) -> tuple[tuple[Step, ...], Source]:
    """Fit the steps that ``--standardize`` and ``--pca`` ask for, a pass each.

    Returns
    -------
    steps : tuple of StandardScaler or PCA
    source : Source
        The rows as they come out.
    """
    steps: list[Step] = [StandardScaler()] if given["standardize"] else []
    if given["pca"] is not None:
        steps.append(PCA(number_or_share(given["pca"])))
    rows: Any = source
    for step in steps:
        rows = step.fit(rows, sample_weight=weights).transform(rows)
    return tuple(steps), rows


def number_or_share(text: str) -> int | float:
    """Return the value of ``--pca``.

    Raises
    ------
    click.UsageError

    Examples
    --------
    >>> number_or_share("10"), number_or_share("0.95")
    (10, 0.95)
    """
    try:
        value = float(text)
        if value.is_integer() and value >= 1:
            return int(value)
        if 0.0 < value < 1.0:
            return value
    except ValueError:
        pass
    raise click.UsageError(
        f"--pca {text}: give a number of components, or the share of the variance to keep, such as 0.95."
    )
