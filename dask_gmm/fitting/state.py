"""The state of a fit between two passes, as plain JSON and named arrays, and back to the last bit.

Everything a fit knows is in frozen dataclasses of numbers, strings, arrays and tuples of these. Only the
classes listed here are ever made from a file, with the fields they have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.errors import CollapsedComponentError
from dask_gmm.fitting.accelerate.coordinates import Coordinates
from dask_gmm.fitting.accelerate.lbfgs import Acceleration
from dask_gmm.fitting.checksums import Checksums
from dask_gmm.fitting.em import Collapse, Iteration, Run
from dask_gmm.fitting.methods import Accelerated, BeforeSurrogateStep, Method, PlainEM, SurrogateTrial
from dask_gmm.fitting.passes import PassRecord
from dask_gmm.fitting.row_sample import Sampling
from dask_gmm.model.kept_statistics import KeptStatistics
from dask_gmm.model.moments import Moments
from dask_gmm.model.parameters import Background, Parameters, Posterior
from dask_gmm.model.statistics import Statistics, Totals

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class FitState:
    """Where a fit stands.

    Attributes
    ----------
    restarts : tuple of tuple of Run or Collapse
        The restarts of each mixture that is fitted, in the order of their numbers.
    moments : Moments or None
        What the survey found; None before it.
    records : tuple of PassRecord
        The passes so far.
    sampling : Sampling or None
        How the rows to start from were drawn; None where they were not.
    checksums : Checksums or None
        What the first pass read; None where nothing is compared, as in checkpoints of earlier releases.
    """

    restarts: tuple[tuple[Run | Collapse, ...], ...]
    moments: Moments | None
    records: tuple[PassRecord, ...]
    sampling: Sampling | None = None
    checksums: Checksums | None = None


_CLASSES: dict[str, Any] = {
    cls.__name__: cls
    for cls in (
        FitState,
        Run,
        PlainEM,
        BeforeSurrogateStep,
        SurrogateTrial,
        Accelerated,
        Iteration,
        Acceleration,
        Coordinates,
        Collapse,
        PassRecord,
        Moments,
        Parameters,
        Posterior,
        Background,
        Sampling,
        Checksums,
        KeptStatistics,
        Statistics,
        Totals,
    )
}


def to_plain(value: Any, arrays: Arrays) -> Any:
    """Return `value` as JSON can hold it; arrays go to `arrays` under the names that stand in their place."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        # In hexadecimal, so that infinities and all digits survive.
        return {"float": float(value).hex()}
    if isinstance(value, np.ndarray):
        name = f"a{len(arrays)}"
        arrays[name] = value
        return {"array": name}
    if isinstance(value, tuple):
        return {"tuple": [to_plain(item, arrays) for item in value]}
    if isinstance(value, CollapsedComponentError):
        return {"collapse": [str(value), value.component]}
    name = type(value).__name__
    if _CLASSES.get(name) is not type(value):
        raise TypeError(f"A checkpoint cannot hold a {name}.")
    return {name: {field.name: to_plain(getattr(value, field.name), arrays) for field in fields(value)}}


def from_plain(plain: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
    """Undo `to_plain`.

    Raises
    ------
    ArithmeticError, AttributeError, LookupError, TypeError, ValueError
        Something that `to_plain` does not write. What it returns is made of the right classes, but their
        fields may hold anything; see `dask_gmm.fitting.state_checks`.
    """
    if plain is None or isinstance(plain, (str, bool, int)):
        return plain
    ((kind, content),) = plain.items()
    match kind:
        case "float":
            return float.fromhex(content)
        case "array":
            return arrays[content]
        case "tuple":
            return tuple(from_plain(item, arrays) for item in content)
        case "collapse":
            return CollapsedComponentError(*content)
    values = {name: from_plain(item, arrays) for name, item in content.items()}
    if kind == "Run" and "method" not in values:
        values["method"] = _method_of_earlier_release(values)
    return _CLASSES[kind](**values)


def _method_of_earlier_release(values: dict[str, Any]) -> Method:
    """Take the fields out of a run that told its method in earlier releases, and return that method.

    Raises
    ------
    ValueError
        They contradict each other, which no release wrote.
    """
    may_accelerate, leaping = values.pop("accelerate", False), values.pop("leaping", False)
    acceleration, em_step = values.pop("acceleration", None), values.pop("leapt_over", None)
    if type(leaping) is not bool:
        raise ValueError(f"leaping is a {type(leaping).__name__}")
    if acceleration is not None:
        if leaping or em_step is not None:
            raise ValueError("a run is accelerated and makes a surrogate step at the same time")
        return Accelerated(acceleration)
    if em_step is not None:
        return SurrogateTrial(em_step, may_accelerate)
    return BeforeSurrogateStep(may_accelerate) if leaping else PlainEM(may_accelerate)
