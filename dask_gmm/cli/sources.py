"""How SOURCE, and the options that select from it, become rows."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from dask_gmm.cli.spelling import in_words_of_the_shell
from dask_gmm.data.dispatch import looks_like_parquet
from dask_gmm.data.parquet import read_parquet
from dask_gmm.data.rows import NanRule
from dask_gmm.data.source import Source
from dask_gmm.data.zarr.source import from_zarr
from dask_gmm.errors import DataError
from dask_gmm.mixture.gaussian_mixture import GaussianMixture
from dask_gmm.mixture.validation import nan_rule
from dask_gmm.storage.atomic import read_whole
from dask_gmm.storage.location import Location
from dask_gmm.storage.redaction import without_secrets

Given = Mapping[str, Any]

_PARQUET_ONLY = ("column", "filter")
_ZARR_ONLY = ("component", "feature_axis", "missing_chunks", "decode")
# These hold for weights, too.
_HOW_STORED = ("missing_chunks", "decode")
_TERM = re.compile(r"\s*(?P<column>.+?)\s*(?P<operator>==|!=|<=|>=|<|>|=| in | not in )\s*(?P<value>.+?)\s*")


def open_source(
    url: str, given: Given, model: GaussianMixture | None = None, features: Sequence[str] | None = None
) -> Source:
    """Return the rows that the options of `dask_gmm.cli.options.SOURCE` select.

    Parameters
    ----------
    url : str
    given : mapping
        The options.
    model : GaussianMixture, optional
        A fitted one: its rule for NaN holds, where no option says else.
    features : sequence of str, optional
        What it was fitted to, taken by name where no option says else.

    Raises
    ------
    click.UsageError
        Options belong to another kind of source, select what is not there, or what is not numbers; filters or
        storage options cannot be understood.
    """
    try:
        return _open(url, given if model is None else _as_fitted(given, model, features))
    except DataError:
        raise
    except (ValueError, TypeError) as error:
        raise click.UsageError(in_words_of_the_shell(str(error))) from error


def _as_fitted(given: Given, model: GaussianMixture, names: Sequence[str] | None) -> Given:
    """Return the options with what the model says where they are silent."""
    as_fitted = {"nan": given["nan"] or nan_rule(model, fitted=True)}
    if names is None or given["column"] or given["component"]:
        return {**given, **as_fitted}
    storage_options = parse_storage_options(given["storage_option"])
    kind = "column" if _is_parquet(given["source"], given, storage_options) else "component"
    return {**given, **as_fitted, kind: tuple(map(str, names))}


def _open(url: str, given: Given) -> Source:
    storage_options = parse_storage_options(given["storage_option"])
    if _is_parquet(url, given, storage_options):
        _refuse(given, _ZARR_ONLY, "a Zarr SOURCE")
        filters = [parse_filter(term) for term in given["filter"]] or None
        columns = list(given["column"]) or None
        errors = list(given.get("error_column") or ()) or None
        return read_parquet(url, columns, filters, storage_options, nan=_nan_rule(given), errors=errors)
    _refuse(given, _PARQUET_ONLY, "a Parquet SOURCE")
    components = given["component"]
    chosen = _chosen(given, _ZARR_ONLY[1:])
    component = components[0] if len(components) == 1 else list(components) or None
    errors = list(given.get("error_column") or ()) or None
    return from_zarr(url, component, storage_options, **{**chosen, "nan": _nan_rule(given), "errors": errors})


def _nan_rule(given: Given) -> NanRule:
    """Return what becomes of a NaN or null: with ``--missing em`` it stays."""
    kept: NanRule = "keep" if given.get("missing") == "em" else "error"
    rule: NanRule = given["nan"] or kept
    return rule


def open_weights(given: Given) -> Any:
    """Return the weights that ``--sample-weight`` names, as `fit` takes them; None without the option."""
    name = given["sample_weight"]
    if name is None:
        return None
    storage_options = parse_storage_options(given["storage_option"])
    is_path = "/" in name or name.endswith((".npy", ".zarr"))
    if name.endswith(".npy"):
        return load_array(name)
    if is_path:
        return from_zarr(name, [""], storage_options, **_chosen(given, _HOW_STORED))
    if _is_parquet(given["source"], given, storage_options):
        return name
    return from_zarr(given["source"], [name], storage_options, **_chosen(given, _HOW_STORED))


def _chosen(given: Given, names: Sequence[str]) -> dict[str, Any]:
    """Return the arguments of `from_zarr` for the options that are given."""
    chosen = {name: given[name] for name in names if given[name] is not None}
    if "decode" in chosen:
        chosen["decode"] = chosen["decode"] == "yes"
    return chosen


def load_array(url: str) -> NDArray[Any]:
    """Read a .npy file; one with pickled objects is refused."""
    array: NDArray[Any] = np.load(io.BytesIO(read_whole(Location(url))), allow_pickle=False)
    return array


def parse_storage_options(given: Sequence[str]) -> dict[str, Any]:
    """Return options from ``NAME=VALUE`` texts.

    Raises
    ------
    click.UsageError
        No ``=``, or a credential: command lines can be read by every user of the machine.

    Examples
    --------
    >>> parse_storage_options(["anon=true", 'client_kwargs={"region_name": "eu"}', "profile=mine"])
    {'anon': True, 'client_kwargs': {'region_name': 'eu'}, 'profile': 'mine'}
    """
    options: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise click.UsageError(f"--storage-option {text}: write NAME=VALUE.")
        options[name] = _json_or_text(value)
    if without_secrets(options) != options:
        raise click.UsageError(
            "--storage-option takes no credentials: they come from the environment, the usual files or roles."
        )
    return options


def parse_filter(text: str) -> tuple[str, str, Any]:
    """Return the term of a filter of `read_parquet`.

    Examples
    --------
    >>> parse_filter("year>=2020"), parse_filter("site = north"), parse_filter('site in ["a", "b"]')
    (('year', '>=', 2020), ('site', '==', 'north'), ('site', 'in', ['a', 'b']))
    """
    found = _TERM.fullmatch(text)
    if found is None:
        raise click.UsageError(f'--filter {text}: write COLUMN OPERATOR VALUE, such as "year>=2020".')
    operator = found["operator"].strip()
    return found["column"], "==" if operator == "=" else operator, _json_or_text(found["value"])


def _json_or_text(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value


def _is_parquet(url: str, given: Given, storage_options: Mapping[str, Any]) -> bool:
    if given["format"] is not None:
        return bool(given["format"] == "parquet")
    if any(given[name] for name in _PARQUET_ONLY):
        return True
    if any(given[name] for name in _ZARR_ONLY):
        return False
    return looks_like_parquet(url, storage_options)


def _refuse(given: Given, names: Sequence[str], kind: str) -> None:
    for name in names:
        if given[name] not in (None, ()):
            raise click.UsageError(f"--{name.replace('_', '-')} is for {kind}.")
