"""Deliberately wrong variants of the package, for `run.py`: some test must notice each of them.

As a pytest plugin this patches the variant in that the environment variable DASK_GMM_VARIANT names.
"""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from importlib import import_module
from typing import Any

import numpy as np

Make = Callable[[Any], Any]


@dataclass(frozen=True)
class Variant:
    """A wrong variant.

    Attributes
    ----------
    patch : callable
        Puts it in; its docstring says what is wrong.
    tests : tuple of str
        Tests, relative to the folder of tests, of which one must fail.
    """

    patch: Callable[[], None]
    tests: tuple[str, ...]


VARIANTS: dict[str, Variant] = {}


def noticed_by(*tests: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Register a variant under its function's name."""

    def register(patch: Callable[[], None]) -> Callable[[], None]:
        VARIANTS[patch.__name__] = Variant(patch, tests)
        return patch

    return register


def put(path: str, make: Make) -> None:
    """Replace ``module:name`` or ``module:Class.name`` by what `make` makes of it, wherever it is used."""
    module_name, qualified = path.split(":")
    *owners, name = qualified.split(".")
    import_module("dask_gmm.mixture.gaussian_mixture")
    module = import_module(f"dask_gmm.{module_name}")
    owner = reduce(getattr, owners, module)
    original = vars(owner)[name]
    changed = make(original)
    setattr(owner, name, changed)
    for other in [other for key, other in sys.modules.items() if key.startswith("dask_gmm.") and not owners]:
        for alias in [alias for alias, value in vars(other).items() if value is original]:
            setattr(other, alias, changed)


def after_init(changes: Callable[[Any], dict[str, Any]]) -> Make:
    """Make an ``__init__`` that changes attributes afterwards, also of frozen dataclasses."""

    def make(original: Any) -> Any:
        def init(self: Any, *args: Any, **kwargs: Any) -> None:
            original(self, *args, **kwargs)
            for name, value in changes(self).items():
                object.__setattr__(self, name, value)

        return init

    return make


def on_blocks(change: Callable[[Any], Any]) -> None:
    """Change each block before it is surveyed and before its statistics are taken."""
    for path in ("fitting.survey:Survey.update", "fitting.reductions:EStep.update"):
        put(path, lambda update: lambda self, value, block: update(self, value, change(block)))


def without(block: Any, keep: Any) -> Any:
    columns = {name: column[keep] for name, column in block.columns.items()}
    return replace(block, rows=block.rows[keep], columns=columns, numbers=lambda: block.numbers()[keep])


def pytest_configure() -> None:
    """Put in the variant that the environment asks for."""
    name = os.environ.get("DASK_GMM_VARIANT")
    if name:
        VARIANTS[name].patch()


# --- iterations ---------------------------------------------------------------------------------------


@noticed_by("test_against_sklearn.py::test_reg_covar")
def half_the_reg_covar():
    put("model.mstep:maximize", lambda f: lambda *a, reg_covar, **k: f(*a, reg_covar=reg_covar / 2, **k))


@noticed_by("test_against_sklearn.py::test_when_to_stop")
def bound_after_the_m_step():
    from dask_gmm.fitting.reductions import LogLikelihood
    from dask_gmm.model.density import Density

    def make(advance):
        def wrong(passes, runs, *rest, **options):
            return [later(passes, run) for run in advance(passes, runs, *rest, **options)]

        def later(passes, run):
            (totals,) = passes._engine.run([LogLikelihood(Density.of(run.parameters), passes.rows.dtype)])
            last = replace(run.iterations[-1], lower_bound=totals.log_likelihood / totals.weight)
            return replace(run, iterations=(*run.iterations[:-1], last))

        return wrong

    put("fitting.iteration:advance_together", make)


@noticed_by("fitting/accelerate/test_surrogate.py::test_it_nears_the_optimum_on_all_rows")
def surrogate_step_the_wrong_way():
    def make(step):
        def wrong(at, em_step, em_on_sample):
            return step(at, em_on_sample(at), lambda parameters: em_on_sample(parameters))

        return wrong

    put("fitting.accelerate.surrogate:surrogate_step", make)


@noticed_by("fitting/init/test_restarts.py::test_a_third_of_many_stays_in_the_race")
def the_last_stay_in_the_race():
    put("fitting.init.successive_halving:_ranked", lambda ranked: lambda runs: ranked(runs)[::-1])


@noticed_by("engine/test_memory_pressure.py::test_tasks_give_back_where_memory_is_short")
def memory_is_kept_where_it_is_short():
    put("engine.memory_pressure:give_back_if_short", lambda give_back: lambda: None)


@noticed_by("checkpointing/test_resume.py::test_a_start_on_a_sample_and_its_race")
def another_sample_after_an_interruption():
    def other(state):
        return {"sampling": state.sampling and replace(state.sampling, seed=state.sampling.seed + 1)}

    put("fitting.state:FitState.__init__", after_init(other))


@noticed_by("test_against_sklearn.py::test_the_same_model_from_the_same_seed")
def n_init_ignored():
    put("fitting.settings:FitSettings.__init__", after_init(lambda settings: {"n_init": 1}))


@noticed_by("test_against_sklearn.py::test_the_same_model_from_the_same_seed")
def last_restart_wins():
    put("fitting.em:best_of", lambda best_of: lambda runs: runs[-1])


@noticed_by("test_against_sklearn.py::test_the_same_model_from_the_same_seed")
def all_restarts_from_one_place():
    put(
        "fitting.init.initialization:find_start",
        lambda f: lambda sample, settings, rs: f(sample, settings, copy.deepcopy(rs)),
    )


@noticed_by("test_against_sklearn.py::test_when_to_stop")
def one_iteration_more():
    put(
        "fitting.stopping:Stopping.__init__", after_init(lambda stopping: {"max_iter": stopping.max_iter + 1})
    )


@noticed_by("test_against_sklearn.py::test_when_to_stop")
def tolerance_relative_to_the_bound():
    put(
        "fitting.em:Run.is_done",
        lambda f: lambda run, stop: abs(run.change) < stop.tol * abs(run.lower_bound),
    )


@noticed_by("fitting/test_em.py::test_convergence")
def convergence_without_absolute_value():
    put("fitting.em:Run.is_done", lambda f: lambda run, stopping: run.change < stopping.tol)


@noticed_by("test_against_sklearn.py::test_when_to_stop")
def a_change_of_the_tolerance_converges():
    put("fitting.em:Run.is_done", lambda f: lambda run, stopping: abs(run.change) <= max(stopping.tol, 1e-4))


@noticed_by("test_against_sklearn.py::test_warm_start_goes_on")
def warm_start_forgets_the_bound():
    put("fitting.settings:WarmStart.__init__", after_init(lambda warm: {"lower_bound": -np.inf}))


@noticed_by("mixture/test_validation.py::test_collapse_tells_what_happened")
def collapse_papered_over():
    def make(well_defined):
        def wrong(covariance_type, weights, means, covariances, dtype):
            try:
                return well_defined(covariance_type, weights, means, covariances, dtype)
            except ValueError:
                more = np.eye(means.shape[1]) if covariance_type in ("full", "tied") else 1.0
                return well_defined(covariance_type, weights, means, covariances + 1e-3 * more, dtype)

        return wrong

    put("model.mstep:well_defined", make)


# --- statistics and parameters ------------------------------------------------------------------------


@noticed_by(
    "test_accuracy.py::test_against_extended_precision",
    "test_accuracy.py::test_a_start_of_our_own_does_not_feel_offsets",
)
def raw_moments():
    from dask_gmm.model.covariance.triangles import pack

    def about_zero(covariance_type, statistics, origins):
        nk, first = statistics.nk[:, np.newaxis], statistics.first
        if covariance_type in ("diag", "spherical"):
            more = 2 * first * origins + nk * origins**2
            more = more if covariance_type == "diag" else more.sum(axis=1)
        else:
            crossed = np.einsum("ki,kj->kij", first, origins)
            outer = np.einsum("ki,kj->kij", nk * origins, origins)
            more = pack(crossed + crossed.transpose(0, 2, 1) + outer)
            more = more if covariance_type == "full" else more.sum(axis=0)
        return replace(statistics, first=first + nk * origins, second=statistics.second + more)

    def make(maximize):
        def wrong(parameters, statistics, origins, **more):
            raw = about_zero(parameters.covariance_type, statistics, origins)
            return maximize(parameters, raw, np.zeros_like(origins), **more)

        return wrong

    put("model.mstep:maximize", make)


@noticed_by("test_against_sklearn.py::test_the_same_model_from_the_same_seed")
def tied_from_responsibilities():
    def make(of_single_rows):
        return lambda self, start, *more: of_single_rows(
            self, replace(start, all_rows=start.rows, all_weights=None), *more
        )

    put("model.covariance.tied:Tied.of_single_rows", make)


@noticed_by("test_against_sklearn.py::test_given_parts_of_the_start")
def tied_scatter_about_the_wrong_point():
    put("model.moments:Moments.scatter_about", lambda f: lambda self, origin: self.scatter)


@noticed_by("model/test_moments.py")
def merged_without_what_is_between():
    put(
        "model.moments:Moments.merged",
        lambda f: lambda self, other: f(self, replace(other, mean=self.mean if self.weight else other.mean)),
    )


@noticed_by("model/test_mstep.py::test_an_empty_component_stays_where_it_is")
def no_tiny_number_for_empty_components():
    put("model.mstep:guarded", lambda f: lambda nk, dtype: nk)


@noticed_by("test_against_sklearn.py::test_without_iterations_a_given_start_is_the_answer")
def lower_factor_of_given_precisions():
    put("model.covariance.matrices:factor_of_precision", lambda f: np.linalg.cholesky)


@noticed_by("test_against_sklearn.py::test_reg_covar")
def factors_not_transposed():
    put("model.covariance.matrices:inverse_transposed", lambda f: lambda lower: f(lower).T)


@noticed_by("test_against_sklearn.py::test_reg_covar")
def spherical_variances_summed():
    put(
        "model.covariance.spherical:Spherical.estimate",
        lambda f: lambda self, second, nk, shift, *more: f(self, second, nk, shift, *more) * shift.shape[1],
    )


@noticed_by("test_against_sklearn.py::test_reg_covar")
def sums_of_single_precision_rows():
    on_blocks(lambda block: replace(block, rows=block.rows.astype(np.float32)))


@noticed_by("model/observation/test_complete.py::TestChosen::test_rows_far_from_everything")
def probabilities_in_linear_space():
    def normalized(log_joint):
        joint = np.exp(log_joint)
        total = joint.sum(axis=1, keepdims=True)
        with np.errstate(all="ignore"):
            return np.log(total)[:, 0], np.log(joint) - np.log(total)

    from tests.model import reference

    reference.normalized = normalized
    put(
        "model.observation.complete:Complete.kernel",
        lambda f: lambda self, density, dtype: reference.ReferenceKernel(density),
    )


# --- rows and weights ---------------------------------------------------------------------------------


@noticed_by("test_weights.py::test_a_weight_is_a_number_of_rows")
def weights_ignored():
    on_blocks(lambda block: replace(block, columns={}))


@noticed_by("test_weights.py::test_a_weight_is_a_number_of_rows")
def mixing_weights_not_normalized():
    def make(maximize):
        def wrong(parameters, statistics, *args, **more):
            found = maximize(parameters, statistics, *args, **more)
            return replace(found, weights=statistics.nk / statistics.totals.n_rows)

        return wrong

    put("model.mstep:maximize", make)


@noticed_by("test_weights.py::test_the_start_counts_weights")
def start_ignores_weights():
    put(
        "fitting.init.initialization:find_start",
        lambda f: lambda sample, *more: f(replace(sample, weights=None), *more),
    )


@noticed_by("test_weights.py::test_bic_takes_the_sum_of_weights_for_n")
def criteria_count_rows():
    def make(totals_of):
        def wrong(self, *args):
            totals = totals_of(self, *args)
            return replace(totals, weight=float(totals.n_rows))

        return wrong

    put("mixture.predict:PredictingMixin._totals", make)


@noticed_by("test_invariants.py::test_any_chunking_gives_the_same_model")
def a_chunk_dropped():
    put(
        "engine.read_ahead:Blocks.__init__",
        lambda f: (
            lambda self, reader, indices, ahead: f(self, reader, indices[: max(1, len(indices) - 1)], ahead)
        ),
    )


@noticed_by("test_against_sklearn.py::test_reg_covar")
def last_row_of_a_tile_lost():
    on_blocks(lambda block: without(block, np.arange(len(block.rows)) % 128 != 127))


@noticed_by("fitting/test_mixtures.py")
def a_chunk_read_twice():
    def make(init):
        def wrong(self, reader, indices, ahead):
            reader.read(indices[0])
            init(self, reader, indices, ahead)

        return wrong

    put("engine.read_ahead:Blocks.__init__", make)


@noticed_by("test_invariants.py::test_the_same_bits_whoever_comes_first")
def merged_in_order_of_arrival():
    def wrong(self, number, values):
        with self._lock:
            self._put(0, values)

    put("engine.merge_tree:LocalMerges.add", lambda f: wrong)


@noticed_by("engine/test_blas.py")
def blas_left_alone():
    put("engine.blas:SingleBlasThread.__enter__", lambda f: lambda self: None)
    put("engine.blas:SingleBlasThread.__exit__", lambda f: lambda self, *error: None)


# --- the first pass -----------------------------------------------------------------------------------


@noticed_by("fitting/test_survey.py::test_a_bad_row_is_named")
def no_check_for_nan():
    put("data.checks:check_rows", lambda f: lambda block: None)


@noticed_by("fitting/test_survey.py::test_as_many_rows_as_asked_for_in_row_order")
def sample_in_order_of_keys():
    def make(chosen):
        def wrong(self, which):
            found = chosen(self, which)
            return chosen(found, np.argsort(found.keys)) if len(found.keys) else found

        return wrong

    put("fitting.row_sample:Drawn.chosen", make)


@noticed_by("test_invariants.py::test_a_sampled_start_does_not_depend_on_the_chunking")
def sampled_by_the_place_in_the_chunk():
    put("fitting.row_sample:Sampling.keys", lambda f: lambda self, numbers: f(self, np.arange(len(numbers))))


@noticed_by("test_against_sklearn.py::test_a_shared_random_state_ends_at_the_same_place")
def seed_of_the_sample_taken_from_the_stream():
    put("fitting.init.restarts:_seed", lambda f: lambda stream: int.from_bytes(stream.bytes(8), "little"))


# --- what a user sees ---------------------------------------------------------------------------------


@noticed_by("test_sklearn_interface.py::test_verbose_text")
def silent_verbose():
    put("reporting.verbose:Verbose.__init__", after_init(lambda verbose: {"_level": 0}))


@noticed_by("test_sklearn_interface.py::test_convergence_warning")
def no_convergence_warning():
    put("mixture.endings:warn_of_ending", lambda f: lambda *args, **kwargs: None)


@noticed_by("test_against_sklearn.py::test_when_to_stop")
def empty_lower_bounds():
    put("mixture.attributes:fitted_attributes", lambda f: lambda *args: {**f(*args), "lower_bounds_": []})


@noticed_by("test_against_sklearn.py::test_dtypes")
def double_precision_whatever_the_rows():
    put("mixture.attributes:fitted_attributes", lambda f: lambda run, dtype: f(run, np.dtype(np.float64)))


@noticed_by("test_against_sklearn.py::test_sample")
def shuffled_sample():
    def make(draw):
        def wrong(parameters, n_samples, random_state):
            X, y = draw(parameters, n_samples, random_state)
            order = np.random.RandomState(0).permutation(len(y))
            return X[order], y[order]

        return wrong

    put("model.sampling:draw", make)


@noticed_by("test_against_sklearn.py::test_the_first_of_equal_components")
def last_of_equal_components():
    def make(call):
        def wrong(self, block):
            if self.quantity != "labels":
                return call(self, block)
            resp = call(replace(self, quantity="probabilities", dtype=block.rows.dtype), block)
            return resp.shape[1] - 1 - resp[:, ::-1].argmax(axis=1)

        return wrong

    put("mixture.prediction:Prediction.__call__", make)


@noticed_by("mixture/test_validation.py::test_a_failed_fit_changes_nothing")
def a_failed_fit_leaves_traces():
    def make(fit):
        def wrong(estimator, *args):
            estimator.converged_ = False
            return fit(estimator, *args)

        return wrong

    put("mixture.fit_one:fit_one", make)


# --- rows that come later -----------------------------------------------------------------------------


@noticed_by("mixture/test_update.py::test_an_update_is_ems_step_on_all_rows")
def new_rows_evaluated_by_the_fitted_mixture():
    def make(step):
        def wrong(passes, before, settings, n_passes, dtype):
            fitted = settings.estimation.maximize(
                before.parameters,
                before.statistics,
                before.origins,
                reg_covar=settings.start.reg_covar,
                dtype=dtype,
            )
            return step(passes, replace(before, parameters=fitted), settings, n_passes, dtype)

        return wrong

    put("fitting.append:append_rows", make)


@noticed_by("mixture/test_update.py::test_updates_after_more_passes_begin_where_the_last_pass_was")
def each_pass_adds_the_new_rows_again():
    from dask_gmm.fitting.append import Appended

    def make(step):
        def wrong(passes, before, settings, n_passes, dtype):
            first = step(passes, before, settings, 1, dtype)
            done = first
            for _ in range(n_passes - 1):
                done = step(passes, replace(done.kept, parameters=done.parameters), settings, 1, dtype)
            return Appended(done.parameters, done.kept, first.totals)

        return wrong

    put("fitting.append:append_rows", make)


@noticed_by("model/test_factor.py::test_one_iterate_is_the_textbooks")
def factors_without_their_posterior_variance():
    put(
        "model.covariance.factor:of_spectrum",
        lambda f: lambda scaled, function: f(scaled, lambda s: np.zeros_like(s)),
    )


@noticed_by("model/test_factor.py::test_one_iterate_is_the_textbooks")
def noise_of_the_loadings_before():
    def make(with_noise):
        def wrong(self, loadings, noise, reg_covar):
            return with_noise(self, loadings, noise + 0.01 * (loadings**2).sum(axis=2), reg_covar)

        return wrong

    put("model.covariance.factor:Factor._with_noise", make)


@noticed_by("model/test_factor.py::test_one_iterate_is_the_textbooks")
def projected_moments_about_the_old_means():
    def make(about_means):
        def wrong(self, second, nk, shift, factors):
            return about_means(self, second, nk, np.zeros_like(shift), factors)

        return wrong

    put("model.covariance.factor:Factor._about_means", make)


@noticed_by("model/test_factor.py::TestTwoFactors::test_factors_are_roots_of_the_precisions")
def the_log_determinant_of_the_noise_alone():
    def make(log_det):
        def wrong(self, factors, n_components, n_features):
            return np.log(factors[:, :, -1]).sum(axis=1)

        return wrong

    put("model.covariance.factor:Factor.log_det", make)


@noticed_by("model/test_factor.py::TestTwoFactors::test_factors_are_roots_of_the_precisions")
def whitened_by_the_noise_alone():
    put("model.covariance.factor:times_root", lambda f: lambda rows, scaled, inverse=False: rows)


@noticed_by("model/test_factor.py::test_sums_do_not_depend_on_how_rows_are_kept")
def rows_are_kept_for_a_tile_only():
    def make(kept_rows):
        def wrong(self, n, n_rows):
            return n_rows

        return wrong

    def make_call(call):
        def wrong(self, rows, given, statistics):
            # Each tile for itself, the first one twice.
            first = call(self, rows[:50], [part[:50] for part in given], statistics)
            return first + call(self, rows, given, statistics)

        return wrong

    put("model.kernels.low_rank:FactorKernel._kept_rows", make)
    put("model.kernels.low_rank:FactorKernel._call", make_call)


@noticed_by("mixture/test_factor.py::test_attributes")
def rotations_are_counted_as_free():
    def make(n_free):
        def wrong(self, n_components, n_features):
            return (
                n_free(self, n_components, n_features)
                + n_components * self.n_factors * (self.n_factors - 1) // 2
            )

        return wrong

    put("model.covariance.factor:Factor.n_free", make)


@noticed_by("mixture/test_factor.py::test_attributes")
def loadings_in_no_order():
    put("model.covariance.factor:canonical", lambda f: lambda loadings, noise: loadings[:, :, ::-1])


@noticed_by("mixture/test_factor.py::test_strong_factors_are_computed_in_float64")
def strong_factors_in_float32():
    put("model.covariance.factor:Factor._is_single", lambda f: lambda self, factors: True)


@noticed_by("mixture/test_factor.py::test_marginals_and_conditions")
def conditions_with_the_factors_prior_variance():
    def make(shrinkage):
        return lambda squares: np.ones_like(squares)

    put("model.covariance.factor:shrinkage", make)


@noticed_by("model/test_factor.py::TestEqualNoise::test_what_it_makes_are_its_matrices")
def equal_noise_that_differs():
    def make(with_noise):
        def wrong(self, loadings, noise, reg_covar):
            return np.concatenate([loadings, noise[:, :, np.newaxis] + reg_covar], axis=2)

        return wrong

    put("model.covariance.factor:Factor._with_noise", make)


@noticed_by("model/estimation/test_background.py::test_statistics_of_the_textbook")
def a_background_without_its_volume():
    put(
        "model.parameters:Background.log_joint",
        lambda f: property(lambda self: np.log(self.weight) if self.weight > 0.0 else -np.inf),
    )


@noticed_by("model/estimation/test_background.py::TestOverBackground::test_weights_sum_to_one")
def weights_without_the_background():
    def make(maximize):
        def wrong(self, parameters, *arguments, **options):
            found = maximize(self, parameters, *arguments, **options)
            return replace(found, weights=found.weights / found.weights.sum())

        return wrong

    put("model.estimation.background:OverBackground.maximize", make)


@noticed_by("model/estimation/test_background.py::test_statistics_of_the_textbook")
def tied_moments_with_those_of_the_background():
    def make(over):
        def wrong(self, background, means):
            changed = over(replace(self, second_of_scatter=None), background, means)
            return replace(changed, second_of_scatter=self.second_of_scatter)

        return wrong

    put("model.kernels.prepared:Prepared.over", make)


@noticed_by("model/estimation/test_background.py::test_predictions_of_the_textbook")
def rows_of_the_background_are_the_nearest_components():
    def make(labels):
        def wrong(self, rows, out):
            before, self.background = self.background, -np.inf
            labels(self, rows, out)
            self.background = before

        return wrong

    put("model.kernels.kernel:Kernel.labels", make)


@noticed_by("mixture/test_background.py::test_its_volume_is_the_box_of_the_rows")
def a_box_of_the_last_chunk():
    put(
        "model.moments:Moments.with_box_of",
        lambda f: (
            lambda self, rows: replace(self, lowest=rows.min(axis=0) - 1.0, highest=rows.max(axis=0) + 1.0)
        ),
    )


@noticed_by("mixture/test_background.py::test_its_volume_is_the_box_of_the_rows")
def a_volume_from_the_data_is_free():
    put("mixture.fitted:n_free_of_background", lambda f: lambda estimator: 1)


@noticed_by("mixture/test_update.py::test_what_is_kept_makes_the_fitted_mixture")
def sums_of_an_undone_step_are_kept():
    from dask_gmm.model.kept_statistics import KeptStatistics

    def make(advance):
        def wrong(run, settings, expectation, passes):
            after = advance(run, settings, expectation, passes)
            kept = KeptStatistics(run.parameters, expectation.kernel.origins, expectation.statistics)
            return replace(after, kept=kept) if hasattr(after, "kept") else after

        return wrong

    put("fitting.iteration:_advance", make)


@noticed_by("mixture/test_partial_fit.py::test_one_step_by_its_definition")
def a_batch_about_its_own_origins():
    put("model.running_sums:recentred", lambda f: lambda statistics, *rest: statistics)


@noticed_by("mixture/test_partial_fit.py::test_one_step_by_its_definition")
def a_batch_counts_by_its_rows():
    def make(step):
        def wrong(self, batch, parameters, origins, size):
            share = size * batch.totals.weight / (batch.totals.weight + self.weight)
            return step(self, batch, parameters, origins, share)

        return wrong

    put("model.running_sums:RunningSums.step", make)


# They register themselves.
import_module("partly_observed")
