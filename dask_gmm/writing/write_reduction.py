"""The reduction that writes: blocks of rows in, a count of rows out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dask_gmm.data.answers import as_answer
from dask_gmm.data.checks import check_rows
from dask_gmm.data.source import Answer, Block
from dask_gmm.writing.target import Column, Target

OUTPUTS = ("labels", "probabilities", "log_density", "anomaly")


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
    """

    answers: Mapping[str, Answer]
    columns: tuple[Column, ...]
    threshold: float | None
    target: Target

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
        n_anomalies = 0
        if self.threshold is not None:
            # Comparing with the NaN of a dropped row gives False.
            values["anomaly"] = values["log_density"] < self.threshold
            n_anomalies = int(values["anomaly"].sum())
        self.target.write(block.index, {column.name: values[column.name] for column in self.columns})
        return value[0] + len(block.rows), value[1] + n_anomalies

    def combine(self, values: Sequence[tuple[int, int]]) -> tuple[int, int]:
        """Sum the counts."""
        return sum(rows for rows, _ in values), sum(anomalies for _, anomalies in values)


def columns_of(outputs: Sequence[str], answers: Mapping[str, Answer]) -> tuple[Column, ...]:
    """Return what is written for each output."""
    return tuple(_column(name, answers) for name in outputs)


def _column(name: str, answers: Mapping[str, Answer]) -> Column:
    if name == "anomaly":
        return Column(name, np.dtype(np.bool_), None, False)
    answer = answers[name]
    return Column(name, answer.dtype, answer.n_columns, answer.missing)
