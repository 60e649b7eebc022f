"""What every kind of data offers the engine: chunks to list, rows to read, an answer to give.

A :class:`Source` lists its chunks without reading any. A worker receives a :class:`Reader`, the part of
a source that it needs for one group of chunks, and turns chunk numbers into :class:`Block` objects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from dask_gmm.data.sample_grid import SampleGrid


@dataclass(frozen=True, slots=True)
class Chunk:
    """One stored or computed piece of the rows, described without reading it.

    Attributes
    ----------
    name : str
        What an error calls it: a stored key, a file and row group, a block number.
    n_rows : int or None
        Rows (sample positions) in the chunk; None where only reading tells.
    n_bytes : int or None
        Bytes of the chunk's rows once in memory, or None where only reading tells.
    """

    name: str
    n_rows: int | None
    n_bytes: int | None


if TYPE_CHECKING:
    import pyarrow as pa
    from typing_extensions import TypeIs

#: The aligned column that counts each row as so many.
SAMPLE_WEIGHT = "sample_weight"


def error_column(feature: int) -> str:
    """Return the name of the aligned column of a feature's standard errors."""
    return f"error {feature}"


def correlation_column(first: int, second: int) -> str:
    """Return the name of the aligned column of correlations between the errors of two features."""
    return f"correlation {first} {second}"


AlignedColumns = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """The rows of one chunk, in memory, with all that is known of them.

    Attributes
    ----------
    rows : ndarray of shape (n, n_features), float32 or float64
        C- or Fortran-ordered, native byte order; rows dropped by ``nan="drop"`` are not among them.
    name : str
        The chunk's name, for errors.
    index : int
        The chunk's number in the source.
    numbers : callable returning an ndarray of shape (n,), int64
        The row numbers, global where the source knows them (see `Source.numbered`): the position in
        C order over the sample axes, whatever the chunking. A function because few passes need them.
    kept : ndarray of shape (m,), bool, or None
        Which of the chunk's m sample positions are in `rows`; None when all are.
    columns : mapping of str to ndarray of shape (n,), float64
        What the data tell of each row besides its features, by name; see `dask_gmm.data.aligned`.
    holes : bool
        Whether a NaN in `rows` means that the value was not observed; otherwise it is an error.
    keys : pyarrow.Table of m rows, or None
        What tells the m sample positions from others: columns of any type that predictions keep.
    """

    rows: NDArray[Any]
    name: str
    index: int
    numbers: Callable[[], NDArray[np.int64]]
    kept: NDArray[np.bool_] | None = None
    columns: AlignedColumns = field(default_factory=dict)
    holes: bool = False
    keys: pa.Table | None = None

    @property
    def weights(self) -> NDArray[np.float64] | None:
        """Sample weights of shape (n,), None where all are one."""
        return self.columns.get(SAMPLE_WEIGHT)

    @property
    def n_positions(self) -> int:
        """The number of sample positions in the chunk: of rows, and of those that were dropped."""
        return len(self.rows if self.kept is None else self.kept)


