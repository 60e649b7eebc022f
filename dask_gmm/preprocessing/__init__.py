"""Steps before the mixture, for data of any size: standardize, reduce, or any fitted transformer."""

from dask_gmm.preprocessing.map_rows import map_rows
from dask_gmm.preprocessing.pca import PCA
from dask_gmm.preprocessing.pipeline_file import load_pipeline, save_pipeline
from dask_gmm.preprocessing.standard_scaler import StandardScaler
from dask_gmm.preprocessing.to_sklearn import to_sklearn

__all__ = ["PCA", "StandardScaler", "load_pipeline", "map_rows", "save_pipeline", "to_sklearn"]
