"""Predictions in a Zarr group."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import zarr
from fsspec.core import url_to_fs
from zarr.codecs import BloscCodec, Crc32cCodec

from dask_gmm.data.sample_grid import SampleGrid
from dask_gmm.storage.redaction import sent_url, without_secrets
from dask_gmm.writing.target import Column, Identity, Values, continues

_NOTE = "dask_gmm_predictions"

# Labels have few bits that say something, and writing them should not take longer than finding them. With the
# checksum a bit that flips in the store is noticed when it is read.
_COMPRESSORS = (BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle"), Crc32cCodec())


@dataclass(frozen=True)
class ZarrTarget:
    """A Zarr group with an array for each column, whose chunks are those of the samples.

    Attributes
    ----------
    url : str
    storage_options : mapping
    grid : SampleGrid
        Of regular cells.
    columns : tuple of Column
    dims : tuple of str or None
        Names of the samples' dimensions, by which xarray opens the group.
    """

    url: str
    storage_options: Mapping[str, Any]
    grid: SampleGrid
    columns: tuple[Column, ...]
    dims: tuple[str | None, ...] | None = None

    def prepare(self, identity: Identity, overwrite: bool) -> None:
        """Make the group and its arrays; see `Target.prepare`."""
        filesystem, path = url_to_fs(self.url, **self.storage_options)
        if filesystem.exists(path) and filesystem.find(path, maxdepth=2):
            group = self._group("r")
            note = None if group is None else group.attrs.get(_NOTE)
            if not continues(note, identity, overwrite, self.url):
                assert note is not None
                self._remove(note)
        group = zarr.open_group(self.url, mode="a", storage_options=self._options)
        if group.attrs.get(_NOTE) != identity:
            group.attrs[_NOTE] = dict(identity)
        self._make_arrays(group)

    def _group(self, mode: Any) -> Any:
        try:
            return zarr.open_group(self.url, mode=mode, storage_options=self._options)
        except (FileNotFoundError, ValueError, zarr.errors.BaseZarrError):
            return None

    def _remove(self, note: Identity) -> None:
        """Remove what was written for this note, and nothing else that may be in the group."""
        group = zarr.open_group(self.url, mode="r+", storage_options=self._options)
        for name in note["outputs"]:
            if name in group:
                del group[name]

    @property
    def _options(self) -> dict[str, Any] | None:
        return dict(self.storage_options) or None

    def _make_arrays(self, group: Any) -> None:
        cell = tuple(starts.step for starts in self.grid.starts if isinstance(starts, range))
        for column in self.columns:
            if column.name in group:
                continue
            more = () if column.n_columns is None else (column.n_columns,)
            names = None if self.dims is None else (*self.dims, *("component" for _ in more))
            group.create_array(
                column.name,
                shape=(*self.grid.shape, *more),
                chunks=(*cell, *more),
                dtype=column.dtype,
                fill_value=column.missing,
                dimension_names=names,
                compressors=_COMPRESSORS,
            )

    def finished(self) -> set[int]:
        """Return the cells that every array has; an empty cell is stored like any other."""
        filesystem, path = url_to_fs(self.url, **self.storage_options)
        complete = set(range(len(self.grid)))
        for column in self.columns:
            metadata = zarr.open_array(self.url, path=column.name, mode="r", storage_options=self._options)
            root = f"{path.rstrip('/')}/{column.name}"
            stored = {name.removeprefix(root).lstrip("/") for name in filesystem.find(root)}
            last = () if column.n_columns is None else (0,)
            encode = metadata.metadata.encode_chunk_key
            complete = {i for i in complete if encode((*self.grid.position(i), *last)) in stored}
        return complete

    def write(self, index: int, values: Values) -> None:
        """Write a cell of each array: one chunk, which the store replaces as a whole."""
        region, shape = self.grid.region(index), self.grid.cell_shape(index)
        for column in self.columns:
            array = _open_array(pickle.dumps((self.url, column.name, self._options, column, self.grid)))
            array[region] = values[column.name].reshape(*shape, *values[column.name].shape[1:])

    def __reduce__(self) -> tuple[Any, ...]:
        options = without_secrets(self.storage_options)
        return ZarrTarget, (sent_url(self.url), options, self.grid, self.columns, self.dims)


@lru_cache(maxsize=64)
def _open_array(address: bytes) -> Any:
    # One that was replaced by an array of another shape has another address.
    url, name, options, *_ = pickle.loads(address)
    # A chunk of nothing but the fill value is stored too: what is not there is not finished.
    return zarr.open_array(
        url, path=name, mode="r+", storage_options=options, config={"write_empty_chunks": True}
    )
