#!/usr/bin/env bash
# A fit under mpirun, for systems that start programs with nothing else. MPI only starts the processes; they
# talk over TCP. Also as a batch job of PBS, LSF or Flux.
#
#   SOURCE=/scratch/me/x.zarr MODEL=/scratch/me/m.gmm N_WORKERS=8 ./fit.sh --hostfile hosts
set -euo pipefail

# Fill in, or set in the environment. All on a file system that every node sees.
SOURCE=${SOURCE:?a Zarr array or Parquet files}
MODEL=${MODEL:?the model file to write}
N_COMPONENTS=${N_COMPONENTS:-32}
N_WORKERS=${N_WORKERS:-4}
THREADS=${THREADS:-1}
MEMORY_LIMIT=${MEMORY_LIMIT:-4GiB}
MPIRUN=${MPIRUN:-mpirun}

scheduler_file=$(dirname "$MODEL")/gmm-scheduler-$$.json
# mpirun needs a moment to end its processes on all nodes.
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -f "$scheduler_file"' EXIT

"$MPIRUN" "$@" \
    -n 1 dask scheduler --scheduler-file "$scheduler_file" --port 0 --no-dashboard : \
    -n "$N_WORKERS" dask worker --scheduler-file "$scheduler_file" --nworkers 1 --nthreads "$THREADS" \
    --memory-limit "$MEMORY_LIMIT" --no-dashboard &

# The driver stays outside: mpirun would end all processes when the first one ends.
dask gmm fit "$SOURCE" --n-components "$N_COMPONENTS" --out "$MODEL" --checkpoint "$MODEL.checkpoint" \
    --scheduler-file "$scheduler_file" --wait-for "$N_WORKERS"
