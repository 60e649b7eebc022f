"""scikit-learn's callbacks: the levels of a fit as tasks, progress bars, monitors, stopping from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pytest
from distributed import Client, LocalCluster
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from dask_gmm import GaussianMixture

if TYPE_CHECKING:
    from sklearn.callback import ProgressBar, ScoringMonitor
else:
    callback = pytest.importorskip("sklearn.callback", reason="scikit-learn has no callbacks before 1.9")
    ProgressBar, ScoringMonitor = callback.ProgressBar, callback.ScoringMonitor


class Recorder:
    """Writes down the beginnings and ends of tasks."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.events: list[tuple[str, str, int, int | None]] = []
        self.fitted: list[Any] = []
        self.metadata: list[Any] = []
        self.set_up = self.torn_down = 0
        self.stop_after = stop_after

    def setup(self, estimator: Any, context: Any) -> None:
        self.set_up += 1

    def teardown(self, estimator: Any, context: Any) -> None:
        self.torn_down += 1

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        self.events.append(("begin", context.task_name, context.task_id, context.max_subtasks))

    def on_fit_task_end(
        self, estimator: Any, context: Any, *, fitted_estimator: Any = None, metadata: Any = None
    ) -> bool:
        self.events.append(("end", context.task_name, context.task_id, context.max_subtasks))
        self.metadata.append(metadata)
        if context.task_name == "pass":
            self.fitted.append(fitted_estimator)
        return context.task_name == "pass" and len(self.fitted) == self.stop_after

    def count(self, name: str) -> int:
        begun, ended = ([kind, name] in ([e[0], e[1]] for e in self.events) for kind in ("begin", "end"))
        assert begun == ended
        return sum(event[:2] == ("end", name) for event in self.events)


