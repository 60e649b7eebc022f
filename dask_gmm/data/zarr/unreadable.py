"""Errors for arrays that are there and cannot be read: for damage, or what is not installed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from json import JSONDecodeError

import numcodecs.errors
import zarr
from zarr.errors import MetadataValidationError, UnknownCodecError

from dask_gmm.errors import DataError

_DAMAGED = (JSONDecodeError, UnicodeDecodeError, MetadataValidationError, KeyError, TypeError)
_UNKNOWN_CODEC = (UnknownCodecError, numcodecs.errors.UnknownCodecError)
# Nothing but its words tells that a ValueError of Zarr is about metadata.
_ABOUT_METADATA = re.compile(
    r"No Zarr data type|Unknown chunk grid|Unknown chunk key|Array metadata contains|.*[cC]odec"
)
_QUOTED = re.compile(r"'+([\w.:-]+)'+")
# The packages of codecs that neither Zarr nor numcodecs bring, by patterns; the first that fits counts.
_PACKAGES = (
    (r"imagecodecs|jpeg|jxl|avif|webp|lerc|png|heif", "imagecodecs"),
    (r"(numcodecs\.)?(zfpy|pcodec|crc32c|msgpack2)$", "numcodecs[{}]"),
    (r"numcodecs\.", "numcodecs"),
    (r"FITS|grib$|fill_hdf|record_member|zlib_?hdf", "kerchunk"),
    (r"gribberish", "gribberish"),
    (r"wavpack", "wavpack-numcodecs"),
    (r"flac", "flac-numcodecs"),
    (r"virtual_tiff", "virtual-tiff"),
    (r"blosc2", "blosc2"),
)


def unreadable_error(error: Exception, name: str) -> DataError | None:
    """Return the error for an array or group that could not be opened, None where that is not its fault."""
    missing = missing_codec_error(error, name)
    if missing is not None:
        return missing
    if isinstance(error, _DAMAGED):
        return DataError(
            f"The Zarr metadata of {name} cannot be read: {type(error).__name__}: {error}. "
            "They are damaged, or were written by another version."
        )
    if isinstance(error, ValueError) and _ABOUT_METADATA.match(str(error)):
        return DataError(
            f"{name} cannot be read by Zarr {zarr.__version__}: {error}. A newer version, or a package that "
            "adds to Zarr, may know it; else write the array again as one of numbers that it knows."
        )
    return None


def missing_codec_error(error: Exception, name: str) -> DataError | None:
    """Return the error for an array of which a codec is not installed, None for any other cause."""
    for cause in _causes(error):
        if isinstance(cause, ImportError):
            return DataError(
                f"{name} cannot be decoded here: {cause}. Install what is missing wherever rows are read, on "
                "workers, too."
            )
        if isinstance(cause, _UNKNOWN_CODEC):
            found = _QUOTED.search(str(cause))
            codec = found[1] if found else str(cause)
            return DataError(
                f"{name} is encoded with the codec {codec!r}, which is not installed. {_advice(codec)} "
                "wherever rows are read, on workers, too."
            )
    return None


def _advice(codec: str) -> str:
    for pattern, package in _PACKAGES:
        if re.match(pattern, codec):
            return f"Install {package.format(codec.removeprefix('numcodecs.'))}"
    return "Install the package that brings it"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
