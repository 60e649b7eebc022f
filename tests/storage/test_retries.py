"""Stores that fail for a while are waited for; those that refuse, and damaged data, are not."""

from __future__ import annotations

import errno
import gzip
import pickle
from types import SimpleNamespace

import dask
import numpy as np
import pytest

from dask_gmm import GaussianMixture
from dask_gmm.data.patient_reader import PatientReader
from dask_gmm.errors import ChunkTooLargeError, DataError, StoreError, StoreMissingError, StoreRefusedError
from dask_gmm.storage import retries
from dask_gmm.storage.retries import patiently
from dask_gmm.storage.store_errors import verdict


def of_client(module, name, bases=(Exception,), **attributes):
    """Return an error as a client of a store raises it."""
    error = type(name, bases, {"__module__": module})("as the client says")
    for attribute, value in attributes.items():
        setattr(error, attribute, value)
    return error


def of_s3(status, code):
    response = {"ResponseMetadata": {"HTTPStatusCode": status}, "Error": {"Code": code}}
    return of_client("botocore.exceptions", "ClientError", response=response)


def caused(error, cause):
    error.__cause__ = cause
    return error


PASSING = {
    "503": of_s3(503, "SlowDown"),
    "500": of_s3(500, "InternalError"),
    "429": of_client("aiohttp.client_exceptions", "ClientResponseError", status=429),
    "late request": of_s3(400, "RequestTimeout"),
    "code only": of_client("botocore.exceptions", "ClientError", response={"Error": {"Code": "503"}}),
    "fsspec's 503": caused(OSError(errno.EBUSY, "Please reduce your request rate."), of_s3(503, "SlowDown")),
    "reset": ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
    "time-out": TimeoutError(),
    "cut body": caused(
        of_client("aiohttp.client_exceptions", "ClientPayloadError"),
        of_client("aiohttp.http_exceptions", "ContentLengthError", code=400),
    ),
    "gone server": of_client("botocore.exceptions", "EndpointConnectionError"),
    "any of obstore's": of_client("obstore.exceptions", "GenericError"),
    "stale handle": OSError(errno.ESTALE, "Stale file handle"),
    "refused before": caused(TimeoutError(), None),
}
# What was handled before the failure does not matter.
PASSING["refused before"].__context__ = of_s3(404, "NoSuchKey")

REFUSED = {
    "403": of_s3(403, "AccessDenied"),
    "expired": of_s3(400, "ExpiredToken"),
    "other region": caused(OSError(errno.EREMCHG, "use another endpoint"), of_s3(301, "PermanentRedirect")),
    "no credentials": of_client("botocore.exceptions", "NoCredentialsError"),
    "azure": of_client("azure.core.exceptions", "ClientAuthenticationError", status_code=401),
    "obstore": of_client("obstore.exceptions", "PermissionDeniedError"),
    "requests": of_client("requests.exceptions", "HTTPError", response=SimpleNamespace(status_code=403)),
    "system": PermissionError(errno.EACCES, "Permission denied"),
}
MISSING = {
    "404": caused(FileNotFoundError("bucket"), of_s3(404, "NoSuchBucket")),
    "azure": of_client("azure.core.exceptions", "ResourceNotFoundError", status_code=404),
    "obstore": of_client("obstore.exceptions", "NotFoundError"),
    "system": FileNotFoundError(errno.ENOENT, "No such file or directory"),
}
LASTING = {
    "full disk": OSError(errno.ENOSPC, "No space left on device"),
    "checksum": of_client("botocore.exceptions", "ChecksumError"),
}
UNFIT = {
    "folder": IsADirectoryError(errno.EISDIR, "Is a directory"),
    "file": NotADirectoryError(errno.ENOTDIR, "Not a directory"),
    "name": OSError(errno.ENAMETOOLONG, "File name too long"),
    "read-only": OSError(errno.EROFS, "Read-only file system"),
    "region": of_client("botocore.exceptions", "InvalidS3UsEast1RegionalEndpointConfigError"),
}
OTHERS = {
    "data": DataError("no"),
    "shape": ValueError("no"),
    "content": OSError("file signature not found"),
    "gzip": gzip.BadGzipFile("no"),
    "no module": ModuleNotFoundError("no"),
    "code": of_client("compiler", "CompilerError", code=503),
}


@pytest.mark.parametrize(
    ("expected", "errors"),
    [
        ("passing", PASSING),
        ("refused", REFUSED),
        ("missing", MISSING),
        ("lasting", LASTING),
        ("unfit", UNFIT),
        (None, OTHERS),
    ],
    ids=str,
)
def test_errors_are_recognised(expected, errors):
    assert {name: verdict(error) for name, error in errors.items()} == dict.fromkeys(errors, expected)