def uncounted(rows: Any, n_chunks: int) -> Any:
    """Return rows whose chunks have unknown sizes: each is a group of its own."""
    lazy = da.from_array(rows, chunks=(-(-len(rows) // n_chunks), -1))
    return lazy[da.isfinite(lazy[:, 0])]


def test_levels_in_memory(make_rows):
    recorder = Recorder()
    fitted = GaussianMixture(3, random_state=0).set_callbacks(recorder).fit(make_rows())
    assert recorder.events[0][:3] == ("begin", "fit", 0)
    assert recorder.events[-1][:3] == ("end", "fit", 0)
    # The rows are at hand, so that finding a start takes no pass.
    assert recorder.count("start") == 0
    assert recorder.count("pass") == fitted.n_iter_
    assert (recorder.set_up, recorder.torn_down) == (1, 1)


@pytest.mark.parametrize("n_init", [1, 3])
def test_levels_of_chunks(make_rows, n_init):
    recorder = Recorder()
    fitted = GaussianMixture(5, random_state=0, n_init=n_init, max_iter=200).set_callbacks(recorder)
    fitted.fit(uncounted(make_rows(), 4))
    n_passes = recorder.count("pass")
    # Restarts share passes: the longest decides.
    assert n_passes == fitted.n_iter_ if n_init == 1 else n_passes >= fitted.n_iter_
    assert recorder.count("start") == 1
    assert recorder.count("group of chunks") == 4 * (n_passes + 1)
    assert {event[3] for event in recorder.events if event[1] in ("start", "pass")} == {4}
    numbers = [event[2] for event in recorder.events if event[:2] == ("begin", "group of chunks")]
    assert numbers == [0, 1, 2, 3] * (n_passes + 1)


def test_levels_on_a_cluster(make_rows):
    X = uncounted(make_rows(), 4)
    recorder = Recorder()
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
        Client(cluster),
    ):
        fitted = GaussianMixture(3, random_state=0).set_callbacks(recorder).fit(X)
    assert recorder.count("group of chunks") == 4 * (fitted.n_iter_ + 1)


def test_a_given_start_needs_no_task(make_rows):
    rows, recorder = make_rows(), Recorder()
    start = GaussianMixture(2, random_state=0).fit(rows)
    again = GaussianMixture(
        2, means_init=start.means_, weights_init=start.weights_, precisions_init=start.precisions_
    )
    again.set_callbacks(recorder).fit(uncounted(rows, 3))
    assert recorder.count("start") == 0


def test_callbacks_do_not_change_the_fit(make_rows):
    X = uncounted(make_rows(), 3)
    heard = GaussianMixture(3, random_state=0).set_callbacks(Recorder()).fit(X)
    silent = GaussianMixture(3, random_state=0).fit(X)
    np.testing.assert_array_equal(heard.means_, silent.means_)
    assert heard.lower_bounds_ == silent.lower_bounds_


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_each_pass_hands_out_a_fitted_estimator(make_rows):
    rows, recorder = make_rows(), Recorder()
    GaussianMixture(3, random_state=0).set_callbacks(recorder).fit(rows)
    assert len(recorder.fitted) > 2
    for n_iter, snapshot in enumerate(recorder.fitted[:3], start=1):
        expected = GaussianMixture(3, random_state=0, max_iter=n_iter).fit(rows)
        assert snapshot.n_iter_ == n_iter
        np.testing.assert_array_equal(snapshot.means_, expected.means_)
        np.testing.assert_array_equal(snapshot.predict(rows), expected.predict(rows))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("n_init", [1, 3])
def test_a_callback_can_stop_the_fit(make_rows, lazy, n_init):
    rows = make_rows()
    stopped = GaussianMixture(4, random_state=0, n_init=n_init).set_callbacks(Recorder(stop_after=2))
    stopped.fit(uncounted(rows, 3) if lazy else rows)
    assert stopped.n_iter_ == 2
    assert not stopped.converged_
    assert np.isfinite(stopped.score(rows))


def test_metadata_are_the_weights(make_rows):
    recorder, weights = Recorder(), np.full(600, 2.0)
    GaussianMixture(2, random_state=0).set_callbacks(recorder).fit(make_rows(), sample_weight=weights)
    assert recorder.metadata[-1]["sample_weight"] is weights


class Failing(Recorder):
    def on_fit_task_end(self, estimator: Any, context: Any) -> bool:
        raise RuntimeError("callback failed")


@pytest.mark.parametrize("lazy", [False, True])
def test_an_error_in_a_callback_ends_the_fit_as_any_error(make_rows, lazy):
    rows, callback = make_rows(), Failing()
    estimator = GaussianMixture(2, random_state=0).set_callbacks(callback)
    with pytest.raises(RuntimeError, match="callback failed"):
        estimator.fit(uncounted(rows, 3) if lazy else rows)
    assert callback.torn_down == 1
    assert not hasattr(estimator, "means_")
    assert not hasattr(estimator, "_callback_fit_ctx")


def test_callbacks_are_torn_down_when_the_fit_fails(make_rows):
    recorder = Recorder()
    with pytest.raises(ValueError, match="NaN"):
        GaussianMixture(2).set_callbacks(recorder).fit(uncounted(np.full((9, 2), [1.0, np.nan]), 3))
    assert (recorder.set_up, recorder.torn_down) == (1, 1)


@pytest.mark.parametrize("method", ["fit", "fit_predict"])
def test_progress_bar(make_rows, capsys, method):
    pytest.importorskip("rich")
    getattr(GaussianMixture(2, random_state=0).set_callbacks(ProgressBar()), method)(
        uncounted(make_rows(), 3)
    )
    printed = capsys.readouterr().out
    assert "GaussianMixture" in printed
    assert "start" in printed
    assert "pass" in printed
    assert "100%" in printed


def test_scoring_monitor(make_rows):
    rows, monitor = make_rows(), ScoringMonitor(scoring={"score": GaussianMixture.score})
    fitted = GaussianMixture(3, random_state=0).set_callbacks(monitor).fit(rows)
    at_the_end, *after_passes = monitor.get_logs().data_as_pandas["score"]
    assert at_the_end == fitted.score(rows)
    # What a pass ends with is what the next one's bound measures.
    np.testing.assert_allclose(after_passes[:-1], fitted.lower_bounds_[1:], rtol=1e-12)
    assert len(after_passes) == fitted.n_iter_


def test_through_a_search(make_rows):
    rows, recorder = make_rows(), Recorder()
    bars = ProgressBar()
    search = GridSearchCV(GaussianMixture(random_state=0), {"n_components": [1, 2]}, cv=2).set_callbacks(bars)
    search.fit(rows)
    assert search.best_params_ == {"n_components": 2}
    pipeline = make_pipeline(GaussianMixture(2, random_state=0).set_callbacks(recorder))
    pipeline.fit(rows)
    assert recorder.count("pass") == pipeline[-1].n_iter_
