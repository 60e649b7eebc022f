"""How a command ends: one JSON result on standard output, or an error and its exit code."""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any, NoReturn

import click

from dask_gmm.cli.log import Log
from dask_gmm.cli.spelling import in_words_of_the_shell

DONE, USAGE, DATA, UNAVAILABLE, STOPPED = 0, 2, 3, 69, 75

EXIT_CODES = """\b
Exit codes:
    0  done
    1  a defect of dask_gmm: please report the traceback
    2  usage: options, paths or settings that do not fit
    3  data: rows, weights or a model file that cannot be used
   69  unavailable: the cluster or the store; start the same command again
   75  stopped by SIGUSR1, or workers died again and again: start it again
  130  stopped by Ctrl-C (SIGINT)
  143  stopped by SIGTERM
After 69, 75, 130 and 143 a fit with --checkpoint goes on from its last pass,
and predict from its last chunk."""


class Stopped(BaseException):
    """A signal asks the command to end; not an Exception, so that nothing takes it for a failure."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.exit_code = STOPPED if number == signal.SIGUSR1 else 128 + number


def how_to_go_on(job: str, given: Mapping[str, Any]) -> str:
    """Return what to say when a command was stopped."""
    if job == "predict":
        return "What was written stays; the same command writes what is missing."
    if job not in ("fit", "select"):
        return ""
    if given["checkpoint"] is None:
        return "Nothing was saved; with --checkpoint FILE the same command goes on from the last pass."
    return "The same command goes on from the last pass."


def run(job: Callable[[Log], Mapping[str, Any]], log_format: str | None, when_stopped: str = "") -> None:
    """Run a command's job and end the process as documented.

    Parameters
    ----------
    job : callable
        Returns the result, for JSON.
    log_format : {'human', 'json'} or None
    when_stopped : str
        What to say of how to go on.
    """
    log = Log(log_format)
    try:
        with _signals(log), _warnings_to(log), contextlib.redirect_stdout(sys.stderr):
            result = job(log)
    except (Stopped, KeyboardInterrupt) as stop:
        stopped = stop if isinstance(stop, Stopped) else Stopped(signal.SIGINT)
        text = f"The command was {stopped}. {when_stopped}".rstrip()
        log.error("Stopped", text, stopped.exit_code)
        raise click.exceptions.Exit(stopped.exit_code) from None
    except (click.ClickException, click.exceptions.Exit):
        raise
    except Exception as error:
        _fail(log, error)
    if not sys.stdout.isatty():
        print(json.dumps(result, allow_nan=False))
    elif not (log.human and log.has_shown_result):
        print(_shown(result))


def _shown(result: Mapping[str, Any]) -> str:
    """Return JSON with one line per value, and one per object in a list of objects."""
    values = {name: json.dumps(value, allow_nan=False) for name, value in result.items()}
    for name, value in result.items():
        if isinstance(value, list) and value and isinstance(value[0], (dict, list)):
            lines = ",\n".join(f"    {json.dumps(item, allow_nan=False)}" for item in value)
            values[name] = f"[\n{lines}\n  ]"
    lines = ",\n".join(f"  {json.dumps(name)}: {value}" for name, value in values.items())
    return f"{{\n{lines}\n}}"


def _fail(log: Log, error: Exception) -> NoReturn:
    code = exit_code(error)
    if code == 1:
        traceback.print_exc()
    notes = getattr(error, "__notes__", [])
    message = in_words_of_the_shell("\n".join([str(error) or repr(error), *notes]))
    log.error(type(error).__name__, message, code)
    raise click.exceptions.Exit(code) from None


def exit_code(error: Exception) -> int:
    """Return the documented code of an error."""
    from dask_gmm.errors import (
        ClusterError,
        CollapsedComponentError,
        DataError,
        DriverError,
        ModelFileError,
        StoreUnfitError,
        WorkersKilledError,
    )
    from dask_gmm.storage.store_errors import verdict

    if isinstance(error, (DataError, ModelFileError, CollapsedComponentError)):
        return DATA
    if isinstance(error, WorkersKilledError):
        return STOPPED
    if isinstance(error, (ClusterError, DriverError)):
        return UNAVAILABLE
    of_store = verdict(error)
    # Those that were judged already have a kind of their own.
    given = (FileNotFoundError, FileExistsError, PermissionError, NotADirectoryError, StoreUnfitError)
    if of_store in ("missing", "refused", "unfit") or isinstance(error, given):
        return USAGE
    if of_store is not None or isinstance(error, OSError):
        return UNAVAILABLE
    # The estimator's words for parameters out of range, chunks larger than memory, extras not installed.
    return USAGE if isinstance(error, (ValueError, MemoryError, ImportError)) else 1


@contextlib.contextmanager
def _signals(log: Log) -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> NoReturn:
        log.stop = Stopped(number)
        raise log.stop

    caught = [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT]
    before = [signal.signal(number, stop) for number in caught]
    try:
        yield
    finally:
        for number, handler in zip(caught, before, strict=True):
            signal.signal(number, handler)


@contextlib.contextmanager
def _warnings_to(log: Log) -> Iterator[None]:
    def show(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, *rest: object
    ) -> None:
        log.warning(category.__name__, in_words_of_the_shell(str(message)))

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show  # type: ignore[assignment]
        yield


class _Notes(logging.Handler):
    """Writes what the package logs."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.INFO)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        text = in_words_of_the_shell(record.getMessage())
        self._log.event("note", text, level=record.levelname.lower(), message=text)


# Whose notes belong into the log, from which level on. Dask's would go to standard error as they are.
_LOGGED = {"dask_gmm": logging.INFO, "distributed": logging.WARNING}


@contextlib.contextmanager
def notes_to(log: Log) -> Iterator[None]:
    """Write to the log what the package and Dask log."""
    with contextlib.ExitStack() as stack:
        for name, level in _LOGGED.items():
            logger = logging.getLogger(name)
            stack.callback(_restore, logger, logger.level, logger.propagate, list(logger.handlers))
            logger.handlers, logger.propagate = [_Notes(log)], False
            logger.setLevel(level)
        yield


def _restore(logger: logging.Logger, level: int, propagate: bool, handlers: list[logging.Handler]) -> None:
    logger.handlers, logger.propagate = handlers, propagate
    logger.setLevel(level)
