"""Wrong variants of what is made of rows with holes and errors; `variants` has them too."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
from variants import noticed_by, put

HOLES = "model/observation/test_holes.py::"
MEASURED = "model/observation/test_measured.py::"
MISSING = "mixture/test_missing.py::"
ERRORS = "mixture/test_errors.py::"


def component_of(kernel, k):
    """Return the kernel of one component's conditional moments alone."""
    one = copy.copy(kernel)
    one.n_components = 1
    for name in ("_means", "_matrices", "_products", "_peaks"):
        setattr(one, name, getattr(kernel, name)[k : k + 1])
    return one


def without_spread(kernel, rows, weights, sums):
    """Return the statistics of rows that were filled in, as if what was filled in were certain."""
    resp, sums = np.empty((len(rows), kernel.n_components)), sums.copy()
    kernel.responsibilities(rows.astype(np.float64), resp)
    factor = np.ones(len(rows)) if weights is None else weights
    i, j = np.triu_indices(rows.shape[1])
    for k in range(kernel.n_components):
        v = component_of(kernel, k).fill(rows) - kernel._means[k]
        sums[k, 1 + rows.shape[1] :] = np.einsum("n,np->p", resp[:, k] * factor, v[:, i] * v[:, j])
    return sums


# --- holes --------------------------------------------------------------------------------------------


@noticed_by(HOLES + "test_iterates_of_the_textbook")
def conditional_covariance_is_left_out():
    def make(statistics):
        def wrong(self, rows, weights):
            log_likelihood, sums = statistics(self, rows, weights)
            return log_likelihood, without_spread(self, rows, weights, sums)

        return wrong

    put("model.kernels.conditional:ConditionalKernel.statistics", make)


@noticed_by(HOLES + "test_weights_are_repetitions")
def conditional_covariance_knows_no_weights():
    def make(statistics):
        def wrong(self, rows, weights):
            log_likelihood, sums = statistics(self, rows, weights)
            if weights is None:
                return log_likelihood, sums
            _, plain = statistics(self, rows, None)
            spread = plain - without_spread(self, rows, None, plain)
            return log_likelihood, without_spread(self, rows, weights, sums) + spread

        return wrong

    put("model.kernels.conditional:ConditionalKernel.statistics", make)


@noticed_by(HOLES + "test_iterates_of_the_textbook", HOLES + "test_predictions_of_the_textbook")
def all_rows_of_a_tile_have_the_first_ones_holes():
    def make(pattern_order):
        def wrong(*args):
            order = pattern_order(*args)
            return order._replace(same=np.ones_like(order.same))

        return wrong

    put("model.kernels.patterns:pattern_order", make)


@noticed_by(MISSING + "test_every_kind_of_data", MISSING + "test_imputed_data_are_what_was_given")
def filled_rows_stay_in_the_order_of_their_holes():
    from dask_gmm.model.kernels.patterns import pattern_order

    put(
        "model.kernels.conditional:ConditionalKernel.fill",
        lambda fill: lambda self, rows: fill(self, rows)[pattern_order(rows, 24, 24).rows],
    )


@noticed_by(MISSING + "test_empty_rows_count_for_nothing")
def empty_rows_are_counted():
    from dask_gmm.model.statistics import Totals

    def make(accumulate):
        def wrong(self, statistics, observed):
            accumulate(self, statistics, observed)
            n_empty = int(np.isnan(observed.rows).all(axis=1).sum())
            statistics.totals.add(Totals(0.0, float(n_empty), n_empty))

        return wrong

    put("model.observation.holes:HolesKernel.accumulate", make)


@noticed_by(MISSING + "test_empty_rows_count_for_nothing")
def empty_rows_add_the_mixture_itself():
    def make(accumulate):
        def wrong(self, statistics, observed):
            accumulate(self, statistics, observed)
            n_empty = int(np.isnan(observed.rows).all(axis=1).sum())
            statistics.nk += n_empty * self.density.weights
            covariances = self.density.structure.inverse(self.density.precisions_cholesky)
            matrices = self.density.structure.as_matrices(covariances, *self.density.means.shape)
            i, j = np.triu_indices(self.density.n_features)
            packed = n_empty * self.density.weights[:, np.newaxis] * matrices[:, i, j]
            factors = self.density.precisions_cholesky
            statistics.second += self.density.structure.second_of_matrices(packed, factors)

        return wrong

    put("model.observation.holes:HolesKernel.accumulate", make)


