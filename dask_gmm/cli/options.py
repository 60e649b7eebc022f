"""The options of the commands, as tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click

from dask_gmm.cli.grouped import GroupedOption
from dask_gmm.model.covariance import NOISES, covariance_types

Command = Callable[..., Any]
COVARIANCE_TYPES = click.Choice(covariance_types())
_ARRAY = click.Path()


@dataclass(frozen=True, slots=True)
class Option:
    """One option.

    Attributes
    ----------
    name : str
        The parameter; the option is spelled with hyphens.
    kind : click type
    default : object
    help : str
    multiple : bool
        May be given several times.
    """

    name: str
    kind: Any
    default: Any
    help: str
    multiple: bool = False

    def added(self, command: Command, group: str) -> Command:
        """Add the option to a command, under the title `group` of its help."""
        decorated: Command = click.option(
            "--" + self.name.replace("_", "-"),
            self.name,
            cls=GroupedOption,
            group=group,
            type=self.kind,
            default=() if self.multiple else self.default,
            show_default=self.default is not None,
            multiple=self.multiple,
            is_flag=self.kind is bool,
            help=self.help,
        )(command)
        return decorated


#: The estimator's parameters apart from `n_components`, with its defaults.
ESTIMATOR = (
    Option("covariance_type", COVARIANCE_TYPES, "full", "Structure of the covariances."),
    Option("n_factors", int, 1, "For factor: the rank of what its covariances have besides variances."),
    Option("noise", click.Choice(NOISES), NOISES[0], "For factor: a variance per feature, or one."),
    Option("background", click.Choice(["uniform"]), None, "Rows may belong to no component: label -1."),
    Option("background_volume", float, None, "Of the background; the box of all rows without it."),
    Option("tol", float, 1e-3, "Stop when the mean log-likelihood changes by less, in nats per row."),
    Option("reg_covar", float, 1e-6, "Added to the variances, in squared units of the data."),
    Option("max_iter", int, 100, "Most passes over the data of a restart."),
    Option("n_init", int, 1, "Restarts; the best is kept."),
    Option(
        "init_params",
        click.Choice(["kmeans", "k-means++", "random", "random_from_data", "sample"]),
        "kmeans",
        "Where to start.",
    ),
    Option("weights_init", _ARRAY, None, "Weights to start from: a .npy file, local or a URL."),
    Option("means_init", _ARRAY, None, "Means to start from: a .npy file."),
    Option("precisions_init", _ARRAY, None, "Inverse covariances to start from: a .npy file."),
    Option("random_state", int, None, "Seed of the start."),
    Option("warm_start", _ARRAY, None, "Continue from the parameters of this model file."),
    Option("verbose", int, 0, "1 prints iterations on standard error, 2 also changes and times."),
    Option("verbose_interval", int, 10, "Iterations between two prints."),
    Option(
        "cache", click.Choice(["auto", "all", "none"]), "auto", "Rows that stay in memory between passes."
    ),
    Option("checkpoint", str, None, "Save every pass here, and go on from it when started again."),
    Option(
        "missing",
        click.Choice(["error", "em"]),
        "error",
        "With em, a NaN or null is a value that was not observed: fit by EM to what was.",
    ),
    Option("accelerate", bool, False, "Fewer passes to a small --tol, maybe to another optimum."),
    Option(
        "mean_prior",
        str,
        None,
        "Where means are expected: auto, or a .npy file.",
    ),
    Option("mean_precision_prior", str, None, "Rows that the prior of a mean is worth: auto, or a number."),
    Option("covariance_prior", str, None, "Scale of the covariances' prior: auto, a number, or a .npy file."),
    Option("degrees_of_freedom_prior", str, None, "Of the covariances' prior: auto, or a number."),
    Option(
        "contamination", float, None, "Share of anomalies; one more pass finds the log density below which."
    ),
)

_AS_FITTED = (
    "reg_covar",
    "n_init",
    "init_params",
    "random_state",
    "verbose",
    "cache",
    "checkpoint",
    "accelerate",
    "noise",
    "background",
    "background_volume",
    "missing",
    "mean_prior",
    "mean_precision_prior",
    "covariance_prior",
    "degrees_of_freedom_prior",
)

#: The parameters of `GaussianMixtureIC`, with its defaults.
SELECT = (
    Option("n_components", str, "1-10", 'Numbers of components to try, such as "1-10,16,32".'),
    Option("covariance_type", COVARIANCE_TYPES, None, "Structures to try; full without it.", multiple=True),
    Option("n_factors", str, "1", 'For factor: numbers of factors to try, such as "4,8,16".'),
    Option("criterion", click.Choice(["bic", "aic", "icl"]), "bic", "What chooses; the lowest wins."),
    Option("tol", str, "auto", "As for fit; auto goes on until what is left cannot change the choice."),
    Option("max_iter", int, 1000, "Most iterations of a restart."),
    *(option for option in ESTIMATOR if option.name in _AS_FITTED),
)

SOURCE = (
    Option(
        "format", click.Choice(["zarr", "parquet"]), None, "Kind of SOURCE; seen from its name otherwise."
    ),
    Option("column", str, None, "Parquet: a column that is a feature; all without it.", multiple=True),
    Option(
        "error_column",
        str,
        None,
        "The standard errors of a feature: a column, or an array of a Zarr group. One for each --column or "
        "--component, in their order.",
        multiple=True,
    ),
    Option(
        "filter",
        str,
        None,
        'Parquet: rows to use, such as "year>=2020"; several must all hold.',
        multiple=True,
    ),
    Option(
        "component",
        str,
        None,
        "Zarr: the array of a group. Given several times, arrays on one grid that are the features.",
        multiple=True,
    ),
    Option("feature_axis", int, None, "Zarr: the axis of the features; the last without it."),
    Option(
        "nan",
        click.Choice(["error", "drop"]),
        None,
        "Rows with a NaN or null: an error, or count for nothing; as the model was fitted without it.",
    ),
    Option(
        "missing_chunks",
        click.Choice(["auto", "error", "fill"]),
        None,
        "Zarr: what a missing chunk means; without it, auto.",
    ),
    Option(
        "decode",
        click.Choice(["yes", "no"]),
        None,
        "Zarr: whether packed numbers are unpacked by their attributes (CF conventions); yes without it.",
    ),
    Option(
        "storage_option",
        str,
        None,
        "For the store, as NAME=VALUE (JSON where it is JSON). Not for credentials: these come from the "
        "environment, configuration files or roles.",
        multiple=True,
    ),
)

BAYESIAN = Option(
    "bayesian", bool, False, "Fit a Bayesian mixture, which uses as many of the components as it needs."
)

#: What is done to the rows before they are fitted; the model file carries it.
STEPS = (
    Option("standardize", bool, False, "Divide by standard deviations first; the model file carries it."),
    Option(
        "pca",
        str,
        None,
        "Reduce to so many principal components first, or to those with such a share of the variance: 0.95.",
    ),
)

WEIGHT = Option(
    "sample_weight",
    str,
    None,
    "Weights of the rows: a column (Parquet) or array (Zarr) of SOURCE; with a slash or an ending, "
    "a .npy file or a Zarr array.",
)

OVERWRITE = Option("overwrite", bool, False, "Replace a file that is there.")

QUANTILES = Option(
    "quantiles", str, None, 'Shares of the rows whose quantiles to print, such as "0.005,0.5".'
)

CLUSTER = (
    Option("scheduler", str, None, "Address of a running scheduler; DASK_SCHEDULER_ADDRESS works too."),
    Option("scheduler_file", click.Path(dir_okay=False), None, "The file where it wrote its address."),
    Option("wait_for", int, 1, "Workers of that scheduler to wait for."),
    Option("tls_ca_file", click.Path(dir_okay=False), None, "TLS: the authority's certificate."),
    Option("tls_cert", click.Path(dir_okay=False), None, "TLS: this client's certificate."),
    Option("tls_key", click.Path(dir_okay=False), None, "TLS: its key."),
    Option(
        "n_workers",
        int,
        None,
        "Workers of the local cluster; 0 for the threads of this process. Without it, threads for rows of "
        "less than 256 MiB, and a cluster for more.",
    ),
    Option("threads", int, None, "Threads per worker."),
    Option("memory_limit", str, None, 'Memory per worker, such as "4 GiB".'),
    Option(
        "performance_report", click.Path(dir_okay=False), None, "Write Dask's HTML report here (needs bokeh)."
    ),
)

#: Of the local cluster, and what decides the size of a fit.
PLAN = (
    *(option for option in ESTIMATOR if option.name in ("covariance_type", "n_factors", "noise", "n_init")),
    *(option for option in CLUSTER if option.name in ("n_workers", "threads", "memory_limit")),
)

PREDICT = (
    Option(
        "output",
        click.Choice(["labels", "probabilities", "log_density", "anomaly", "top", "imputed"]),
        None,
        "What to write; labels without it. May be given several times.",
        multiple=True,
    ),
    Option("keep", str, None, "A column, or array of a Zarr group, to write beside the predictions.", True),
    Option("top", int, None, "Write this many of the likeliest components, and their probabilities."),
    Option("threshold", float, None, "Log density, in nats, below which a row is an anomaly; writes it."),
    Option("only_anomalies", bool, False, "Parquet: write only rows below the threshold, or the model's."),
    Option("out_format", click.Choice(["zarr", "parquet"]), None, "Kind of OUT; seen from its ending."),
    Option("out_storage_option", str, None, "For OUT's store, as NAME=VALUE.", multiple=True),
    Option("overwrite", bool, False, "Replace predictions of another model or other data."),
)

LOG = Option(
    "log",
    click.Choice(["human", "json"]),
    None,
    "What standard error gets; text on a terminal and JSON lines elsewhere without it.",
)


def options(*table: Option, **groups: Sequence[Option]) -> Callable[[Command], Command]:
    """Return a decorator that adds these options in this order.

    Parameters
    ----------
    *table : Option
        Those of the command itself.
    **groups : sequence of Option
        Others, by the title that help has for them, with underscores.
    """
    titled = [("Options", table), *((name.replace("_", " "), group) for name, group in groups.items())]

    def decorate(command: Command) -> Command:
        for title, group in reversed(titled):
            for option in reversed(group):
                command = option.added(command, title)
        return command

    return decorate
