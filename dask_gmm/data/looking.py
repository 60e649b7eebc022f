"""Looking at a source: its size, its first rows, all rows lazily, and how a notebook shows it."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from dask.utils import format_bytes
from numpy.typing import NDArray

from dask_gmm.data.source import Answer, Block, Source, byte_counts


class LookingMixin:
    """What users ask a source for; fits need none of it."""

    @property
    def shape(self: Source) -> tuple[int | None, ...]:
        """Shape of the samples, then the number of features; None where only reading tells."""
        return (*self.sample_shape, self.n_features)

    def __len__(self: Source) -> int:
        """Return the number of rows.

        Raises
        ------
        TypeError
            Only reading tells, as for data frames and filtered files.
        """
        sizes = [size for size in self.sample_shape if size is not None]
        if len(sizes) < len(self.sample_shape):
            raise TypeError(f"the number of rows of {self!r} is not known before they are read")
        return math.prod(sizes)

    def __bool__(self) -> bool:
        """Return True: a source is there, however many rows it has."""
        return True

    def head(self: Source, n: int = 5) -> pd.DataFrame:
        """Return the first rows, of which as many chunks are read as that takes.

        Parameters
        ----------
        n : int, default=5

        Returns
        -------
        pandas.DataFrame
            With the names of the features, or their numbers. Rows that the source drops are not among them.
        """
        indices = range(len(self.chunks))
        parts: list[NDArray[Any]] = [np.empty((0, self.n_features), self.dtype)]
        for index in indices:
            if sum(map(len, parts)) >= n:
                break
            reader = self.reader([index])
            reader.supply({key: future.result() for key, future in self.futures([index]).items()})
            parts.append(np.asarray(reader.read(index).rows[:n]))
        names: Sequence[Any] = range(self.n_features) if self.feature_names is None else self.feature_names
        return pd.DataFrame(np.concatenate(parts)[:n], columns=list(names))

    def to_dask(self: Source) -> Any:
        """Return all rows lazily, as predictions come back: of the samples' shape, with the features last.

        Returns
        -------
        dask array, dask DataFrame, or DataArray of one
            Rows that the source drops are NaN; others are as they are read, be it infinite.
        """
        return self.apply(Answer(_rows, self.dtype, self.n_features, np.nan, "features", checks=True))

    def _repr_html_(self: Source) -> str:
        sizes = byte_counts(self.chunks, unknown=-1)
        known = bool(len(sizes)) and sizes.min() >= 0
        shape = " x ".join("?" if size is None else f"{size:,}" for size in self.sample_shape)
        names = self.feature_names
        lines = {
            "samples": shape,
            "features": f"{self.n_features}" + ("" if names is None else f": {', '.join(names[:12])}"),
            "dtype": str(self.dtype),
            "chunks": f"{len(self.chunks):,}"
            + (f", up to {format_bytes(int(sizes.max()))}" if known else ""),
            "size": format_bytes(int(sizes.sum())) if known else "known when it is read",
        }
        rows = "".join(
            f'<tr><th scope="row" style="text-align:left">{name}</th>'
            f'<td style="text-align:left">{html.escape(text)}</td></tr>'
            for name, text in lines.items()
        )
        title = html.escape(repr(self).partition(":")[0].rstrip("("))
        return f"<table><caption>{title}</caption><tbody>{rows}</tbody></table>"


def _rows(block: Block) -> NDArray[Any]:
    return block.rows
