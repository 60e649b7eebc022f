"""What happens between passes: the start, the iterations, when to stop. Imports no Dask."""
