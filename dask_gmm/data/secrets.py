"""Keep credentials where they were given: not in tasks, names, reprs, logs or files.

Workers take theirs from their own environment, configuration files or roles.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_SECRET_NAME = re.compile(
    r"key([_-]?id)?$|secret|token|passw|passphrase|pwd|credential|signature$|(^|[_-])(sig|auth|sas)$"
    r"|authorization|cookie|connection_?string",
    re.IGNORECASE,
)
# gcsfs names its ways of finding a token in the option `token`; they hold no secret
_WAYS_TO_A_TOKEN = ("anon", "cloud", "google_default", "cache")
_USER_AND_PASSWORD = re.compile(r"(?<=://)[^/?#\s]*:[^/?#\s]*@")
_PARAMETER = re.compile(r"(?<=[?&])([^=&#/]+)=[^&#]*&?")
# What clients make of such URLs in their errors: a bucket of that name, an encoded path.
_QUOTED_USER_AND_PASSWORD = re.compile(r"(?<![^\s\"'(])[^\s\"'(/:@]+:[^\s\"'/@]+@")
_ENCODED_PARAMETER = re.compile(r"(%3F|%26)([^%&=/\s]+)%3D[^%&/\s\"']*", re.IGNORECASE)


def without_secrets(storage_options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the storage options without credentials, ready to be pickled or shown.

    Options named like a credential are left out at any depth, and so is every value that is not plain
    (a string, number, boolean, None, list, tuple or dict): a session object may carry anything.

    Examples
    --------
    >>> without_secrets({"key": "id", "secret": "s", "anon": False, "client_kwargs": {"region": "eu"}})
    {'anon': False, 'client_kwargs': {'region': 'eu'}}
    """
    return {
        name: _clean(value)
        for name, value in (storage_options or {}).items()
        if _is_plain(value) and not _is_secret(str(name), value)
    }


def public_url(url: str) -> str:
    """Return the URL without ``user:password@`` and without query parameters named like a credential.

    Examples
    --------
    >>> public_url("https://me:pw@host/x.parquet?version=3&X-Amz-Signature=abc")
    'https://host/x.parquet?version=3'
    """
    url = _USER_AND_PASSWORD.sub("", url)
    url = _PARAMETER.sub(lambda match: "" if _SECRET_NAME.search(match[1]) else match[0], url)
    return re.sub(r"[?&]+(?=#|$)", "", url) if "://" in url else url


def public_text(text: str) -> str:
    """Return an error's text without the credentials of a URL that it quotes, as a whole or in part.

    Examples
    --------
    >>> public_text("Invalid bucket name 'me:pw@bucket' in s3://me:pw@bucket/x")
    "Invalid bucket name 'bucket' in s3://bucket/x"
    """
    text = _QUOTED_USER_AND_PASSWORD.sub("", public_url(text))
    return _ENCODED_PARAMETER.sub(lambda match: match[1] if _SECRET_NAME.search(match[2]) else match[0], text)


def _is_secret(name: str, value: Any) -> bool:
    says_nothing = value is None or isinstance(value, bool) or value in _WAYS_TO_A_TOKEN
    return bool(_SECRET_NAME.search(name)) and not says_nothing


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (str, int, float, list, tuple, Mapping))


def _clean(value: Any) -> Any:
    if isinstance(value, Mapping):
        return without_secrets(value)
    if isinstance(value, (list, tuple)):
        return [_clean(item) for item in value if _is_plain(item)]
    return public_url(value) if isinstance(value, str) else value
