"""Seconds until a first fit is there: ``python tests/benchmarks/first_fit.py [--others FOLDER ...]``.

500 rows of 4 features, each fit in a process of its own: with an empty cache of compiled code ("cold"), then
once more ("warm"). ``--others`` names folders with other versions of the package, measured in turn with this
one. Medians over the rounds are printed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parents[2]
PROGRAM = """
import json, sys, time
began = time.perf_counter()
import numpy as np
from dask_gmm import GaussianMixture
imported = time.perf_counter()
rows = np.random.default_rng(0).normal(size=(500, 4)).astype(sys.argv[1])
rows[:250] += 4
model = GaussianMixture(3, random_state=0).fit(rows)
fitted = time.perf_counter()
print(json.dumps({"import": imported - began, "fit": fitted - imported}))
"""


def seconds(folder: Path, dtype: str, cache: str) -> dict[str, float]:
    """Return what one process took."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "NUMBA_CACHE_DIR": cache}
    command = [sys.executable, "-c", PROGRAM, dtype]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=cache)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    """Measure, and print a line for each version and dtype."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--others", type=Path, nargs="*", default=[])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    folders = [*options.others, HERE]
    for dtype in ("float64", "float32"):
        rounds: dict[Path, list[tuple[dict[str, float], dict[str, float]]]] = {path: [] for path in folders}
        for _ in range(options.rounds):
            for folder in folders:
                with tempfile.TemporaryDirectory() as cache:
                    rounds[folder].append((seconds(folder, dtype, cache), seconds(folder, dtype, cache)))
        for folder, found in rounds.items():
            cold = statistics.median(first["fit"] for first, _ in found)
            warm = statistics.median(second["fit"] for _, second in found)
            importing = statistics.median(second["import"] for _, second in found)
            print(f"{folder} {dtype}: cold {cold:.2f} s, warm {warm:.2f} s, import {importing:.2f} s")


if __name__ == "__main__":
    main()
