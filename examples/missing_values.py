"""Fit rows of which a third of the values is missing, and fill these in; dropping such rows would leave few.

python examples/missing_values.py
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from dask_gmm import GaussianMixture

N_ROWS = 20_000
NAMES = ["height", "weight", "age", "income"]


def make_rows() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return rows of two groups, and the same with values missing at random."""
    rng = np.random.default_rng(0)
    second = rng.random(N_ROWS) < 0.3
    mixing = rng.normal(size=(4, 4)) + np.eye(4)
    rows = rng.normal(size=(N_ROWS, 4)) @ mixing + 6.0 * second[:, np.newaxis]
    whole = pd.DataFrame(rows, columns=NAMES)
    gone = pd.DataFrame(np.less(rng.random(rows.shape), 0.33), columns=NAMES)
    return whole, whole.mask(gone)


def main() -> None:
    """Compare what comes of filling in means, of dropping rows, and of EM to what was observed."""
    whole, rows = make_rows()
    print(f"{rows.notna().all(axis=1).mean():.0%} of the rows have all values")
    reference = GaussianMixture(2, random_state=0).fit(whole)
    fits = {
        "filling in means": GaussianMixture(2, random_state=0).fit(rows.fillna(rows.mean())),
        "dropping rows": GaussianMixture(2, nan="drop", random_state=0).fit(rows),
        "what was observed": GaussianMixture(2, missing="em", n_init=3, random_state=0).fit(rows),
    }
    for name, gm in fits.items():
        print(f"{name:>18}: {reference.score(whole) - gm.score(whole):.4f} nats a row lost")

    gm = fits["what was observed"]
    filled = gm.impute(rows)
    errors = (filled - whole).where(rows.isna())
    guessed = (rows.mean() - whole).where(rows.isna())
    shares = (errors**2).mean() / (guessed**2).mean()
    print("squared error of filled-in values, over that of the mean:")
    print(shares.round(2).to_string())
    heights = gm.condition({"weight": 2.0, "age": 1.0}).marginal(["height"])
    print(f"height where weight is 2 and age 1: {float(heights.weights_ @ heights.means_[:, 0]):.2f}")


if __name__ == "__main__":
    main()
