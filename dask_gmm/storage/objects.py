"""Stores of obstore, which reads objects faster than fsspec's clients and is used where it is installed.

obstore looks for credentials and endpoints in fewer places than fsspec's clients do. They are therefore
found here as those clients find them: for S3 by botocore, for Azure in the connection string. Google's
storage is left to gcsfs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from dask_gmm.storage.location import Location

# obstore gives up after 30 s by default, also on a chunk that is still coming.
_CLIENT = {"timeout": "5 minutes", "allow_http": True}
# Longer outages are waited for in `retries`, which logs each try.
_RETRIES = {"max_retries": 3, "retry_timeout": timedelta(seconds=30)}
_LIFETIME = timedelta(minutes=15)


def object_store(location: Location) -> Any:
    """Return obstore's store of what lies below a location, None where fsspec should read it.

    Parameters
    ----------
    location : Location
        Of its options, which are for fsspec, only ``anon`` has a meaning for obstore: with others the
        result is None.
    """
    make = _MAKERS.get(location.url.partition("://")[0])
    if make is None or set(location.storage_options) - {"anon"}:
        return None
    with suppress(ImportError):
        return make(location.url, bool(location.storage_options.get("anon")))
    return None


def _s3(url: str, anonymous: bool) -> Any:
    from botocore.session import Session
    from obstore.store import S3Store

    session = Session()
    client = session.create_client("s3")
    config = {"region": client.meta.region_name, "skip_signature": anonymous}
    if not client.meta.endpoint_url.endswith(".amazonaws.com"):
        config["endpoint"] = client.meta.endpoint_url
    credentials = None if anonymous else session.get_credentials()
    if credentials is None and not anonymous:
        return None
    more = {} if anonymous else {"credential_provider": _provider(credentials)}
    return S3Store.from_url(url, config=config, client_options=_CLIENT, retry_config=_RETRIES, **more)


def _provider(credentials: Any) -> Callable[[], dict[str, Any]]:
    def provide() -> dict[str, Any]:
        # botocore renews them when it must.
        frozen = credentials.get_frozen_credentials()
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": datetime.now(UTC) + _LIFETIME,
        }

    return provide


def _azure(url: str, anonymous: bool) -> Any:
    from obstore.store import AzureStore

    text = os.environ.get("AZURE_STORAGE_CONNECTION_STRING", "")
    parts = dict(part.split("=", 1) for part in text.split(";") if "=" in part)
    if anonymous or not {"AccountName", "AccountKey"} <= parts.keys():
        return None
    config = {"account_name": parts["AccountName"], "account_key": parts["AccountKey"]}
    if "BlobEndpoint" in parts:
        config["endpoint"] = parts["BlobEndpoint"].rstrip("/")
    return AzureStore.from_url(url, config=config, client_options=_CLIENT, retry_config=_RETRIES)


_MAKERS: Mapping[str, Callable[[str, bool], Any]] = {"s3": _s3, "abfs": _azure, "az": _azure}
