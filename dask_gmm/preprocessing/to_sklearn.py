"""A pipeline of this package as one of scikit-learn's."""

from __future__ import annotations

from sklearn.pipeline import Pipeline


def to_sklearn(pipeline: Pipeline) -> Pipeline:
    """Return a fitted pipeline whose steps of this package are scikit-learn's, with the same numbers.

    Parameters
    ----------
    pipeline : sklearn.pipeline.Pipeline
        Fitted, such as of `StandardScaler`, `PCA` and `GaussianMixture`. Other steps stay as they are.

    Returns
    -------
    sklearn.pipeline.Pipeline
        It needs scikit-learn only, to be served or converted.
    """
    converted = [
        (name, step.to_sklearn() if hasattr(step, "to_sklearn") else step) for name, step in pipeline.steps
    ]
    return Pipeline(converted, memory=pipeline.memory, verbose=pipeline.verbose)
