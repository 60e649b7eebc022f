"""Where predictions are written: chunk for chunk, each as a whole or not at all.

A target that is there is continued if it was made for the same predictions, which a note inside it tells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

from dask_gmm.storage.location import Location

Identity = Mapping[str, Any]
Values = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Column:
    """One thing that is written for each row.

    Attributes
    ----------
    name : str
    dtype : dtype
    n_columns : int or None
        None for one value a row.
    missing : scalar
        At rows that were dropped.
    """

    name: str
    dtype: np.dtype[Any]
    n_columns: int | None
    missing: float | bool | np.generic


class Target(Protocol):
    """A place for predictions; picklable, without secrets once pickled."""

    def prepare(self, identity: Identity, overwrite: bool) -> None:
        """Make the place, or check that what is there was made for the same.

        Raises
        ------
        FileExistsError
            Something else is there.
        """

    def finished(self) -> set[int]:
        """Return the chunks that are complete."""

    def write(self, index: int, values: Values, keys: pa.Table | None) -> None:
        """Write chunk `index`; `values` has an array for each column, `keys` what identifies the rows."""


def continues(note: Identity | None, identity: Identity, overwrite: bool, location: Location) -> bool:
    """Tell whether what is there is to be continued; False if it is to be replaced."""
    if note is None:
        # Even with overwrite: it may be anything, the rows themselves among it.
        raise FileExistsError(
            f"There is something at {location} that is no predictions of dask_gmm. Choose another place, or "
            "remove it yourself."
        )
    differing = [name for name in {**note, **identity} if note.get(name) != identity.get(name)]
    if not differing:
        return True
    if overwrite:
        return False
    raise FileExistsError(
        f"{location} holds other predictions; different are: {', '.join(differing)}. Choose another place, "
        "or replace them with overwrite=True."
    )
