"""Clusters and stores among strangers: TLS throughout, and no key in anything that is written or printed."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import pickle
import traceback

import numpy as np
import pytest
import zarr
from click.testing import CliRunner
from distributed import performance_report
from distributed.security import Security

from dask_gmm import GaussianMixture, GaussianMixtureIC, from_zarr
from dask_gmm.cli import gmm
from dask_gmm.errors import StoreError

pytestmark = [
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

# Given in storage options, in the environment, and in URLs.
GIVEN, ENVIRONMENT, URL = "K3yGivenInOptions", "K3yOfTheEnvironment", "K3yInTheUrl"
KEYS = (GIVEN, ENVIRONMENT, URL)


def stored_rows(make_rows, url, **options):
    rows = make_rows(600)
    zarr.create_array(url, data=rows, chunks=(100, 3), **options)
    return rows


def test_a_fit_over_tls(tmp_path, make_client, make_rows, make_estimator, assert_same_bits):
    pytest.importorskip("cryptography")
    rows = stored_rows(make_rows, tmp_path / "x.zarr")
    quiet = make_estimator().fit(from_zarr(tmp_path / "x.zarr"))
    security = Security.temporary()
    client = make_client(
        2, {"distributed.comm.require-encryption": True}, security=security, protocol="tls://"
    )
    source = from_zarr(tmp_path / "x.zarr")
    fitted = make_estimator(checkpoint=tmp_path / "fit").fit(source)
    assert_same_bits(fitted, quiet)
    assert_same_bits(make_estimator(checkpoint=tmp_path / "fit").fit(source), quiet)
    np.testing.assert_array_equal(fitted.predict(source).compute(), quiet.predict(rows))
    workers = client.scheduler_info(n_workers=-1)["workers"]
    assert len(workers) == 2
    assert all(address.startswith("tls://") for address in (client.scheduler.address, *workers))


@pytest.fixture
def bucket(monkeypatch, s3_server):
    boto3 = pytest.importorskip("boto3")
    with s3_server() as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", f"id{ENVIRONMENT}")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", ENVIRONMENT)
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        boto3.client("s3").create_bucket(Bucket="bucket")
        yield "s3://bucket"


class Heard:
    """Everything that was printed, logged or asked for."""

    def __init__(self) -> None:
        self.texts: dict[str, str | bytes] = {}

    def assert_silent(self) -> None:
        for name, text in self.texts.items():
            content = text if isinstance(text, bytes) else text.encode()
            assert content, f"{name} is empty: nothing was tested"
            for key in KEYS:
                assert key.encode() not in content, f"{key} is in {name}"


def test_no_key_is_told(tmp_path, make_client, make_rows, bucket, caplog, capfd):
    heard = Heard()
    options = {"key": f"id{GIVEN}", "secret": GIVEN, "token": GIVEN}
    stored_rows(make_rows, f"{bucket}/x.zarr", storage_options=options)
    checkpoint = f"memory://me:{URL}@place/fit?token={URL}"
    caplog.set_level(logging.DEBUG, "dask_gmm")
    caplog.set_level(logging.DEBUG, "distributed")
    # Workers have keys of their own.
    client = make_client(2, env={name: os.environ[name] for name in os.environ if name.startswith("AWS_")})

    source = from_zarr(f"{bucket}/x.zarr", storage_options=options)
    estimator = GaussianMixture(
        3, random_state=0, tol=0.0, max_iter=4, verbose=2, verbose_interval=1, checkpoint=checkpoint
    )
    with performance_report(str(tmp_path / "report.html")):
        estimator.fit(source)
        labels = estimator.predict(source)
        labels.compute()
    estimator.save(tmp_path / "model")
    heard.texts["report"] = (tmp_path / "report.html").read_bytes()
    heard.texts["model"] = (tmp_path / "model").read_bytes()
    heard.texts["repr"] = (
        repr(estimator) + repr(source) + repr(labels) + repr(GaussianMixtureIC(checkpoint=checkpoint))
    )
    heard.texts["HTML"] = estimator._repr_html_() + labels._repr_html_()
    heard.texts["graph"] = pickle.dumps(dict(labels.__dask_graph__()))
    heard.texts["tasks"] = pickle.dumps(source.reader(range(len(source.chunks))))
    heard.texts["scheduler"] = repr(
        client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.get_events())
    )
    heard.texts["workers' logs"] = repr(client.get_worker_logs()) + repr(client.get_scheduler_logs())
    heard.texts["checkpoint"] = checkpoint_content(tmp_path, source)
    heard.texts["errors"] = errors(source, bucket, options, checkpoint)
    heard.texts["commands"] = commands(bucket, tmp_path)
    heard.texts["log"] = caplog.text
    heard.texts["printed"] = "".join(capfd.readouterr())
    heard.assert_silent()


def checkpoint_content(folder, source):
    GaussianMixture(3, random_state=0, max_iter=2, checkpoint=folder / "fit").fit(source)
    return (folder / "fit").read_bytes()


def errors(source, bucket, options, checkpoint):
    """Return the tracebacks of fits that cannot be, on a cluster."""
    told = []
    attempts = [
        lambda: GaussianMixture(4, random_state=0, checkpoint=checkpoint).fit(source),
        lambda: from_zarr(f"{bucket}/none.zarr", storage_options=options),
        lambda: from_zarr(f"memory://me:{URL}@place/none.zarr?token={URL}"),
        lambda: GaussianMixture.load(f"memory://me:{URL}@place/none?sig={URL}"),
    ]
    for attempt in attempts:
        try:
            attempt()
        except (OSError, ValueError) as error:
            told.append("".join(traceback.format_exception(error, limit=0)) + repr(error))
    assert len(told) == len(attempts)
    import boto3

    boto3.client("s3").delete_object(Bucket="bucket", Key="x.zarr/c/3/0")
    with pytest.raises((StoreError, ValueError)) as lost:
        GaussianMixture(3, random_state=0).fit(source)
    return "".join(told) + "".join(traceback.format_exception(lost.value)) + repr(lost.value)


def commands(bucket, folder):
    """Return what commands print: one that fits, one that cannot."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        zarr.create_array(
            f"{bucket}/y.zarr", data=np.random.default_rng(0).normal(size=(60, 2)), chunks=(20, 2)
        )
    for source in ("y.zarr", "none.zarr"):
        arguments = ["fit", f"{bucket}/{source}", "--n-components", "2", "--out", f"{folder}/m-{source}"]
        given = ["--checkpoint", f"memory://me:{URL}@place/{source}?token={URL}", "--n-workers", "0"]
        ended = CliRunner().invoke(gmm, [*arguments, *given])
        assert (ended.exit_code == 0) == (source == "y.zarr"), ended.output
        out.write(ended.output)
    return out.getvalue()
