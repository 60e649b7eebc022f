"""Rows to fit, a source made by hand, and what it means for two models to be the same."""

from __future__ import annotations

import contextlib
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dask_gmm.checkpointing import Checkpoint
from dask_gmm.data.base_source import BaseSource
from dask_gmm.data.source import Block, Chunk
from dask_gmm.data.zarr import stored_array as stores

# Scripts, not tests: --doctest-modules would import them.
collect_ignore_glob = ["benchmarks/*", "mutants/run.py", "mutants/variants.py", "mutants/partly_observed.py"]

PARAMETERS = ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_")

MakeRows = Callable[..., NDArray[np.float64]]
SameModel = Callable[..., None]
Distance = Callable[[Any, Any], float]


def _make_rows(
    n_rows: int = 600, n_features: int = 3, n_components: int = 3, *, spread: float = 2.2, seed: int = 0
) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n_rows) % n_components)
    centres = rng.normal(size=(n_components, n_features))
    centres *= spread / np.linalg.norm(centres, axis=1, keepdims=True)
    shapes = np.eye(n_features) + 0.3 * rng.normal(size=(n_components, n_features, n_features))
    noise = rng.normal(size=(n_rows, n_features))
    return centres[labels] + np.einsum("ij,ijk->ik", noise, shapes[labels])


def _distance(actual: Any, expected: Any) -> float:
    actual, expected = np.asarray(actual, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    assert actual.shape == expected.shape
    return float(np.max(np.abs(actual - expected)) / np.max(np.abs(expected)))


def _assert_same_model(actual: Any, expected: Any, rtol: float) -> None:
    for name in PARAMETERS:
        distance = _distance(getattr(actual, name), getattr(expected, name))
        assert distance <= rtol, f"{name} differ by {distance:.2g}"


class Pieces(BaseSource):
    """A source made by hand: arrays, one a chunk, read as if from afar.

    Attributes
    ----------
    reads : list of int
        The chunks read, in the order of the ends of reading.
    """

    numbered = True

    def __init__(
        self,
        pieces: Sequence[NDArray[Any]],
        weights: Sequence[NDArray[np.float64]] | None = None,
        seconds: Callable[[int], float] = lambda index: 0.0,
    ) -> None:
        self.pieces = pieces
        self.weights = weights
        self.seconds = seconds
        self.n_features = pieces[0].shape[1]
        self.dtype = pieces[0].dtype
        self.sample_shape = (sum(map(len, pieces)),)
        # Bytes unknown: each chunk is a task of its own.
        self.chunks = [Chunk(f"piece {index}", len(piece), None) for index, piece in enumerate(pieces)]
        self.reads: list[int] = []

    def reader(self, indices: Sequence[int]) -> Pieces:
        return self

    def supply(self, results: Mapping[Any, Any]) -> None:
        """Take nothing: the rows are here."""

    def read(self, index: int) -> Block:
        time.sleep(self.seconds(index))
        self.reads.append(index)
        first, piece = sum(map(len, self.pieces[:index])), self.pieces[index]
        columns = {} if self.weights is None else {"sample_weight": self.weights[index]}
        return Block(
            rows=piece,
            name=f"piece {index}",
            index=index,
            numbers=lambda: first + np.arange(len(piece)),
            columns=columns,
        )


@pytest.fixture(scope="session")
def make_source() -> type[Pieces]:
    """A source made of arrays: ``make_source([rows, more_rows])``."""
    return Pieces


@pytest.fixture(scope="session")
def make_rows() -> MakeRows:
    """Rows of a mixture, shuffled: ``make_rows(n_rows, n_features, n_components, spread=, seed=)``.

    Centres are `spread` away from zero, deviations are about one.
    """
    return _make_rows


@contextlib.contextmanager
def _s3_server() -> Iterator[str]:
    server = pytest.importorskip("moto.server").ThreadedMotoServer(port=0, verbose=False)
    s3fs = pytest.importorskip("s3fs")
    server.start()
    try:
        url = "http://{}:{}".format(*server.get_host_and_port())
        # All servers of a process share what they hold, and all clients what they know of a bucket.
        urllib.request.urlopen(urllib.request.Request(f"{url}/moto-api/reset", method="POST")).close()
        s3fs.S3FileSystem.clear_instance_cache()
        stores._from_address.cache_clear()
        yield url
    finally:
        server.stop()


@pytest.fixture(scope="session")
def s3_server() -> Callable[[], contextlib.AbstractContextManager[str]]:
    """Start an S3 server that holds nothing: ``with s3_server() as url``."""
    return _s3_server


@pytest.fixture(scope="session")
def relative_distance() -> Distance:
    """Largest difference of two arrays over the largest entry of the second."""
    return _distance


@pytest.fixture(scope="session")
def assert_same_model() -> SameModel:
    """Compare all parameters of two fitted estimators: ``assert_same_model(actual, expected, rtol)``."""
    return _assert_same_model


_COLUMNS = ("full", "tied", "diag", "spherical", "means", "bounds")
_ACCURACY = pytest.StashKey[dict[str, dict[str, float]]]()


@pytest.fixture
def fit_interrupted(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Any, int]]:
    """Fit with a checkpoint, again and again until no interruption comes between.

    ``fit_interrupted(fit, 5)`` raises after every fifth state saved, and returns what `fit` returned in the
    end and how often it was interrupted.
    """

    def fit_interrupted(fit: Callable[[], Any], every: int) -> tuple[Any, int]:
        save, n_saved, n_interruptions = Checkpoint.save, 0, 0

        def save_and_die(self: Checkpoint, state: Any) -> None:
            nonlocal n_saved
            save(self, state)
            n_saved += 1
            if n_saved % every == 0:
                raise KeyboardInterrupt

        monkeypatch.setattr(Checkpoint, "save", save_and_die)
        while True:
            try:
                return fit(), n_interruptions
            except KeyboardInterrupt:
                n_interruptions += 1

    return fit_interrupted


@pytest.fixture
def note_accuracy(request: pytest.FixtureRequest) -> Callable[[str, str, float], None]:
    """Put an error into the table at the end of the run: ``note_accuracy(case, column, error)``.

    Columns are covariance types (errors of their covariances), means and bounds. Of several errors in one
    place the largest is shown.
    """
    table = request.config.stash.setdefault(_ACCURACY, {})

    def note(case: str, column: str, error: float) -> None:
        line = table.setdefault(case, {})
        line[column] = max(error, line.get(column, 0.0))

    return note


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the table of accuracies."""
    table = config.stash.get(_ACCURACY, {})
    if not table:
        return
    terminalreporter.section("errors against EM in extended precision")
    terminalreporter.line(f"{'':<36}" + "".join(f"{column:>12}" for column in _COLUMNS))
    for case, line in table.items():
        errors = "".join(f"{line.get(column, np.nan):>12.1e}" for column in _COLUMNS)
        terminalreporter.line(f"{case:<36}{errors}")
