"""Predictions of stored data into stores: in bounded memory, continued after a stop."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal

import pandas as pd
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

import dask_gmm
from dask_gmm.checkpointing.identity import source_identity
from dask_gmm.data.abilities import HasCoordinates, KeepsKeys, nan_rule_of
from dask_gmm.data.source import Answer, Source, byte_counts
from dask_gmm.data.zarr.source import ZarrSource
from dask_gmm.engine.choose import choose_engine
from dask_gmm.engine.memory_estimate import PassBytes
from dask_gmm.mixture.fitted import attribute_shapes, fitted_type
from dask_gmm.mixture.prediction import imputation, prediction
from dask_gmm.mixture.validation import imputed_source, prediction_source
from dask_gmm.storage.location import Location
from dask_gmm.storage.redaction import public_url
from dask_gmm.writing.chunk_subset import ChunkSubset
from dask_gmm.writing.parquet_target import ParquetTarget
from dask_gmm.writing.regular_chunks import on_regular_grid
from dask_gmm.writing.target import Column, Target
from dask_gmm.writing.write_reduction import IMPUTED, OUTPUTS, WriteBlocks, columns_of
from dask_gmm.writing.zarr_target import ZarrTarget

# Of a data frame in memory.
_ROWS_OF_A_FILE = 1 << 20


@dataclass(frozen=True, slots=True)
class WrittenPredictions:
    """What `write_predictions` did.

    Attributes
    ----------
    target : str
        Without credentials.
    outputs : tuple of str
    n_chunks : int
        Written by this call.
    n_skipped : int
        That were complete already.
    n_rows : int
        Rows in the chunks that were written, those dropped by ``nan="drop"`` not counted.
    n_anomalies : int
        Rows among them below the threshold; 0 without one.
    """

    target: str
    outputs: tuple[str, ...]
    n_chunks: int
    n_skipped: int
    n_rows: int
    n_anomalies: int


def write_predictions(
    model: Any,
    X: Any,
    target: str | os.PathLike[str],
    outputs: Sequence[str] = ("labels",),
    *,
    keep: Sequence[str] = (),
    top: int = 3,
    only_anomalies: bool = False,
    threshold: float | None = None,
    format: Literal["zarr", "parquet"] | None = None,
    overwrite: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    share_done: Callable[[float], None] | None = None,
) -> WrittenPredictions:
    """Write what a fitted mixture says of every row to a store.

    Each chunk is read once, and appears in the target as a whole or not at all. Called again after a stop,
    with the same model, data and outputs, it writes the chunks that are missing.

    Parameters
    ----------
    model : GaussianMixture
        Fitted.
    X
        As in ``GaussianMixture.predict``.
    target : str or path
        Local path or fsspec URL of a Zarr group, which gets an array of the samples' shape and chunks for
        each output (with the names of an xarray object's dimensions), or of a folder, which gets a Parquet
        file for each chunk of X, in row order.
    outputs : sequence of str, default=('labels',)
        Some of 'labels', 'probabilities', 'log_density', 'anomaly', 'top', 'imputed'.
        As `predict`, `predict_proba` and `score_samples` give them, labels in the smallest integers that hold
        them; 'anomaly' tells whether the log density is below `threshold`; 'top' are the `top` likeliest
        components of each row, ``top_labels``, and their ``top_probabilities``; 'imputed' are the rows with
        their missing values filled in, by the names of the features where they have names. In Parquet the
        probabilities are columns ``probabilities_0`` and so on.
    keep : sequence of str, default=()
        Columns of X, of any type, that are written beside the predictions, such as a key: of Parquet files
        and data frames into Parquet, and arrays of the same Zarr group into either. The index of a data frame
        is always kept.
    top : int, default=3
        How many components the output 'top' has.
    only_anomalies : bool, default=False
        Write the rows below the threshold only. Into Parquet.
    threshold : float, optional
        Log density, in nats, below which a row is an anomaly; for the output 'anomaly' that of the model,
        ``threshold_``, without it.
    format : {'zarr', 'parquet'}, optional
        Seen from the target's ending if not given.
    overwrite : bool, default=False
        Replace predictions of another model, or of other data.
    storage_options : mapping, optional
        For the target's fsspec file system. Credentials among them stay in this process.
    share_done : callable, optional
        Called now and then with the share of the work that is done, from 0 to 1.

    Returns
    -------
    WrittenPredictions

    Raises
    ------
    FileExistsError
        The target holds something else.
    DataError
        NaN or infinity, with the chunk and the first bad row (a ValueError).
    ValueError
        Unknown outputs, an anomaly without a threshold, samples that are no table for Parquet.

    Notes
    -----
    A Zarr array has chunks of one length. Where X, being a table, has chunks of different lengths, they are
    cut anew; where their lengths are unknown (dask dataframes, filtered Parquet) a pass counts the rows.

    Examples
    --------
    >>> import numpy as np, zarr
    >>> from dask_gmm import GaussianMixture, write_predictions
    >>> rows = np.random.default_rng(0).normal(size=(100, 2))
    >>> gm = GaussianMixture(n_components=2, random_state=0).fit(rows)
    >>> write_predictions(gm, rows, "memory://p.zarr", ["labels", "log_density"]).n_rows
    100
    >>> bool((zarr.open_array("memory://p.zarr", path="labels")[:] == gm.predict(rows)).all())
    True
    """
    check_is_fitted(model)
    outputs = [*outputs, "anomaly"] if only_anomalies and "anomaly" not in outputs else outputs
    if threshold is None and "anomaly" in outputs:
        threshold = getattr(model, "threshold_", None)
    _check_outputs(outputs, threshold)
    url = os.fspath(target)
    kind = format or _format(url)
    if kind == "zarr" and only_anomalies:
        raise ValueError("only_anomalies is for Parquet; a Zarr group has all samples, as X has them.")
    source = _rows(model, X, kind, outputs, keep)
    identity = {
        **source_identity(source),
        "model": _digest(model),
        "release": dask_gmm.__version__,
        "outputs": list(outputs),
        "threshold": threshold,
        **({"keep": list(keep)} if keep else {}),
        **({"only anomalies": True} if only_anomalies else {}),
        **({"top": top} if "top" in outputs else {}),
    }
    answers = _answers(model, source, outputs)
    n_components = len(model.weights_)
    n_top = min(int(top), n_components) if "top" in outputs else 0
    features = tuple(map(str, source.feature_names or ())) if IMPUTED in outputs else ()
    columns = columns_of(outputs, answers, n_components, n_top, features)
    location = Location.of(url, storage_options)
    place: Target
    if kind == "zarr":
        dims = source.dims or None
        masked = nan_rule_of(source) == "drop"
        coordinates = source.coordinates if isinstance(source, HasCoordinates) else None
        source, grid = on_regular_grid(source)
        place = ZarrTarget(location, grid, columns, dims, masked, coordinates, _kept_arrays(source))
    else:
        _check_table(source)
        only = "anomaly" if only_anomalies else None
        place = ParquetTarget(location, len(source.chunks), columns, only)
    place.prepare(identity, overwrite)
    finished = place.finished()
    missing = [index for index in range(len(source.chunks)) if index not in finished]
    written = _run(
        source, missing, WriteBlocks(answers, columns, threshold, place, n_top, features), share_done
    )
    return WrittenPredictions(str(location), tuple(outputs), len(missing), len(finished), *written)


def _rows(model: Any, X: Any, kind: str, outputs: Sequence[str], keep: Sequence[str]) -> Source:
    """Return the rows of X, with holes where they are to be filled, and with keys for Parquet."""
    rows = _partitioned(X) if kind == "parquet" else X
    source = imputed_source(model, rows) if IMPUTED in outputs else prediction_source(model, rows)
    if kind == "parquet":
        return _keyed(source, keep)
    if keep and not isinstance(source, ZarrSource):
        raise ValueError(
            "keep is for Parquet, or for arrays of a Zarr group; a Zarr group has all samples, on the "
            "coordinates of X."
        )
    return _keyed(source, keep) if keep else source


def _kept_arrays(source: Source) -> tuple[Column, ...]:
    """Return the arrays of a Zarr group that are written beside the predictions."""
    keys = source.keys if isinstance(source, ZarrSource) else ()
    return tuple(Column(key.name, key.dtype, None, key.dtype.type()) for key in keys)


def _run(
    source: Source, missing: Sequence[int], reduction: WriteBlocks, share_done: Callable[[float], None] | None
) -> tuple[int, int]:
    if not missing:
        return reduction.zero()
    chosen = ChunkSubset(source, missing)
    largest = chosen.chunks[int(byte_counts(chosen.chunks, unknown=0).argmax())]
    row_bytes = sum(column.dtype.itemsize * (column.n_columns or 1) for column in reduction.columns)
    done = 0

    def group_done(number: int) -> None:
        nonlocal done
        done += 1
        assert share_done is not None
        share_done(done / engine.n_groups)

    written: tuple[int, int]
    computed = PassBytes(answers=(largest.n_rows or 0) * row_bytes)
    with closing(choose_engine(chosen, cache=False, computed=computed)) as engine:
        (written,) = engine.run([reduction], None if share_done is None else group_done)
    return written


def _answers(model: Any, source: Source, outputs: Sequence[str]) -> dict[str, Answer]:
    names: list[Any] = [name for name in OUTPUTS if name in outputs and name not in ("anomaly", "top")]
    if "top" in outputs and "probabilities" not in names:
        names.append("probabilities")
    if "anomaly" in outputs and "log_density" not in names:
        names.append("log_density")
    return {
        name: imputation(model, source.dtype) if name == IMPUTED else prediction(model, name, source)
        for name in names
    }


def _partitioned(X: Any) -> Any:
    """Return a data frame in memory as a dask frame, which keeps its index."""
    if not isinstance(X, pd.DataFrame):
        return X
    import dask.dataframe as dd

    return dd.from_pandas(X, chunksize=_ROWS_OF_A_FILE, sort=False)


def _keyed(source: Source, keep: Sequence[str]) -> Source:
    """Return the rows with what is to be kept beside their predictions.

    Raises
    ------
    ValueError
        Columns of data that have none but the features.
    """
    if isinstance(source, KeepsKeys):
        return source.with_keys(keep)
    if keep:
        raise ValueError(
            f"keep is for Parquet files, data frames and Zarr groups; {source!r} has no other columns."
        )
    return source


def _check_outputs(outputs: Sequence[str], threshold: float | None) -> None:
    unknown = [name for name in outputs if name not in OUTPUTS]
    if unknown or not outputs or isinstance(outputs, str):
        raise ValueError(f"outputs must be a list of some of {OUTPUTS}, got {outputs!r}.")
    if ("anomaly" in outputs) != (threshold is not None):
        raise ValueError("The output 'anomaly' and a threshold go together: give both or none.")


def _check_table(source: Source) -> None:
    if len(source.sample_shape) != 1:
        raise ValueError(
            f"Parquet holds tables, and the samples of X have shape {source.sample_shape}: write to Zarr."
        )


def _format(url: str) -> Literal["zarr", "parquet"]:
    ending = os.path.splitext(url.rstrip("/"))[1]
    if ending not in (".zarr", ".parquet"):
        raise ValueError(
            f"{public_url(url)} ends neither in .zarr nor in .parquet: give format='zarr' or 'parquet'."
        )
    return "zarr" if ending == ".zarr" else "parquet"


def _digest(model: Any) -> str:
    """Return a text that differs where two models predict differently."""
    digest = sha256(fitted_type(model).encode())
    for name in attribute_shapes(fitted_type(model), model.means_):
        array: NDArray[Any] = getattr(model, name)
        digest.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    return digest.hexdigest()[:16]
