"""Reading that is tried again while a store fails."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dask_gmm.config import READ_DEADLINE
from dask_gmm.data.source import Block, Reader
from dask_gmm.errors import ChunkTooLargeError
from dask_gmm.storage.retries import patiently


class PatientReader:
    """A reader that tries again while its store fails.

    Parameters
    ----------
    reader : Reader
        Its errors name the object, in their text or a note.
    """

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        # The configuration's where the reader is made, not where it reads.
        self.deadline = READ_DEADLINE.get()

    def read(self, index: int) -> Block:
        """Read chunk `index`.

        Raises
        ------
        StoreError
        DataError
        ChunkTooLargeError
        """
        return patiently(lambda: self._read(index), f"Chunk {index} cannot be read", self.deadline)

    def _read(self, index: int) -> Block:
        try:
            return self.reader.read(index)
        except ChunkTooLargeError:
            raise
        except MemoryError as error:
            raise ChunkTooLargeError(
                f"Chunk {index} does not fit into memory: {error}. Rechunk the data, or read them where "
                "there is more memory."
            ) from error

    def supply(self, results: Mapping[Any, Any]) -> None:
        """Take the results of futures."""
        self.reader.supply(results)
