"""Run the tests against each wrong variant of the package: ``python tests/mutants/run.py [NAME ...]``.

A variant that no test notices survives, and the exit status is 1.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter

FOLDER = Path(__file__).parent
TESTS = FOLDER.parent
_PASSED, _FAILED = 0, 1
_SECONDS = 600


def run_tests(tests: Sequence[str], variant: str = "") -> tuple[int, str]:
    """Run pytest in a process of its own with a variant patched in; return its exit status and output."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "variants", "-p", "no:cacheprovider"]
    path = os.pathsep.join(filter(None, [str(FOLDER), str(TESTS.parent), os.environ.get("PYTHONPATH")]))
    try:
        done = subprocess.run(
            [*command, *(str(TESTS / test) for test in tests)],
            cwd=TESTS.parent,
            env={**os.environ, "PYTHONPATH": path, "DASK_GMM_VARIANT": variant},
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        return -1, str(error)
    return done.returncode, done.stdout + done.stderr


def main(names: Sequence[str]) -> int:
    """Print which variants are noticed; return the exit status."""
    sys.path.insert(0, str(FOLDER))
    from variants import VARIANTS

    names = list(names) or list(VARIANTS)
    began = perf_counter()
    status, output = run_tests(sorted({test for name in names for test in VARIANTS[name].tests}))
    if status != _PASSED:
        print(f"The tests fail without any variant:\n{output}")
        return 2
    with ThreadPoolExecutor(os.cpu_count()) as executor:
        n_noticed = sum(executor.map(_is_noticed, names, (VARIANTS[name].tests for name in names)))
    print(f"{n_noticed} of {len(names)} wrong variants noticed in {perf_counter() - began:.0f} s")
    return int(n_noticed < len(names))


def _is_noticed(name: str, tests: Sequence[str]) -> bool:
    status, output = run_tests(tests, name)
    # Any other status is a mistake in the variant or in its tests' names.
    ending = {_PASSED: "SURVIVED", _FAILED: "noticed"}.get(status, f"BROKEN\n{output}")
    print(f"{name:<45}{ending}", flush=True)
    return status == _FAILED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
