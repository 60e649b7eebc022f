"""What most sources have in common, for a kind of data to override what differs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dask_gmm.data.answers import checked_answer
from dask_gmm.data.looking import LookingMixin
from dask_gmm.data.sample_grid import SampleGrid
from dask_gmm.data.source import Answer, Reader, Source


class BaseSource(LookingMixin, ABC):
    """A table without names that is read where it is used; see `dask_gmm.data.source.Source`.

    A subclass has a reader, ``n_features``, ``dtype``, ``chunks``, ``sample_shape`` and ``numbered``.
    """

    feature_names: tuple[str, ...] | None = None
    grid: SampleGrid | None = None
    dims: tuple[str | None, ...] = ()
    in_memory: bool = False
    stored: bool = False

    @abstractmethod
    def reader(self, indices: Sequence[int]) -> Reader:
        """Return what a worker needs to read the chunks `indices`."""

    def futures(self, indices: Sequence[int]) -> Mapping[Any, Any]:
        """Return nothing: no chunk is persisted on a cluster."""
        return {}

    def fingerprint(self, *columns: str | None) -> str | None:
        """Return None: only reading would tell whether the rows changed."""
        return None

    def apply(self: Source, answer: Answer) -> Any:
        """Return the answer for every row as an ndarray; the chunks are read here, one after the other."""
        indices = range(len(self.chunks))
        reader = self.reader(indices)
        reader.supply({key: future.result() for key, future in self.futures(indices).items()})
        columns = () if answer.n_columns is None else (answer.n_columns,)
        nothing = np.empty((0, *columns), dtype=answer.dtype)
        return np.concatenate([nothing, *(checked_answer(reader.read(i), answer) for i in indices)])
