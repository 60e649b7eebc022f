"""The form of a model file: a line to recognise and check it, a line of JSON, then the numbers.

::

    dask-gmm-model 1 <sha256>
    {..., "arrays": [{"name": "means_", "dtype": "<f8", "shape": [3, 2], "order": "C"}, ...]}
    <bytes of the arrays in the order of the list, little-endian, nothing between them>

The version is that of this layout. The checksum is of everything after the first line, so that
``tail -n +2 FILE | sha256sum`` gives it too. There is no pickle: reading runs nothing from the file.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.errors import ModelFileError

Arrays = dict[str, NDArray[Any]]

#: What every model file begins with.
MAGIC = b"dask-gmm-model "

_VERSION = 1
_FIRST_LINE = re.compile(re.escape(MAGIC) + rb"(?P<version>[1-9][0-9]{0,5}) (?P<checksum>[0-9a-f]{64})")
_DTYPES = {np.dtype(code).newbyteorder("<").str for code in "?bhiqBHIQefd"}


#: The errors that are raised where content of another structure is interpreted.
MALFORMED = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


def reason(error: Exception) -> str:
    """Return what a `MALFORMED` error says of a file, with its name where Python itself raised it."""
    return str(error) if type(error) is ValueError and error.args else repr(error)


def pack(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return the content of a file.

    Parameters
    ----------
    header : mapping
        Values that JSON can express.
    arrays : mapping of str to ndarray
        Boolean, integer or floating-point.

    Raises
    ------
    TypeError
        An array has a dtype of another kind.
    """
    little_endian = {name: _little_endian(name, array) for name, array in arrays.items()}
    listed = [
        {"name": name, "dtype": array.dtype.str, "shape": array.shape, "order": _order(array)}
        for name, array in little_endian.items()
    ]
    line = json.dumps({**header, "arrays": listed}, allow_nan=False).encode() + b"\n"
    numbers = [array.tobytes(order="A") for array in little_endian.values()]
    body = b"".join([line, *numbers])
    return MAGIC + f"{_VERSION} {sha256(body).hexdigest()}\n".encode() + body


def unpack(content: bytes, where: str) -> tuple[dict[str, Any], Arrays]:
    """Return the header and the arrays of a file with this content, bit for bit as they were packed.

    Parameters
    ----------
    content : bytes
    where : str
        What errors call the file.

    Raises
    ------
    ModelFileError
        It is another kind of file, has another version, or its checksum does not match.
    """
    first_line, _, body = content.partition(b"\n")
    found = _FIRST_LINE.fullmatch(first_line)
    if found is None:
        raise ModelFileError(f"{where} is not a model file of dask_gmm, or its beginning is damaged.")
    version = int(found["version"])
    if version != _VERSION:
        raise ModelFileError(
            f"{where} has format version {version}; this release of dask_gmm reads version {_VERSION}. "
            "Load it with the release that wrote it or a newer one."
        )
    if sha256(body).hexdigest() != found["checksum"].decode():
        raise ModelFileError(
            f"{where} is cut off or damaged: its checksum does not match. Copy or save it again."
        )
    line, _, numbers = body.partition(b"\n")
    try:
        header = json.loads(line)
        if not isinstance(header, dict):
            raise TypeError(f"a {type(header).__name__} as header")
        arrays = dict(_arrays(header.pop("arrays"), numbers))
    except MALFORMED as error:
        # `pack` writes no such file.
        raise ModelFileError(f"{where} does not hold what it declares: {error!r}") from error
    return header, arrays


def _little_endian(name: str, array: NDArray[Any]) -> NDArray[Any]:
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    if array.dtype.str not in _DTYPES:
        raise TypeError(f"{name} has dtype {array.dtype}, which a model file cannot hold.")
    return array


def _order(array: NDArray[Any]) -> str:
    # Kept because products with a transposed factor may round differently.
    return "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"


def _arrays(listed: list[dict[str, Any]], numbers: bytes) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield the arrays, once what is declared of all was checked against the bytes that there are."""
    ends = [0]
    names = [entry["name"] for entry in listed]
    if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise ValueError(f"names {names}")
    for entry in listed:
        if entry["order"] not in ("C", "F"):
            raise ValueError(f"order {entry['order']!r}")
        if entry["dtype"] not in _DTYPES:
            raise TypeError(f"dtype {entry['dtype']!r}")
        if not all(type(length) is int and 0 <= length <= len(numbers) for length in entry["shape"]):
            raise ValueError(f"shape {entry['shape']}")
        ends.append(ends[-1] + np.dtype(entry["dtype"]).itemsize * math.prod(entry["shape"]))
    if ends[-1] != len(numbers):
        raise ValueError(f"{ends[-1]} bytes of arrays declared, {len(numbers)} there")
    for entry, first, end in zip(listed, ends[:-1], ends[1:], strict=True):
        array = np.frombuffer(numbers[first:end], entry["dtype"]).reshape(
            entry["shape"], order=entry["order"]
        )
        # A copy, because the bytes of a file are read-only.
        yield entry["name"], array.astype(array.dtype.newbyteorder("="), copy=True)
