"""Whether an object is of a class, without importing its package."""

from __future__ import annotations

import sys
from typing import Any


def is_instance(X: Any, module: str, name: str) -> bool:
    """Tell whether `X` is of class `name` of `module`, which is not imported for that.

    An object of a package that was never imported cannot have been passed.
    """
    package = sys.modules.get(module)
    return package is not None and isinstance(X, getattr(package, name))
