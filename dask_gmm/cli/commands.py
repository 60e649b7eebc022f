"""The commands, their arguments and help texts. What a command needs is imported when it runs."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

from dask_gmm import __version__
from dask_gmm.cli.grouped import GroupedCommand
from dask_gmm.cli.options import (
    BAYESIAN,
    CLUSTER,
    ESTIMATOR,
    LOG,
    OVERWRITE,
    PLAN,
    PREDICT,
    QUANTILES,
    SELECT,
    SOURCE,
    STEPS,
    WEIGHT,
    options,
)
from dask_gmm.cli.outcome import EXIT_CODES, how_to_go_on, notes_to, run


@click.group(
    name="gmm",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EXIT_CODES,
)
@click.version_option(__version__, prog_name="dask-gmm")
@click.pass_context
def gmm(context: click.Context) -> None:
    """Gaussian mixtures for data larger than memory.

    Each command prints one JSON object on standard output, and how it goes on standard error. Options can
    also be set in Dask's configuration: --max-iter is dask-gmm.cli.max-iter in a file, and in the environment
    DASK_DASK_GMM__CLI__MAX_ITER.
    """
    context.default_map = _configured()


def _configured() -> dict[str, dict[str, Any]]:
    """Return the options set in Dask's configuration, for each command those that it has.

    Raises
    ------
    click.UsageError
        A name that is no option of any command.
    """
    import dask.config

    settings = dask.config.get("dask-gmm.cli", {}) or {}
    settings = {name.replace("-", "_"): value for name, value in settings.items()}
    known = {
        str(command.name): {
            option.name: option for option in command.params if isinstance(option, click.Option)
        }
        for command in gmm.commands.values()
    }
    for name in settings:
        if not any(name in options for options in known.values()):
            raise click.UsageError(
                f"Dask's configuration sets dask-gmm.cli.{name.replace('_', '-')}, which is no option."
            )
    return {
        command: {
            name: [value] if options[name].multiple and not isinstance(value, list) else value
            for name, value in settings.items()
            if name in options
        }
        for command, options in known.items()
    }


def _run(module: str, job: str, given: Mapping[str, Any]) -> None:
    def run_job(log: Any) -> Any:
        # Dask sets its log up when it is imported.
        command = getattr(import_module(f"dask_gmm.cli.{module}"), job)
        with notes_to(log):
            return command(given, log)

    run(run_job, given["log"], how_to_go_on(job, given))


@gmm.command(
    cls=GroupedCommand,
    short_help="Fit a mixture.",
    epilog=EXIT_CODES,
    example="dask gmm fit scans.zarr --n-components 8 --out scans.gmm",
)
@click.argument("source")
@click.option("--n-components", type=int, required=True, help="Number of components.")
@click.option("--out", required=True, help="The model file to write, local or a URL.")
@options(
    OVERWRITE,
    WEIGHT,
    LOG,
    Mixture=[*ESTIMATOR, BAYESIAN],
    Steps_before_it=STEPS,
    Rows=SOURCE,
    Where_it_runs=CLUSTER,
)
def fit(**given: Any) -> None:
    """Fit a mixture to SOURCE: a Zarr array or group, or Parquet files, local or a URL."""
    _run("fit_job", "fit", given)


@gmm.command(
    cls=GroupedCommand,
    short_help="Fit several, and keep the best.",
    epilog=EXIT_CODES,
    example="dask gmm select trips.parquet --column km --column fare --n-components 2-12 --out trips.gmm",
)
@click.argument("source")
@click.option("--out", required=True, help="The model file to write for the chosen one, local or a URL.")
@options(OVERWRITE, WEIGHT, LOG, Mixtures=SELECT, Steps_before_them=STEPS, Rows=SOURCE, Where_it_runs=CLUSTER)
def select(**given: Any) -> None:
    """Fit several mixtures to SOURCE in the same passes, and keep the one that a criterion chooses."""
    _run("select_job", "select", given)


@gmm.command(
    cls=GroupedCommand,
    short_help="Add new rows to a model.",
    epilog=EXIT_CODES,
    example="dask gmm update trips.gmm trips-2026.parquet --out trips.gmm --overwrite",
)
@click.argument("model")
@click.argument("source")
@click.option("--out", required=True, help="The model file to write, local or a URL.")
@click.option("--passes", type=click.IntRange(1), default=1, show_default=True, help="Passes over SOURCE.")
@options(OVERWRITE, WEIGHT, LOG, Rows=SOURCE, Where_it_runs=CLUSTER)
def update(**given: Any) -> None:
    """Add the rows of SOURCE, which are new, to those that MODEL was fitted to; these are not read again.

    The result is EM's next step on all rows together. It says by how much the log-likelihood of a new row
    differs from that of an old one: the drift, in nats.
    """
    _run("update_job", "update", given)


@gmm.command(
    cls=GroupedCommand,
    short_help="Write labels, densities or anomalies.",
    epilog=EXIT_CODES,
    example="dask gmm predict trips.parquet trips.gmm labels.parquet --keep trip_id --output labels",
)
@click.argument("source")
@click.argument("model")
@click.argument("out")
@options(LOG, What_is_written=PREDICT, Rows=SOURCE, Where_it_runs=CLUSTER)
def predict(**given: Any) -> None:
    """Write what MODEL says of each row of SOURCE to OUT, chunk for chunk.

    OUT is a Zarr group or a folder of Parquet files. Started again after a stop, the command writes what is
    missing.
    """
    _run("model_jobs", "predict", given)


@gmm.command(
    cls=GroupedCommand,
    short_help="Print the mean log density.",
    epilog=EXIT_CODES,
    example="dask gmm score trips.parquet trips.gmm --quantiles 0.005,0.5",
)
@click.argument("source")
@click.argument("model")
@options(QUANTILES, WEIGHT, LOG, Rows=SOURCE, Where_it_runs=CLUSTER)
def score(**given: Any) -> None:
    """Print the mean log density of SOURCE under MODEL, in nats per row."""
    _run("model_jobs", "score", given)


@gmm.command(
    cls=GroupedCommand,
    short_help="Print what the rows of each component are like.",
    epilog=EXIT_CODES,
    example="dask gmm summarize trips.parquet trips.gmm",
)
@click.argument("source")
@click.argument("model")
@options(QUANTILES, WEIGHT, LOG, Rows=SOURCE, Where_it_runs=CLUSTER)
def summarize(**given: Any) -> None:
    """Print counts, means, deviations and quantiles of the rows of SOURCE, for each component of MODEL."""
    _run("model_jobs", "summarize", given)


@gmm.command(
    cls=GroupedCommand,
    short_help="Print what a model is.",
    epilog=EXIT_CODES,
    example="dask gmm info trips.gmm",
)
@click.argument("model")
@options(LOG)
def info(**given: Any) -> None:
    """Print what MODEL is."""
    _run("info_job", "info", given)


@gmm.command(
    cls=GroupedCommand,
    short_help="Write a model for scikit-learn or ONNX.",
    epilog=EXIT_CODES,
    example="dask gmm convert trips.gmm trips.skops",
)
@click.argument("model")
@click.argument("out")
@click.option("--to", type=click.Choice(["skops", "onnx"]), help="Format; seen from OUT's ending otherwise.")
@options(LOG)
def convert(**given: Any) -> None:
    """Write MODEL for scikit-learn (.skops) or for ONNX runtimes (.onnx)."""
    _run("model_jobs", "convert", given)


@gmm.command(
    cls=GroupedCommand,
    short_help="Write a page about a model.",
    epilog=EXIT_CODES,
    example="dask gmm report trips.gmm trips.parquet --out trips.html",
)
@click.argument("model")
@click.argument("source", required=False)
@click.option("--out", required=True, help="The HTML file to write, local or a URL.")
@options(OVERWRITE, LOG, Rows=SOURCE, Where_it_runs=CLUSTER)
def report(**given: Any) -> None:
    """Write one HTML page about MODEL: its components, its fit, pictures; with SOURCE of its rows, too."""
    _run("report_job", "report", given)


@gmm.command(
    cls=GroupedCommand,
    short_help="Print what a fit would need.",
    epilog=EXIT_CODES,
    example="dask gmm plan scans.zarr --n-components 32 --n-workers 4",
)
@click.argument("source")
@click.option("--n-components", type=int, required=True, help="Number of components.")
@options(LOG, Mixture_and_cluster=PLAN, Rows=SOURCE)
def plan(**given: Any) -> None:
    """Print what a fit of SOURCE would need: groups, memory per worker, seconds per pass.

    Reads one chunk, and times one step on it here.
    """
    _run("plan_job", "plan", given)


@gmm.command(
    cls=GroupedCommand,
    short_help="Compile what fits need, beforehand.",
    epilog=EXIT_CODES,
    example="dask gmm warm",
)
@options(LOG)
def warm(**given: Any) -> None:
    """Compile what fits and predictions need, and keep it for this machine.

    Otherwise the first fit does that, which takes some seconds. For images: compiled code is kept in
    NUMBA_CACHE_DIR, or beside the package, and serves processors of the same kind.
    """
    _run("warm_job", "warm", given)
