"""The package's settings, in the namespace ``dask-gmm`` of Dask's configuration.

Each can be set in a file, in the environment (``DASK_DASK_GMM__START_BYTES="1 GiB"``) or in the program
(``dask.config.set({"dask-gmm.start-bytes": "1 GiB"})``). Their defaults stand in Dask's configuration as soon
as this module is imported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import dask
from dask.utils import parse_bytes, parse_timedelta

T = TypeVar("T")

NAMESPACE = "dask-gmm"


@dataclass(frozen=True, slots=True)
class Setting(Generic[T]):
    """One setting.

    Attributes
    ----------
    name : str
        Without the namespace.
    default : str or int
        As a user would write it.
    parse : callable
        Makes the value that the package uses of what was written, or raises ValueError.
    meaning : str
        A sentence for users.
    """

    name: str
    default: str | int
    parse: Callable[[Any], T]
    meaning: str

    @property
    def key(self) -> str:
        """The name in Dask's configuration."""
        return f"{NAMESPACE}.{self.name}"

    def get(self) -> T:
        """Return the value in force.

        Raises
        ------
        ValueError
            What is set cannot be understood; the message names the setting.
        """
        written = dask.config.get(self.key, self.default)
        try:
            return self.parse(written)
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"The Dask configuration value {self.key} is {written!r}: {error}.") from error


def _bytes(written: Any) -> int:
    return int(parse_bytes(written))


def _seconds(written: Any) -> float:
    return float(parse_timedelta(written))


def _precision(written: Any) -> str:
    if written not in ("auto", "double"):
        raise ValueError("not auto or double")
    return str(written)


START_BYTES = Setting(
    "start-bytes",
    "64 MiB",
    _bytes,
    "How many bytes of rows this process may take into memory, to start from and for restarts to share.",
)
PRECISION = Setting(
    "precision",
    "auto",
    _precision,
    "With `double` float32 rows are multiplied in float64 always, in fits and predictions.",
)
READ_DEADLINE = Setting(
    "read-deadline",
    "5 minutes",
    _seconds,
    "How long reads and checkpoints are tried again while a store fails.",
)
NO_WORKERS_TIMEOUT = Setting(
    "no-workers-timeout", "10 minutes", _seconds, "How long a fit waits while no worker can take its tasks."
)
KILLED_RETRIES = Setting(
    "killed-retries", 20, int, "How many more rounds tasks get whose workers died again and again."
)

SETTINGS: tuple[Setting[Any], ...] = (
    START_BYTES,
    PRECISION,
    READ_DEADLINE,
    NO_WORKERS_TIMEOUT,
    KILLED_RETRIES,
)

# So that `dask.config.get` shows them. What a user has set stays.
dask.config.update_defaults({NAMESPACE: {setting.name: setting.default for setting in SETTINGS}})
