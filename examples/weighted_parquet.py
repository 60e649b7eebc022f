"""Fit Parquet rows that stand for different numbers of people, and write probabilities as Parquet.

A survey asked as many young as old people, though three of four people are old: `weight` says how many
people each answer stands for.

    python examples/weighted_parquet.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import dask.dataframe as dd
import numpy as np
import pandas as pd

from dask_gmm import GaussianMixture, read_parquet


def write_survey(folder: Path) -> None:
    """Write four files of answers."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for number in range(4):
        old = rng.random(50_000) < 0.5
        answers = pd.DataFrame(
            {
                "age": np.where(old, rng.normal(60, 8, old.size), rng.normal(30, 6, old.size)),
                "income": np.where(old, rng.normal(48, 9, old.size), rng.normal(31, 5, old.size)),
                "weight": np.where(old, 1.5, 0.5),
            }
        )
        answers.to_parquet(folder / f"part-{number}.parquet")


def main(folder: Path) -> None:
    """Fit with and without weights."""
    survey = folder / "survey"
    write_survey(survey)
    answers = read_parquet(survey, columns=["age", "income"])
    weights = read_parquet(survey, columns=["weight"])

    gm = GaussianMixture(n_components=2, random_state=0)
    print("Share of the old among answers:", gm.fit(answers).weights_[gm.means_[:, 0].argmax()].round(3))
    gm.fit(answers, sample_weight=weights)
    print("Share of the old among people: ", gm.weights_[gm.means_[:, 0].argmax()].round(3))
    print(pd.DataFrame(gm.means_, columns=gm.feature_names_in_).round(1))

    probabilities = dd.from_dask_array(gm.predict_proba(answers), columns=["first", "second"])
    probabilities.to_parquet(folder / "probabilities")
    print(f"Wrote the probabilities of {len(dd.read_parquet(folder / 'probabilities'))} answers")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="dask-gmm-") as temporary:
        main(Path(temporary))
