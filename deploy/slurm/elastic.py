"""Fit on workers that are SLURM jobs of their own: they come when the queue lets them, and are replaced.

``python elastic.py SOURCE MODEL``, where this process may live for the whole fit: on a login node if that is
allowed, or in a small job. Needs ``pip install dask-jobqueue``.
"""

from __future__ import annotations

import sys

from dask_jobqueue import SLURMCluster
from distributed import Client

from dask_gmm import GaussianMixture

# Fill in.
N_COMPONENTS = 32
QUEUE = None  # the partition; None for the default one
CORES, MEMORY, WALLTIME = 4, "16GB", "02:00:00"
MOST_JOBS = 20


def main(source: str, model: str) -> None:
    """Fit `source` and save the model, going on from a checkpoint beside it."""
    with (
        SLURMCluster(
            queue=QUEUE,
            cores=CORES,
            processes=CORES,
            memory=MEMORY,
            walltime=WALLTIME,
            # Workers end by themselves before SLURM kills them, one after another.
            worker_extra_args=["--lifetime", "110m", "--lifetime-stagger", "5m"],
        ) as cluster,
        Client(cluster) as client,
    ):
        # Jobs that are killed are replaced; `scale` would not do that.
        cluster.adapt(minimum_jobs=1, maximum_jobs=MOST_JOBS)
        client.wait_for_workers(1)
        gm = GaussianMixture(N_COMPONENTS, random_state=0, checkpoint=f"{model}.checkpoint")
        gm.fit(source)
    gm.save(model)
    print(gm, "in", gm.n_iter_, "iterations, converged:", gm.converged_)


if __name__ == "__main__":
    main(*sys.argv[1:])