@noticed_by(HOLES + "test_log_densities_to_fifty_digits", HOLES + "test_predictions_of_the_textbook")
def a_marginal_has_the_determinant_of_all_features():
    def make(log_density):
        def wrong(self, observed, out):
            log_density(self, observed, out)
            covariances = self.density.structure.inverse(self.density.precisions_cholesky)
            matrices = self.density.structure.as_matrices(covariances, *self.density.means.shape)
            whole = np.linalg.slogdet(matrices[0])[1]
            for i, row in enumerate(observed.rows):
                here = np.flatnonzero(~np.isnan(row))
                if len(here):
                    out[i] += 0.5 * (np.linalg.slogdet(matrices[0][np.ix_(here, here)])[1] - whole)

        return wrong

    put("model.observation.holes:HolesKernel.log_density", make)


@noticed_by(HOLES + "test_predictions_of_the_textbook")
def a_marginal_has_the_constant_of_all_features():
    def make(log_density):
        def wrong(self, observed, out):
            log_density(self, observed, out)
            out -= 0.5 * np.log(2 * np.pi) * np.isnan(observed.rows).sum(axis=1)

        return wrong

    put("model.observation.holes:HolesKernel.log_density", make)


@noticed_by(HOLES + "test_predictions_of_the_textbook")
def holes_are_filled_by_the_mixtures_weights():
    def make(fill):
        def wrong(self, rows):
            kernel = self.kernel
            each = [component_of(kernel, k).fill(rows) for k in range(kernel.n_components)]
            weights = np.full(kernel.n_components, 1.0 / kernel.n_components)
            return np.where(np.isnan(rows), np.tensordot(weights, np.array(each), 1), rows)

        return wrong

    put("model.covariance.matrices_with_holes:MatricesWithHoles.fill", make)


@noticed_by(HOLES + "test_predictions_of_the_textbook")
def holes_are_filled_by_the_most_probable_component():
    def make(fill):
        def wrong(self, rows):
            kernel, labels = self.kernel, np.empty(len(rows), np.int64)
            kernel.labels(rows, labels)
            each = np.array([component_of(kernel, k).fill(rows) for k in range(kernel.n_components)])
            return each[labels, np.arange(len(rows))]

        return wrong

    put("model.covariance.matrices_with_holes:MatricesWithHoles.fill", make)


@noticed_by(HOLES + "test_iterates_of_the_textbook")
def variances_count_rows_without_the_feature():
    put(
        "model.observation.holes:HolesKernel.completed",
        lambda _: lambda self, statistics, moments: self._complete.completed(statistics, moments),
    )


@noticed_by(HOLES + "test_iterates_of_the_textbook", HOLES + "test_any_patterns_chunks_and_weights")
def tied_scatter_has_rows_with_holes_too():
    def make(with_partial_rows):
        def wrong(self, rows, weights, inexact=None):
            return with_partial_rows(self, np.nan_to_num(rows), weights, inexact)

        return wrong

    put("model.moments:Moments.with_partial_rows", make)


@noticed_by(MISSING + "test_draws_follow_the_conditional_distribution")
def draws_are_expected_values():
    put("model.draws:ndtri", lambda ndtri: lambda numbers: 0.0 * ndtri(numbers))


@noticed_by(MISSING + "test_draws_follow_the_conditional_distribution")
def draws_forget_what_was_observed():
    def make(draw):
        def wrong(rows, mean, precision, seeds):
            drawn = draw(np.full_like(rows, np.nan), mean, precision, seeds)
            return np.where(np.isnan(rows), drawn, rows)

        return wrong

    put("model.draws:draw_conditionally", make)


@noticed_by(MISSING + "test_marginal_and_conditional_mixtures")
def a_marginal_takes_lines_of_the_precision():
    def make(selected):
        def wrong(self, covariances, features):
            return np.linalg.inv(selected(self, np.linalg.inv(covariances), features))

        return wrong

    put("model.covariance.full:Full.selected", make)


@noticed_by(MISSING + "test_marginal_and_conditional_mixtures")
def conditioning_leaves_the_weights():
    def make(conditioned):
        def wrong(self, *args):
            log_density, moves, covariances = conditioned(self, *args)
            return 0.0 * log_density, moves, covariances

        return wrong

    put("model.covariance.full:Full.conditioned", make)


