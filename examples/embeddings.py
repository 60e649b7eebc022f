"""Find topics in embeddings: keep the ids and the three likeliest topics of each text, then serve one by one.

Texts lie in Parquet files with an id; which topic each was made from is known, so that it can be compared.

    python examples/embeddings.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from dask_gmm import GaussianMixture, read_parquet, write_predictions

N_TOPICS, N_FEATURES = 6, 32


def write_texts(folder: Path) -> None:
    """Write three files of texts with their embeddings, as list columns of float32."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(N_TOPICS, N_FEATURES))
    folder.mkdir()
    for number in range(3):
        topics = rng.integers(N_TOPICS, size=4_000)
        embedding = (centres[topics] + 0.5 * rng.normal(size=(topics.size, N_FEATURES))).astype(np.float32)
        lists = pa.FixedSizeListArray.from_arrays(pa.array(embedding.ravel()), N_FEATURES)
        names = pa.array([f"text-{number}-{i}" for i in range(topics.size)])
        pq.write_table(
            pa.table({"id": names, "embedding": lists, "topic": topics}), folder / f"part-{number}.parquet"
        )


def main(folder: Path) -> None:
    """Fit, write the topics beside the ids, and serve the model with scikit-learn alone."""
    write_texts(folder / "texts")
    texts = read_parquet(folder / "texts", columns=["embedding"])
    gm = GaussianMixture(n_components=N_TOPICS, covariance_type="diag", n_init=5, random_state=0).fit(texts)

    written = write_predictions(gm, texts, folder / "topics.parquet", ["top"], keep=["id", "topic"], top=3)
    topics = pd.read_parquet(folder / "topics.parquet")
    print(f"{written.n_rows} texts with the columns {', '.join(topics.columns)}")
    print(topics.head(3).to_string())
    alone = topics.groupby("top_labels_0")["topic"].nunique() == 1
    print(f"{alone.sum()} of {N_TOPICS} components are one topic each")

    serving = gm.to_sklearn()  # knows nothing of Dask
    one = texts.head(1).to_numpy()
    print(f"served one by one: the same topic, {serving.predict(one)[0] == topics['top_labels_0'].iloc[0]}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="dask-gmm-") as temporary:
        main(Path(temporary))
