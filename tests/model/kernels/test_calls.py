"""What holds for every kernel: layouts, bits, empty input, threads, the cache on disk."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dask_gmm import compiled
from dask_gmm.model.kernels import quadratic as quadratic_module
from dask_gmm.model.kernels.centred import CentredKernel
from dask_gmm.model.kernels.quadratic import Features, QuadraticKernel

D, K = 5, 3
Kernel = QuadraticKernel | CentredKernel


def quadratic(dtype: Any = np.float64) -> Kernel:
    rng = np.random.default_rng(1)
    return QuadraticKernel(Features.products(D), np.ones(D), rng.normal(size=(K, 21)) / D, dtype=dtype)


def centred(dtype: Any = np.float64) -> Kernel:
    rng = np.random.default_rng(1)
    return CentredKernel(rng.normal(size=(K, D)), np.stack([np.eye(D)] * K), np.zeros(K), dtype)


both = pytest.mark.parametrize("make", [quadratic, centred])


def make_rows(n: int = 1000) -> NDArray[np.float64]:
    return np.random.default_rng(2).normal(size=(n, D))


def answers(kernel: Kernel, rows: NDArray[Any], weights: NDArray[Any] | None) -> list[NDArray[Any]]:
    labels, log_density = np.empty(len(rows), np.int64), np.empty(len(rows), rows.dtype)
    resp = np.empty((len(rows), K), rows.dtype)
    kernel.labels(rows, labels)
    kernel.log_density(rows, log_density)
    kernel.responsibilities(rows, resp)
    log_likelihood, statistics = kernel.statistics(rows, weights)
    return [labels, log_density, resp, np.array(log_likelihood), statistics]


def assert_same_bits(left: list[NDArray[Any]], right: list[NDArray[Any]]) -> None:
    for a, b in zip(left, right, strict=True):
        assert a.tobytes() == b.tobytes()


def read_only(rows: NDArray[Any]) -> NDArray[Any]:
    rows = rows.copy()
    rows.flags.writeable = False
    return rows


def strided(rows: NDArray[Any]) -> NDArray[Any]:
    wide = np.zeros((2 * len(rows), 3 * rows.shape[1]), rows.dtype)
    wide[::2, ::3] = rows
    return wide[::2, ::3]


def unaligned(rows: NDArray[Any]) -> NDArray[Any]:
    memory = np.empty(rows.nbytes + 1, np.uint8)
    view = memory[1:].view(rows.dtype).reshape(rows.shape)
    view[:] = rows
    return view


@both
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    "arrange", [np.asfortranarray, strided, read_only, unaligned, lambda rows: rows[::-1].copy()[::-1]]
)
def test_any_layout_gives_the_same_bits(
    make: Callable[..., Kernel], dtype: Any, arrange: Callable[[NDArray[Any]], NDArray[Any]]
) -> None:
    rows = make_rows().astype(dtype)
    weights = np.linspace(0, 2, len(rows))
    expected = answers(make(dtype), rows, weights)
    assert_same_bits(answers(make(dtype), arrange(rows), strided(weights[:, np.newaxis])[:, 0]), expected)


@both
def test_no_rows(make: Callable[..., Kernel]) -> None:
    log_likelihood, statistics = make().statistics(make_rows(0), None)
    assert log_likelihood == 0.0
    assert not statistics.any()


@both
def test_no_weights_are_ones(make: Callable[..., Kernel]) -> None:
    rows = make_rows()
    assert_same_bits(answers(make(), rows, None), answers(make(), rows, np.ones(len(rows))))


@both
def test_rows_of_weight_zero_count_for_nothing(make: Callable[..., Kernel]) -> None:
    rows = make_rows(400)
    weights = (np.arange(400) % 2).astype(np.float64)
    log_likelihood, statistics = make().statistics(rows, weights)
    expected_log_likelihood, expected = make().statistics(rows[1::2], None)
    assert log_likelihood == pytest.approx(expected_log_likelihood, rel=1e-14)
    np.testing.assert_allclose(statistics, expected, rtol=1e-13, atol=1e-12)


@both
def test_a_row_of_nan_is_nan_and_touches_no_other(make: Callable[..., Kernel]) -> None:
    rows = make_rows(100)
    expected = answers(make(), rows, None)[1]
    rows[7, 2] = np.nan
    log_density = answers(make(), rows, None)[1]
    assert np.isnan(log_density[7])
    np.testing.assert_array_equal(np.delete(log_density, 7), np.delete(expected, 7))
    assert np.isnan(make().statistics(rows, None)[0])


@both
def test_threads_do_not_disturb_each_other(make: Callable[..., Kernel]) -> None:
    kernel, rows = make(), make_rows(20_000)
    expected = answers(kernel, rows, None)
    with ThreadPoolExecutor(4) as pool:
        for got in pool.map(lambda _: answers(kernel, rows, None), range(8)):
            assert_same_bits(got, expected)


@both
def test_memory_does_not_grow_with_the_rows(make: Callable[..., Kernel]) -> None:
    tracemalloc = pytest.importorskip("tracemalloc")
    kernel, rows = make(), make_rows(200_000)
    kernel.statistics(rows[:10], None)
    tracemalloc.start()
    kernel.statistics(rows, None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < rows.nbytes / 4


@both
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros((3, D), np.int64), "got int64"),
        (np.zeros((3, D), ">f8"), "rows must be float64 or float32"),
        (np.zeros((3, D + 1)), r"of shape \(n, 5\); got float64 of shape \(3, 6\)"),
        (np.zeros(D), "of shape"),
    ],
)
def test_refuses_other_rows(make: Callable[..., Kernel], rows: NDArray[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make().statistics(rows, None)


@both
def test_refuses_outputs_that_do_not_fit(make: Callable[..., Kernel]) -> None:
    kernel, rows = make(), make_rows(10)
    with pytest.raises(ValueError, match=r"shape \(10,\); got float64 of shape \(9,\)"):
        kernel.statistics(rows, np.ones(9))
    with pytest.raises(ValueError, match="expected int64"):
        kernel.labels(rows, np.empty(10, np.int32))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected float64"):
        kernel.log_density(rows, np.empty(10, np.float32))
    with pytest.raises(ValueError, match=r"shape \(10, 3\)"):
        kernel.responsibilities(rows, np.empty((10, 4)))


def test_a_change_to_any_source_makes_the_cache_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    code_generator = compiled.njit(lambda: None).targetctx.codegen()
    cache = compiled._Cache(quadratic_module._pass)
    before = cache._index_key((), code_generator)
    assert cache._index_key((), code_generator) == before
    monkeypatch.setattr(compiled, "_sources_digest", lambda path: "another")
    assert cache._index_key((), code_generator) != before


@pytest.mark.long
def test_processors_with_narrower_vectors() -> None:
    """On any processor numba can be told to compile for one without AVX."""
    tests = [str(Path(__file__).with_name(f"test_{name}.py")) for name in ("quadratic", "centred", "softmax")]
    # Blocks of rows are shorter there, and no multiple of the rows whose systems are solved side by side.
    tests += [
        str(Path(__file__).parents[1] / "observation" / f"test_{name}.py") for name in ("holes", "measured")
    ]
    environment = {**os.environ, "NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    selected = "special or logarithm or sum_to or offsets or shape3-products or shape3-matrices"
    selected += " or iterates_of_the_textbook or holes_and_errors_together"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", selected, *tests]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout


@pytest.mark.long
def test_the_cache_goes_where_it_can_be_written(tmp_path: Path) -> None:
    script = (
        "import numpy as np; from dask_gmm.model.kernels.quadratic import Features, QuadraticKernel;"
        "from dask_gmm.model.kernels.quadratic import entry_point;"
        "kernel = QuadraticKernel(Features.squares(1), np.zeros(1), np.zeros((1, 3)));"
        "kernel.statistics(np.zeros((1, 1)), None);"
        "print(sum(entry_point(np.dtype(float), np.dtype(float)).stats.cache_hits.values()))"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    hits = [
        subprocess.run(
            [sys.executable, "-c", script], env=environment, check=True, capture_output=True, text=True
        ).stdout
        for _ in range(2)
    ]
    assert [int(line) for line in hits] == [0, 1]
    assert list((tmp_path / "cache").rglob("*.nbc"))