@runtime_checkable
class Reader(Protocol):
    """The part of a source that travels to a worker; small, picklable, free of secrets once pickled."""

    def read(self, index: int) -> Block:
        """Read chunk `index` (its number in ``Source.chunks``)."""
        ...

    def supply(self, results: Mapping[Any, Any]) -> None:
        """Take the results of ``Source.futures`` by key, before the first read."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """What a prediction gives for each row, so that a lazy result has its dtype and shape beforehand.

    Attributes
    ----------
    function : callable
        Maps a `Block` of n rows to an ndarray of shape (n,) or (n, n_columns). Picklable.
    dtype : dtype
        Of the result.
    n_columns : int or None
        None for one value a row.
    missing : scalar
        What stands at the positions of rows dropped by ``nan="drop"``: -1 for labels, NaN otherwise.
    name, long_name : str
        What labelled arrays call it, and say of it.
    checks : bool
        Whether the function checks its blocks itself, as what it makes of them has other rules.
    """

    function: Callable[[Block], NDArray[Any]]
    dtype: np.dtype[Any]
    n_columns: int | None
    missing: float
    name: str = ""
    long_name: str = ""
    checks: bool = False


@runtime_checkable
class Source(Protocol):
    """Rows somewhere: in memory, in a Dask collection, in a store.

    Attributes
    ----------
    n_features : int
        Columns of every block.
    dtype : dtype
        Of the rows as read: float32, or float64 for everything else (integers and float16 are converted).
    feature_names : tuple of str or None
        Names of the features where the data have them.
    chunks : sequence of Chunk
        In row order.
    sample_shape : tuple of (int or None)
        Shape of the sample axes, (n_rows,) for a table; None where unknown.
    numbered : bool
        Whether ``Block.numbers`` is global, that is, row counts before each chunk are known. Where False
        the numbers are unique, but depend on the chunking.
    in_memory : bool
        The rows live in this process and are read without cost; they are not sent to a cluster.
    stored : bool
        The rows come from a store that may answer late: several threads may use a reader at once.
    grid : SampleGrid or None
        The cells of the sample axes, in C order, that are the chunks; None where that is not known: for
        Parquet files, data frames, and arrays with chunks of unknown sizes.
    dims : tuple of (str or None)
        Names of the sample axes, None for one without; empty where axes have no names.
    """

    @property
    def n_features(self) -> int: ...  # noqa: D102

    @property
    def dtype(self) -> np.dtype[Any]: ...  # noqa: D102

    @property
    def feature_names(self) -> tuple[str, ...] | None: ...  # noqa: D102

    @property
    def chunks(self) -> Sequence[Chunk]: ...  # noqa: D102

    @property
    def sample_shape(self) -> tuple[int | None, ...]: ...  # noqa: D102

    @property
    def numbered(self) -> bool: ...  # noqa: D102

    @property
    def in_memory(self) -> bool: ...  # noqa: D102

    @property
    def stored(self) -> bool: ...  # noqa: D102

    @property
    def grid(self) -> SampleGrid | None: ...  # noqa: D102

    @property
    def dims(self) -> tuple[str | None, ...]: ...  # noqa: D102

    def reader(self, indices: Sequence[int]) -> Reader:
        """Return what a worker needs to read the chunks `indices`."""
        ...

    def futures(self, indices: Sequence[int]) -> Mapping[Any, Any]:
        """Return the cluster futures that chunks `indices` are computed from (persisted data), by key.

        The engine hands their results to ``reader.supply(results)`` before the first read.
        Empty for everything that is not persisted.
        """
        ...

    def apply(self, answer: Answer) -> Any:
        """Return the answer for every row as this kind of data gives it back, lazily where it is lazy."""
        ...

    def fingerprint(self, *columns: str | None) -> str | None:
        """Return a text that changes when the stored rows do, None where only reading would tell.

        Parameters
        ----------
        *columns : str or None
            Fingerprints of aligned columns, whose changes it is to tell too.
        """
        ...


@runtime_checkable
class CountsBytes(Protocol):
    """A sequence of chunks that is described by a rule."""

    def byte_counts(self) -> NDArray[np.int64]:
        """Return the bytes of each chunk's rows."""
        ...


def is_source(X: Any) -> TypeIs[Source]:
    """Tell whether an object is a source, not another that has some of the same names."""
    # A Delayed has every attribute that it is asked for.
    return not hasattr(X, "dask") and all(hasattr(X, n) for n in ("chunks", "reader", "futures", "apply"))


def byte_counts(chunks: Sequence[Chunk], unknown: int) -> NDArray[np.int64]:
    """Return the bytes of each chunk's rows, `unknown` where only reading tells.

    A list that is described by a rule counts them itself, without describing each chunk.
    """
    if isinstance(chunks, CountsBytes):
        return chunks.byte_counts()
    known = (unknown if chunk.n_bytes is None else chunk.n_bytes for chunk in chunks)
    return np.fromiter(known, dtype=np.int64, count=len(chunks))


def working_dtype(dtype: np.dtype[Any], where: str) -> np.dtype[Any]:
    """Return the dtype that rows stored as `dtype` are read as: float32 stays, other numbers become float64.

    Raises
    ------
    TypeError
        Anything that is not boolean, integer or real floating point; `where` names the data.
    """
    if dtype.kind == "c":
        raise ValueError(f"Complex data not supported: {where} has dtype {dtype}.")
    if dtype.kind not in "biuf":
        raise TypeError(
            f"{where} has dtype {dtype}; GaussianMixture needs real numbers: convert or select columns."
        )
    return np.dtype(np.float32) if (dtype.kind, dtype.itemsize) == ("f", 4) else np.dtype(np.float64)
