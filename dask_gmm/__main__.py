"""``python -m dask_gmm``: the command line."""

from dask_gmm.cli import gmm

if __name__ == "__main__":
    gmm(prog_name="dask-gmm")
