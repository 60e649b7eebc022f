#!/usr/bin/env bash
# A fit on machines that are reached by ssh without a password, with the same environment on each.
#
#   SOURCE=/data/x.zarr MODEL=m.gmm ./fit.sh host1 host2 host3
#
# Needs nothing but ssh. All machines see SOURCE under the same path or URL.
set -euo pipefail

SOURCE=${SOURCE:?a Zarr array or Parquet files}
MODEL=${MODEL:?the model file to write}
N_COMPONENTS=${N_COMPONENTS:-32}
PORT=${PORT:-8786}
SSH=${SSH:-ssh}
# The command that starts Dask there.
DASK=${DASK:-dask}
# Where workers reach this machine.
ADDRESS=${ADDRESS:-$(hostname --fqdn)}
(($#)) || { echo "usage: SOURCE=... MODEL=... $0 HOST..." >&2; exit 2; }

trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT

dask scheduler --host "$ADDRESS" --port "$PORT" --no-dashboard &
for host in "$@"; do
    # A terminal (-tt), so that the worker ends with the connection.
    $SSH -tt "$host" "$DASK" worker "tcp://$ADDRESS:$PORT" --nworkers auto --death-timeout 60 --no-dashboard \
        </dev/null &
done

dask gmm fit "$SOURCE" --n-components "$N_COMPONENTS" --out "$MODEL" --checkpoint "$MODEL.checkpoint" \
    --scheduler "tcp://$ADDRESS:$PORT" --wait-for "$#"
