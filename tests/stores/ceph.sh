#!/usr/bin/env bash
# Ceph's S3, real and small: one monitor, one store in memory and one gateway, on three free ports.
#
#   ./ceph.sh FOLDER GATEWAY_PORT MONITOR_PORT MONITOR_PORT_V1
#
# The processes go into the background; the files FOLDER/*.pid tell which they are.
set -euo pipefail

folder=$1
addresses="[v2:127.0.0.1:$3,v1:127.0.0.1:$4]"
fsid=$(</proc/sys/kernel/random/uuid)
store=$(</proc/sys/kernel/random/uuid)
export CEPH_CONF=$folder/ceph.conf
cat >"$CEPH_CONF" <<END
[global]
fsid = $fsid
mon host = $addresses
public addr = 127.0.0.1
cluster addr = 127.0.0.1
keyring = $folder/keyring
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
osd objectstore = memstore
admin socket = $folder/\$name.socket
log file = $folder/\$name.log
pid file = $folder/\$name.pid
mon data = $folder/mon
osd data = $folder/osd
END
mkdir "$folder/mon" "$folder/osd"

new_key() { ceph-authtool "$folder/keyring" --gen-key "$@"; }

ceph-authtool --create-keyring "$folder/keyring"
new_key --name mon. --cap mon 'allow *'
new_key --name client.admin --cap mon 'allow *' --cap osd 'allow *'
new_key --name osd.0 --cap mon 'allow profile osd' --cap osd 'allow *'
monmaptool --create --addv a "$addresses" --fsid "$fsid" "$folder/monmap"
ceph-mon --mkfs --id a --monmap "$folder/monmap" --keyring "$folder/keyring"
ceph-mon --id a
ceph osd new "$store"
ceph-osd --id 0 --mkfs --osd-uuid "$store"
ceph-osd --id 0
radosgw --name client.admin --rgw-frontends "beast endpoint=127.0.0.1:$2"
radosgw-admin user create --uid=test --display-name=test --access-key=test --secret-key=s3cret
