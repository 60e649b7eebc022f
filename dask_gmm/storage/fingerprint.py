"""Short texts that change when stored rows do, found without reading the rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

# What tells one version of an object from the next, the best first; each store has its own name for it.
_VERSIONS = ("ETag", "etag", "md5Hash", "content_md5", "mtime", "LastModified", "last_modified", "updated")
_BLOCK_ROWS = 1 << 16


def version(info: Mapping[str, Any]) -> str:
    """Return the size and the version of a stored object, by what fsspec tells of it."""
    found = next((info[name] for name in _VERSIONS if info.get(name) is not None), info.get("created"))
    return f"{info['size']} bytes, {found}"


def of_parts(parts: Iterable[object]) -> str:
    """Return the fingerprint of several values, by their texts."""
    return sha256("\n".join(map(str, parts)).encode()).hexdigest()[:16]


def of_array(array: NDArray[Any]) -> str:
    """Return the fingerprint of an array's elements."""
    digest = sha256(f"{array.dtype.str}{array.shape}".encode())
    for first in range(0, len(array), _BLOCK_ROWS):
        digest.update(np.ascontiguousarray(array[first : first + _BLOCK_ROWS]).data)
    return digest.hexdigest()[:16]


def extended(fingerprint: str | None, *others: str | None) -> str | None:
    """Return a fingerprint as it is, or joined with others if there are some."""
    return joined(fingerprint, *others) if others else fingerprint


def joined(*fingerprints: str | None) -> str | None:
    """Return the fingerprint of several things by theirs, None where one of them has none."""
    return None if None in fingerprints else of_parts(fingerprints)
