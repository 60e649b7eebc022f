"""Messages of the library in the words of the shell."""

from __future__ import annotations

import re

# What Python calls otherwise; all others are spelled with hyphens.
_OTHERS = {"columns": "--column", "column": "--column"}
_NAMES = (
    "accelerate|cache|checkpoint|columns|contamination|covariance_type|decode|feature_axis|filters|format|"
    "init_params|keep|max_iter|memory_limit|missing_chunks|n_components|n_init|n_workers|nan|overwrite|"
    "reg_covar|threshold|tol|top"
)
_VALUE = r"""'[^']*'|"[^"]*"|\[[^\]]*\]|True|False|[\w+-]+(?:\.\d+)?"""
_GIVEN = re.compile(rf"\b({_NAMES})=({_VALUE})")
# Those that are no words of their own.
_NAMED = re.compile(rf"(?<![\w'-])({'|'.join(name for name in _NAMES.split('|') if '_' in name)})(?![\w'=])")
_PARAMETER = re.compile(rf"The '({_NAMES})' parameter of GaussianMixture(?:IC)?")


def in_words_of_the_shell(message: str) -> str:
    """Return a message with options in the place of arguments.

    Examples
    --------
    >>> in_words_of_the_shell("Set tol='auto', or replace them with overwrite=True.")
    'Set --tol auto, or replace them with --overwrite.'
    >>> in_words_of_the_shell("The 'max_iter' parameter of GaussianMixture must be an int. Got -1 instead.")
    '--max-iter must be an int. Got -1 instead.'
    """
    message = _PARAMETER.sub(lambda found: _option(found[1]), message)
    message = _GIVEN.sub(lambda found: _as_given(found[1], found[2]), message)
    return _NAMED.sub(lambda found: _option(found[1]), message)


def _option(name: str) -> str:
    return _OTHERS.get(name, f"--{name.replace('_', '-')}")


def _as_given(name: str, value: str) -> str:
    if value == "True":
        return _option(name)
    plain = value.strip("'\"")
    if plain.startswith("["):
        plain = (
            " ".join(part.strip(" '\"") for part in plain[1:-1].split(",")).replace("...", "NAME") or "NAME"
        )
    return f"{_option(name)} {plain}"
