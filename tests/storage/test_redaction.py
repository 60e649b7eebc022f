from __future__ import annotations

import pytest

from dask_gmm.storage.redaction import public_text, public_url, sent_url, without_secrets


def test_credentials_are_left_out_at_any_depth():
    options = {
        "key": "AKIA",
        "secret": "s3cret",
        "anon": False,
        "client_kwargs": {
            "endpoint_url": "http://u:pw@host:9",
            "aws_session_token": "t",
            "region_name": "eu",
        },
        "headers": {"Authorization": "Bearer t", "X-Api-Key": "t", "User-Agent": "me"},
        "config_kwargs": {"signature_version": "s3v4", "retries": {"max_attempts": 3}},
        "connection_string": "AccountKey=t",
        "account_name": "me",
        "sas_token": "t",
        "session": object(),
    }
    assert without_secrets(options) == {
        "anon": False,
        "client_kwargs": {"endpoint_url": "http://host:9", "region_name": "eu"},
        "headers": {"User-Agent": "me"},
        "config_kwargs": {"signature_version": "s3v4", "retries": {"max_attempts": 3}},
        "account_name": "me",
    }
    assert without_secrets(None) == {}


def test_ways_to_find_a_token_stay():
    assert without_secrets({"token": "anon"}) == {"token": "anon"}
    assert without_secrets({"token": {"refresh_token": "t"}}) == {}


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://bucket/a?.parquet", "s3://bucket/a?.parquet"),
        ("s3://bucket/a?/year=2020/key=3/*.parquet", "s3://bucket/a?/year=2020/key=3/*.parquet"),
        (
            "abfs://container@account.dfs.core.windows.net/x",
            "abfs://container@account.dfs.core.windows.net/x",
        ),
        ("ftp://me:p@ss@host/x", "ftp://host/x"),
        ("simplecache::https://me:pw@host/x", "simplecache::https://host/x"),
        ("https://h/x?sv=1&sig=abc&se=2", "https://h/x?sv=1&se=2"),
        ("https://h/x?X-Amz-Credential=a&X-Amz-Signature=b", "https://h/x"),
        ("/data/odd?", "/data/odd?"),
    ],
)
def test_urls_are_shown_without_credentials(url, shown):
    assert public_url(url) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('Invalid bucket name "me:pw@bucket": no', 'Invalid bucket name "bucket": no'),
        ("no endpoint http://h/b/x%3Fv%3D1%26X-Amz-Signature%3Dabc", "no endpoint http://h/b/x%3Fv%3D1%26"),
        ("ClientError: ask me@example.org: now", "ClientError: ask me@example.org: now"),
        ("container@account: no", "container@account: no"),
    ],
)
def test_errors_are_told_without_credentials(text, shown):
    assert public_text(text) == shown


@pytest.mark.parametrize(
    "url",
    [
        "/data/R&D_key=3/x.parquet",
        "/data/what?token=3/x.parquet",
        "memory://bucket/R&D_key=3/x.zarr",
        "memory://bucket/what?key=3/x.zarr",
        "s3://bucket/R&D_key=3/x.zarr",
        "https://host/R&D_key=3/x.parquet",
        "github://owner:repository@main/x.parquet",
    ],
)
def test_what_is_part_of_a_path_is_sent_as_it_is(url):
    assert sent_url(url) == url


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("https://me:pw@h/x?sv=1&sig=abc", "https://h/x?sv=1"),
        ("s3://me:pw@bucket/x", "s3://bucket/x"),
        ("simplecache::https://me:pw@h/x?sig=abc", "simplecache::https://h/x"),
        ("zip://a&b_key=1.parquet::https://h/x.zip?sig=abc", "zip://a&b_key=1.parquet::https://h/x.zip"),
        ("ftp://me:pw@h/x?key=abc", "ftp://h/x"),
    ],
)
def test_credentials_are_not_sent(url, sent):
    assert sent_url(url) == sent


def test_options_that_are_paths_stay():
    assert without_secrets({"fo": "/data/R&D_key=3/refs.json"}) == {"fo": "/data/R&D_key=3/refs.json"}
