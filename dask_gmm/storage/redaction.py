"""Keeping credentials out of tasks, names, reprs, logs and files.

They stay in the process where they were given. Workers take theirs from their own environment,
configuration files or roles.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fsspec import get_filesystem_class

_SECRET_NAME = re.compile(
    r"key([_-]?id)?$|secret|token|passw|passphrase|pwd|credential|signature$|(^|[_-])(sig|auth|sas)$"
    r"|authorization|cookie|connection_?string",
    re.IGNORECASE,
)
# gcsfs names its ways of finding a token in the option `token`; they hold no secret
_WAYS_TO_A_TOKEN = ("anon", "cloud", "google_default", "cache")
# Protocols in which what follows a question mark is no part of the path.
_WITH_QUERIES = ("http", "https")
# Protocols in which what stands before an @ is no user, but a path, or the owner of a repository.
_WITHOUT_USERS = ("file", "local", "memory", "github")
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
    """Return the URL, to be shown, without ``user:password@`` and parameters named like a credential.

    Examples
    --------
    >>> public_url("https://me:pw@host/x.parquet?version=3&X-Amz-Signature=abc")
    'https://host/x.parquet?version=3'
    >>> public_url("/data/R&D_key=3/x.parquet")
    '/data/R&D_key=3/x.parquet'
    """
    return "::".join(_without_query(_without_user(link)) for link in url.split("::"))


def sent_url(url: str) -> str:
    """Return the URL, to be opened elsewhere, without credentials.

    The result leads to the same place: what looks like a credential, but is a part of the path by the rules
    of its file system, stays.

    Examples
    --------
    >>> sent_url("https://me:pw@host/x.parquet?version=3&X-Amz-Signature=abc")
    'https://host/x.parquet?version=3'
    >>> sent_url("memory://what?key=3/x.parquet")
    'memory://what?key=3/x.parquet'
    """
    return "::".join(map(_sent_link, url.split("::")))


def _sent_link(link: str) -> str:
    if link.partition("://")[0] not in _WITHOUT_USERS:
        link = _without_user(link)
    redacted = _without_query(link)
    return redacted if _same_place(link, redacted) else link


def _without_user(link: str) -> str:
    return _USER_AND_PASSWORD.sub("", link)


def _without_query(link: str) -> str:
    """Return a URL without parameters that hold credentials; a path has none."""
    place, mark, query = link.partition("?")
    if "://" not in place or not mark:
        return link
    return re.sub(r"[?&]+(?=#|$)", "", place + _without_parameters(mark + query))


def _without_parameters(text: str) -> str:
    return _PARAMETER.sub(lambda match: "" if _SECRET_NAME.search(match[1]) else match[0], text)


def _same_place(link: str, redacted: str) -> bool:
    """Tell whether a file system looks in the same place without what was redacted."""
    protocol = link.partition("://")[0]
    if link == redacted or protocol in _WITH_QUERIES:
        return True
    try:
        strip = get_filesystem_class(protocol)._strip_protocol
        return bool(strip(link) == strip(redacted))
    except (ImportError, ValueError):
        return True  # nothing will be opened there


def public_text(text: str) -> str:
    """Return an error's text without the credentials of a URL that it quotes, as a whole or in part.

    Examples
    --------
    >>> public_text("Invalid bucket name 'me:pw@bucket' in s3://me:pw@bucket/x")
    "Invalid bucket name 'bucket' in s3://bucket/x"
    """
    text = _QUOTED_USER_AND_PASSWORD.sub("", _USER_AND_PASSWORD.sub("", text))
    text = _without_parameters(text)
    text = re.sub(r"[?&]+(?=#|$)", "", text) if "://" in text else text
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
    return sent_url(value) if isinstance(value, str) else value
