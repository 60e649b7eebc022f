"""What only some sources can do, each a protocol of its own beside `dask_gmm.data.source.Source`."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from dask_gmm.data.rows import NanRule
from dask_gmm.data.source import Source

if TYPE_CHECKING:
    import xarray as xr


@runtime_checkable
class TakesColumns(Protocol):
    """A source that has a better way to read some columns than `dask_gmm.data.aligned` has for all."""

    def take_column(self, name: str, values: Any) -> tuple[Source, Any]:
        """Return the source that reads the column itself, and what is left to align.

        Parameters
        ----------
        name : str
            Of the column in ``Block.columns``.
        values
            As they were given.

        Returns
        -------
        source : Source
            The same rows. If it reads the column itself, its blocks have it.
        values
            None if it does; otherwise the values, perhaps laid out as the samples are.
        """
        ...


@runtime_checkable
class CountsRows(Protocol):
    """A source whose chunks may be of unknown length until they are read."""

    def counted(self) -> tuple[Source, Sequence[int]]:
        """Count the rows of every chunk, which reads or computes what tells it.

        Returns
        -------
        source : Source
            The same rows, numbered where the count allows it.
        n_rows : sequence of int
            Rows of each chunk.
        """
        ...


@runtime_checkable
class Rechunkable(Protocol):
    """A source that can be had in other chunks."""

    def regularly_chunked(self) -> Source:
        """Return the same rows with a regular grid: cells of one size, but the last along each axis.

        Raises
        ------
        ValueError
            The sizes of the chunks are not known.
        """
        ...


@runtime_checkable
class HasNanRule(Protocol):
    """A source that can leave out rows with a NaN or a null, or keep them with holes.

    Attributes
    ----------
    nan : {'error', 'drop', 'keep'}
        What it does with them.
    """

    @property
    def nan(self) -> NanRule: ...  # noqa: D102

    def with_nan(self, nan: NanRule) -> Source:
        """Return the same rows under another rule; predictions have the positions of all of them."""
        ...


def nan_rule_of(source: Source) -> NanRule:
    """Return what a source does with rows that have a NaN; those that know no rule refuse them."""
    return source.nan if isinstance(source, HasNanRule) else "error"


@runtime_checkable
class HoldsValues(Protocol):
    """A source of labelled arrays, which can be had with other values in the same places."""

    def with_values(self, values: Any) -> Source:
        """Return a source of these values, features last, whose answers have the same labels."""
        ...


@runtime_checkable
class HasErrors(Protocol):
    """A source whose rows may have columns of their errors beside them."""

    @property
    def has_errors(self) -> bool:
        """Whether they do."""
        ...


@runtime_checkable
class SelectsFeatures(Protocol):
    """A source whose features have names, of which it can be had with some, in any order."""

    def select_features(self, names: Sequence[str]) -> Source:
        """Return the same rows with these features, in this order; itself where it has not all of them."""
        ...


@runtime_checkable
class HasFeatureDim(Protocol):
    """A source of labelled arrays that knows along which dimension of theirs the features lie."""

    @property
    def feature_dim(self) -> Hashable | None:
        """The dimension; None where it was not named."""
        ...


@runtime_checkable
class HasCoordinates(Protocol):
    """A source whose samples lie on coordinates."""

    @property
    def coordinates(self) -> xr.Dataset:
        """The coordinates of the samples, without variables."""
        ...


@runtime_checkable
class KeepsKeys(Protocol):
    """A source whose blocks can have the keys of their rows beside them."""

    def with_keys(self, names: Sequence[str]) -> Source:
        """Return the same rows with ``Block.keys``: these columns, and the index where there is one.

        Raises
        ------
        DataError
            A column that is not there.
        """
        ...
