#!/usr/bin/env bash
# Certificates for one cluster: an authority, and one certificate that scheduler, workers and clients share.
# TLS is Dask's only authentication: whoever has the key can run code, and nobody else.
#
#   ./make_certificates.sh FOLDER [DAYS]
#   dask scheduler --tls-ca-file ca.pem --tls-cert cluster.pem --tls-key cluster.key --protocol tls
#   dask worker tls://HOST:8786 --tls-ca-file ca.pem --tls-cert cluster.pem --tls-key cluster.key
#   dask gmm fit ... --scheduler tls://HOST:8786 --tls-ca-file ca.pem --tls-cert cluster.pem --tls-key cluster.key
#
# Set DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION=true for scheduler and workers, so that nothing goes in clear.
set -euo pipefail

folder=${1:?where to write}
days=${2:-365}
umask 077
mkdir -p "$folder"
cd "$folder"
[[ ! -e ca.pem ]] || { echo "$folder has certificates already; remove them to make new ones." >&2; exit 1; }

new_key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1"; }

new_key ca.key
openssl req -x509 -new -key ca.key -sha256 -days "$days" -subj "/CN=dask-gmm authority" -out ca.pem
new_key cluster.key
openssl req -new -key cluster.key -subj "/CN=dask-gmm cluster" |
    openssl x509 -req -CA ca.pem -CAkey ca.key -CAcreateserial -sha256 -days "$days" -out cluster.pem
# Nothing more will be signed by it.
rm -f ca.key ca.srl
chmod 644 ca.pem cluster.pem
echo "Copy ca.pem, cluster.pem and cluster.key (keep it secret) to every machine of the cluster." >&2
