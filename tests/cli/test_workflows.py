"""A folder of transactions from the first fit to the scores of new files, by commands alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

LOCAL = ("--n-workers", 0, "--threads", 1)
RNG = np.random.default_rng(0)
AMOUNTS, FRAUD = (3.0, 2.0), (9.0, -4.0)


def _transactions(first: int, fraudulent: int) -> pd.DataFrame:
    """Return 2000 transactions with ids from `first`, some fraudulent, some with a null."""
    rows = RNG.normal(AMOUNTS, 1.0, size=(2000, 2))
    rows[:fraudulent] = RNG.normal(FRAUD, 0.1, size=(fraudulent, 2))
    frame = pd.DataFrame(rows, columns=["log_amount", "log_delay"])
    frame.insert(0, "tx_id", np.arange(first, first + 2000))
    frame.loc[frame.index[-50:], "log_delay"] = np.nan
    return frame.sample(frac=1.0, random_state=1)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Three files that are fitted and one that comes later, whose columns have another order."""
    past, new = tmp_path / "past", tmp_path / "new"
    past.mkdir()
    new.mkdir()
    for number in range(3):
        _transactions(2000 * number, 10).to_parquet(past / f"day-{number}.parquet", index=False)
    columns = ["log_delay", "tx_id", "log_amount"]
    _transactions(100_000, 7)[columns].to_parquet(new / "day-3.parquet", index=False)
    return past, new


def test_fraud(run: Any, folders: tuple[Path, Path], tmp_path: Path) -> None:
    past, new = folders
    model, scored = tmp_path / "fraud.gmm", tmp_path / "scored.parquet"
    columns = ("--column", "log_amount", "--column", "log_delay")
    fit = ("fit", past, *columns, "--n-components", 1, "--out", model, "--contamination", 0.01, *LOCAL)

    refused = run(*fit)
    assert refused.code == 3, refused.stderr
    assert "day-0.parquet" in refused.stderr
    assert "--nan drop" in refused.stderr
    assert not model.exists()

    fitted = run(*fit, "--nan", "drop")
    assert fitted.code == 0, fitted.stderr
    assert fitted.result["feature_names"] == ["log_amount", "log_delay"]

    # Columns and the rule for nulls are the model's.
    given = ("--keep", "tx_id", "--output", "anomaly", "--output", "log_density", "--only-anomalies")
    ended = run("predict", new, model, scored, *given, *LOCAL)
    assert ended.code == 0, ended.stderr
    anomalies = pd.read_parquet(scored)
    assert set(range(100_000, 100_007)) <= set(anomalies["tx_id"])
    assert ended.result["n_anomalies"] == len(anomalies) < 60
    assert anomalies["anomaly"].all()
    by_density = anomalies.sort_values("log_density")
    assert set(by_density["tx_id"].head(7)) == set(range(100_000, 100_007))