# --- errors -------------------------------------------------------------------------------------------


def with_errors_of(change):
    """Change what the columns of a block say of its errors."""

    def make(errors_of):
        def wrong(columns, n_features):
            errors = errors_of(columns, n_features)
            return None if errors is None else change(errors)

        return wrong

    put("model.observation.measured:errors_of", make)


@noticed_by(MEASURED + "test_iterates_of_the_textbook")
def errors_are_not_squared():
    with_errors_of(lambda errors: replace(errors, deviations=np.sqrt(errors.deviations)))


@noticed_by(MEASURED + "test_iterates_of_the_textbook")
def errors_are_added_twice():
    with_errors_of(lambda errors: replace(errors, deviations=np.sqrt(2.0) * errors.deviations))


@noticed_by(MEASURED + "test_iterates_of_the_textbook")
def correlations_have_the_other_sign():
    with_errors_of(lambda errors: replace(errors, correlations=-errors.correlations))


@noticed_by(MEASURED + "test_iterates_of_the_textbook")
def correlations_belong_to_the_pair_before():
    with_errors_of(lambda errors: replace(errors, pairs=np.roll(errors.pairs, 1, axis=0)))


@noticed_by(MEASURED + "test_infinite_errors_are_holes", ERRORS + "test_infinite_errors_are_missing_values")
def an_infinite_error_is_a_large_one():
    with_errors_of(lambda errors: replace(errors, deviations=np.minimum(errors.deviations, 100.0)))


@noticed_by(MEASURED + "test_infinite_errors_are_holes")
def the_error_of_a_hole_makes_a_row_inexact():
    def make(seen):
        def wrong(self, observed):
            found = seen(self, observed)
            holes = np.isnan(found.rows.rows)
            some = holes.any(axis=1) & ~holes.all(axis=1) & (len(observed.columns) > 0)
            return replace(found, exact=found.exact & ~some)

        return wrong

    put("model.observation.measured:MeasuredRows._seen", make)


@noticed_by(MEASURED + "test_iterates_of_the_textbook")
def what_errors_leave_open_is_left_out():
    def make(statistics):
        def wrong(self, rows, errors, weights):
            log_likelihood, sums = statistics(self, rows, errors, weights)
            i, j = np.triu_indices(self.n_features)
            sums[:, 1 + self.n_features :] -= sums[:, :1] * self._covariances[:, i, j]
            return log_likelihood, sums

        return wrong

    put("model.kernels.noisy:NoisyKernel.statistics", make)


@noticed_by(MEASURED + "test_predictions")
def densities_leave_out_the_errors():
    def make(log_density):
        return lambda self, observed, out: self._exact.log_density(observed, out)

    put("model.observation.measured:MeasuredRows.log_density", make)


@noticed_by(MEASURED + "test_predictions")
def denoised_rows_are_those_that_were_measured():
    put("model.kernels.noisy:NoisyKernel.denoise", lambda _: lambda self, rows, errors: np.array(rows))


@noticed_by("fitting/test_survey.py::test_as_many_rows_as_asked_for_in_row_order")
def columns_stay_while_rows_are_sampled():
    def make(taken):
        return lambda columns, which: {name: each[: len(each[which])] for name, each in columns.items()}

    put("fitting.row_sample:_taken", make)


@noticed_by(ERRORS + "test_bad_errors_are_named_by_lazy_predictions")
def errors_are_not_checked_before_they_are_predicted_by():
    put("data.splitting:checked_answer", lambda _: lambda block, answer: answer.function(block))


@noticed_by(
    MEASURED + "test_units_do_not_matter", MEASURED + "test_errors_without_bound_are_those_of_missing_values"
)
def products_of_variances_leave_the_range():
    put(
        "model.kernels.errors_in_range:Units.rows",
        lambda rows: lambda self, given, errors: (*rows(self, given, errors)[:2], None),
    )


@noticed_by(HOLES + "test_iterates_of_the_textbook", MISSING + "test_empty_rows_count_for_nothing")
def empty_rows_are_not_seen():
    put("model.observation.holes:_empty", lambda _: lambda holes: np.zeros(len(holes), dtype=np.bool_))
