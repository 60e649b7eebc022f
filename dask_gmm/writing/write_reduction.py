"""The reduction that writes: blocks of rows in, a count of rows out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.data.answers import as_answer
from dask_gmm.data.checks import check_rows
from dask_gmm.data.source import Answer, Block
from dask_gmm.writing.target import Column, Target

OUTPUTS = ("labels", "probabilities", "log_density", "anomaly", "top", "imputed")
IMPUTED = "imputed"
#: What 'top' is written as.
TOP_LABELS, TOP_PROBABILITIES = "top_labels", "top_probabilities"


@dataclass(frozen=True)
class WriteBlocks:
    """A reduction that writes each block it sees; its value counts rows and anomalies.

    A task that is run again writes the same bytes again.

    Attributes
    ----------
    answers : mapping of str to Answer
        What has to be computed.
    columns : tuple of Column
        What is written of it.
    threshold : float or None
        Log density, in nats, below which a row is an anomaly.
    target : Target
    top : int
        How many of the likeliest components are written.
    features : tuple of str
        Names of the features, where imputed rows are written by them.
    """

    answers: Mapping[str, Answer]
    columns: tuple[Column, ...]
    threshold: float | None
    target: Target
    top: int = 0
    features: tuple[str, ...] = ()

    def zero(self) -> tuple[int, int]:
        """Return the counts of no rows."""
        return 0, 0

    def update(self, value: tuple[int, int], block: Block) -> tuple[int, int]:
        """Write a block and count its rows and anomalies.

        Raises
        ------
        DataError
            NaN or infinity.
        """
        check_rows(block)
        values = {name: as_answer(block, answer) for name, answer in self.answers.items()}
        for column in self.columns:
            if column.name == "labels":
                values["labels"] = values["labels"].astype(column.dtype)
        n_anomalies = 0
        if self.threshold is not None:
            # Comparing with the NaN of a dropped row gives False.
            values["anomaly"] = values["log_density"] < self.threshold
            n_anomalies = int(values["anomaly"].sum())
        if self.top:
            values |= _likeliest(values["probabilities"], self.top)
        if IMPUTED in values:
            # A column for each feature, where these have names.
            values |= dict(zip(self.features, values[IMPUTED].T, strict=False))
        written = {column.name: values[column.name] for column in self.columns}
        self.target.write(block.index, written, block.keys)
        return value[0] + len(block.rows), value[1] + n_anomalies

    def combine(self, values: Sequence[tuple[int, int]]) -> tuple[int, int]:
        """Sum the counts."""
        return sum(rows for rows, _ in values), sum(anomalies for _, anomalies in values)


def _likeliest(probabilities: NDArray[Any], top: int) -> dict[str, NDArray[Any]]:
    """Return each row's likeliest components, in descending order, and their probabilities."""
    labels = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
    chosen = np.take_along_axis(probabilities, labels, axis=1)
    labels[np.isnan(chosen)] = -1
    return {TOP_LABELS: labels.astype(label_dtype(probabilities.shape[1])), TOP_PROBABILITIES: chosen}


def label_dtype(n_components: int) -> np.dtype[Any]:
    """Return the smallest integers that hold all labels, and the -1 of rows that are dropped."""
    return next(
        dtype for dtype in map(np.dtype, ("i1", "i2", "i4")) if n_components - 1 <= np.iinfo(dtype).max
    )


def columns_of(
    outputs: Sequence[str],
    answers: Mapping[str, Answer],
    n_components: int,
    top: int,
    features: Sequence[str] = (),
) -> tuple[Column, ...]:
    """Return what is written for each output."""
    labels = label_dtype(n_components)
    columns: list[Column] = []
    for name in outputs:
        if name == "anomaly":
            columns.append(Column(name, np.dtype(np.bool_), None, False))
        elif name == "labels":
            columns.append(Column(name, labels, None, -1))
        elif name == IMPUTED and features:
            columns += [Column(feature, answers[name].dtype, None, np.nan) for feature in features]
        elif name == "top":
            dtype = answers["probabilities"].dtype
            columns += [Column(TOP_LABELS, labels, top, -1), Column(TOP_PROBABILITIES, dtype, top, np.nan)]
        else:
            answer = answers[name]
            columns.append(Column(name, answer.dtype, answer.n_columns, answer.missing))
    return tuple(columns)