@pytest.fixture
def clock(monkeypatch):
    """Time that passes in pauses only; the pauses so far."""
    clock = SimpleNamespace(now=0.0, pauses=[])

    def sleep(seconds):
        clock.pauses.append(seconds)
        clock.now += seconds

    monkeypatch.setattr(retries, "monotonic", lambda: clock.now)
    monkeypatch.setattr(retries, "sleep", sleep)
    return clock


def failing(*errors):
    """Return an action that raises these one after another before it succeeds, and counts its calls."""
    left = list(errors)

    def action():
        action.calls += 1
        if left:
            raise left.pop(0)
        return "read"

    action.calls = 0
    return action


def test_what_passes_is_tried_again_with_growing_pauses(clock, caplog):
    action = failing(*PASSING.values())
    assert patiently(action, "a.zarr", 1000.0) == "read"
    assert action.calls == 1 + len(PASSING)
    for number, pause in enumerate(clock.pauses):
        longest = min(0.5 * 2**number, 30.0)
        assert longest / 2 <= pause <= longest
    assert "a.zarr: ClientError: as the client says. Another try in" in caplog.text


def test_pauses_differ_from_worker_to_worker(clock):
    for _ in range(20):
        patiently(failing(TimeoutError()), "a.zarr")
    assert len(set(clock.pauses)) == 20


@pytest.mark.parametrize(
    ("errors", "kind"), [(REFUSED, StoreRefusedError), (MISSING, StoreMissingError), (LASTING, StoreError)]
)
def test_what_does_not_pass_is_told_at_once(clock, errors, kind):
    for error in errors.values():
        action = failing(error)
        with pytest.raises(kind, match=rf"^a\.zarr: {type(error).__name__}: "):
            patiently(action, "a.zarr")
        assert action.calls == 1
    assert clock.pauses == []


@pytest.mark.parametrize("name", OTHERS)
def test_errors_of_other_kinds_are_left_alone(clock, name):
    action = failing(OTHERS[name])
    with pytest.raises(type(OTHERS[name])) as raised:
        patiently(action, "a.zarr")
    assert raised.value is OTHERS[name]
    assert action.calls == 1


def test_the_deadline_ends_it(clock):
    with (
        dask.config.set({"dask-gmm.read-deadline": "2 minutes"}),
        pytest.raises(StoreError, match=r"dask-gmm\.read-deadline is 120 s"),
    ):
        patiently(failing(*[TimeoutError()] * 100), "a.zarr")
    assert 60 < clock.now <= 120


def test_nothing_is_begun_that_would_end_after_the_deadline(clock):
    def slow():
        clock.now += 40
        raise TimeoutError

    with pytest.raises(StoreError, match=r"for 80 s"):
        patiently(slow, "a.zarr", 100.0)
    assert clock.now < 100


def test_errors_hold_no_credentials(clock):
    error = TimeoutError("https://me:pw@host/x?X-Amz-Signature=s3cret")
    error.add_note("while reading https://me:pw@host/y")
    with pytest.raises(StoreError) as raised:
        patiently(failing(error), "a.zarr", 0.0)
    assert str(raised.value).startswith("a.zarr: TimeoutError: https://host/x, while reading https://host/y")
    assert raised.value.__suppress_context__
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)


def test_the_deadline_is_that_of_the_process_that_makes_the_reader(clock):
    class Failing:
        def read(self, index):
            raise TimeoutError

    with dask.config.set({"dask-gmm.read-deadline": "3 s"}):
        reader = PatientReader(Failing())
    with pytest.raises(StoreError, match=r"^Chunk 7 cannot be read: TimeoutError \(for [1-3] s; .* is 3 s"):
        reader.read(7)


def test_a_fit_reads_again(clock, make_rows, make_source):
    pieces = np.array_split(make_rows(), 4)

    class Failing(make_source):
        tries = 0

        def read(self, index):
            self.tries += 1
            if self.tries % 3 == 1:
                raise TimeoutError
            return super().read(index)

    quiet = GaussianMixture(3, random_state=0).fit(make_source(pieces))
    with dask.config.set(num_workers=1):
        fitted = GaussianMixture(3, random_state=0).fit(Failing(pieces))
    np.testing.assert_array_equal(fitted.means_, quiet.means_)
    assert len(clock.pauses) >= 4 * (1 + fitted.n_iter_) // 2


def test_a_chunk_without_memory_for_it_is_named():
    class Huge:
        def read(self, index):
            return np.empty((10**11, 10**3))

    with pytest.raises(ChunkTooLargeError, match=r"Chunk 3 does not fit into memory: Unable to allocate \d+"):
        PatientReader(Huge()).read(3)
