"""Zarr's compressors, stopped at the size which an array's metadata announce."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self

import numcodecs.abc
from zarr.abc.codec import ArrayArrayCodec, BytesBytesCodec
from zarr.codecs import BytesCodec, ShardingCodec

from dask_gmm.data.zarr.decoding import COMPRESSORS, DECLARED, decode_in_bounds

# A codec may make larger what it cannot compress, and the one after it then decodes to that.
_LARGER, _HEADER_BYTES = 2, 4096
# A shard of the smallest chunks is larger still.
_CODECS_PER_SHARD = 4
# The most bytes that a filter of Zarr format 2 makes of one: it may turn bits into numbers.
_FILTERED = 16


@dataclass(frozen=True)
class BoundedCodec(BytesBytesCodec):  # type: ignore[misc]
    """A compressor of Zarr format 3 that refuses to decode more than a chunk has.

    Attributes
    ----------
    codec : BytesBytesCodec
        The compressor.
    n_before : int
        Number of codecs that the bytes went through before this one, when they were encoded.
    """

    codec: Any
    n_before: int

    is_fixed_size = False

    def evolve_from_array_spec(self, array_spec: Any) -> Self:
        """Return the codec for a chunk's shape and data type."""
        return replace(self, codec=self.codec.evolve_from_array_spec(array_spec))

    def to_dict(self) -> Any:
        """Return the codec's own configuration."""
        return self.codec.to_dict()

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: Any) -> int:
        """Return the size of encoded bytes, where the codec knows."""
        return int(self.codec.compute_encoded_size(input_byte_length, chunk_spec))

    async def _decode_single(self, chunk_data: Any, chunk_spec: Any) -> Any:
        n_bytes = math.prod(chunk_spec.shape) * chunk_spec.dtype.to_native_dtype().itemsize
        kind, configuration = _kind(self.codec), self.codec.to_dict().get("configuration", {})
        most = _encoded_at_most(n_bytes, self.n_before)
        decode = partial(decode_in_bounds, kind, configuration, chunk_data.as_numpy_array(), most)
        # A look at a header takes less than the way to another thread.
        decoded = decode() if kind in DECLARED else await asyncio.to_thread(decode)
        if decoded is None:
            return await self.codec._decode_single(chunk_data, chunk_spec)
        return chunk_spec.prototype.buffer.from_bytes(decoded)

    async def _encode_single(self, chunk_data: Any, chunk_spec: Any) -> Any:
        return await self.codec._encode_single(chunk_data, chunk_spec)


class BoundedCompressor(numcodecs.abc.Codec):  # type: ignore[misc]
    """A compressor of Zarr format 2 that refuses to decode more than a chunk has.

    Parameters
    ----------
    codec : numcodecs.abc.Codec
    most : int
        Number of bytes that it may decode to.
    """

    codec_id = "dask-gmm.bounded"

    def __init__(self, codec: Any, most: int) -> None:
        self.codec, self.most = codec, most

    def encode(self, buf: Any) -> Any:
        """Return the encoded bytes."""
        return self.codec.encode(buf)

    def decode(self, buf: Any, out: Any = None) -> Any:
        """Return the decoded bytes; raise OversizedError where there are too many."""
        decoded = decode_in_bounds(self.codec.codec_id, self.codec.get_config(), buf, self.most)
        return self.codec.decode(buf, out) if decoded is None else decoded

    def get_config(self) -> Any:
        """Return the codec's own configuration."""
        return self.codec.get_config()


def bound_codecs(metadata: Any) -> Any:
    """Return an array's metadata with compressors that refuse to decode more than a chunk has."""
    if metadata.zarr_format == 3:
        return replace(metadata, codecs=_bound_each(metadata.codecs))
    n_bytes = math.prod(metadata.chunks) * metadata.dtype.to_native_dtype().itemsize
    # Filters too may be compressors: the bytes go through them, then through the compressor.
    filters = tuple(metadata.filters or ())
    most = n_bytes if not filters else _FILTERED * _encoded_at_most(n_bytes, len(filters))
    compressor = metadata.compressor and BoundedCompressor(metadata.compressor, most)
    bounded_filters = tuple(BoundedCompressor(codec, most) for codec in filters) or None
    return replace(metadata, compressor=compressor, filters=bounded_filters)


def _bound_each(codecs: tuple[Any, ...]) -> tuple[Any, ...]:
    found: list[Any] = []
    n_before = 0
    for codec in codecs:
        if isinstance(codec, ShardingCodec):
            inner, index = map(_bound_each, (codec.codecs, codec.index_codecs))
            found.append(replace(codec, codecs=inner, index_codecs=index))
            n_before += _CODECS_PER_SHARD
            continue
        compresses = isinstance(codec, BytesBytesCodec) and _kind(codec) in COMPRESSORS
        found.append(BoundedCodec(codec, n_before) if compresses else codec)
        # What comes before makes numbers of known types, or their plain bytes.
        n_before += not isinstance(codec, (ArrayArrayCodec, BytesCodec))
    return tuple(found)


def _kind(codec: Any) -> str:
    """Return the name in numcodecs of a codec of Zarr format 3."""
    name: str = codec.to_dict()["name"]
    return name.removeprefix("numcodecs.")


def _encoded_at_most(n_bytes: int, n_compressors: int) -> int:
    for _ in range(n_compressors):
        n_bytes = _LARGER * n_bytes + _HEADER_BYTES
    return n_bytes
