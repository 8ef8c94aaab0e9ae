#!/bin/bash
# Set-up of an EC2 instance that runs ECS tasks of one Region: spill disk, TLS keys, data and results as files.
# Runs once, before the agent of ECS starts. An instance on which a step fails ends: nothing runs on half a host.
set -euo pipefail

line=0
fail() {
    [ "$1" != 0 ] || return 0
    echo "set-up of this host failed at line $line; the instance ends"
    aws logs create-log-stream --region "$REGION" --log-group-name "$LOG_GROUP" --log-stream-name "$HOSTNAME" || true
    aws logs put-log-events --region "$REGION" --log-group-name "$LOG_GROUP" --log-stream-name "$HOSTNAME" --log-events \
        "timestamp=$(date +%s000),message=\"line $line: $(tail -c 2000 /var/log/cloud-init-output.log | tr -d '\\"' | tr '\n' ' ')\"" || true
    shutdown -h now  # which terminates it
}
trap 'line=$LINENO' ERR
trap 'fail $?' EXIT  # a variable that is not set ends the script without ERR

cat >>/etc/ecs/ecs.config <<CONFIG
ECS_CLUSTER=$CLUSTER
ECS_AWSVPC_BLOCK_IMDS=true
ECS_ENABLE_SPOT_INSTANCE_DRAINING=true
ECS_CONTAINER_STOP_TIMEOUT=120s
ECS_IMAGE_PULL_BEHAVIOR=prefer-cached
ECS_DISABLE_PRIVILEGED=true
CONFIG

# The image is made from the minimal one, without the AWS CLI. Its efs-utils may be older than 3, which S3 Files need.
dnf install --assumeyes --quiet awscli-2 mdadm mount-s3 amazon-efs-utils jq
dnf upgrade --assumeyes --quiet --releasever=latest amazon-efs-utils

# The instance's own NVMe, as one file system: Dask spills to it, and Mountpoint caches on it.
mapfile -t disks < <(find /dev/disk/by-id -name 'nvme-Amazon_EC2_NVMe_Instance_Storage_*' -exec readlink -f {} + | sort -u)
if [ ${#disks[@]} -eq 0 ]; then
    echo "no instance store: choose an instance type with NVMe"
    false
fi
device=${disks[0]}
if [ ${#disks[@]} -gt 1 ]; then
    device=/dev/md0
    mdadm --create "$device" --level=0 --raid-devices=${#disks[@]} --run "${disks[@]}"
fi
mkfs.xfs -q -f "$device"
mkdir -p /mnt/nvme
mount -o noatime,nodev,nosuid "$device" /mnt/nvme
install --directory --owner="$USER_ID" --group="$USER_ID" --mode=0700 /mnt/nvme/spill

# TLS keys, in memory: a container sees the folder read-only.
mkdir -p /run/xdask/tls
mount -t tmpfs -o "size=1m,mode=0500,uid=$USER_ID,gid=$USER_ID,nodev,nosuid,noexec" xdask-tls /run/xdask/tls
keys=$(aws secretsmanager get-secret-value --region "$REGION" --secret-id "$TLS_SECRET" --query SecretString --output text)
for name in ca.pem node.pem node-key.pem; do
    install --owner="$USER_ID" --group="$USER_ID" --mode=0400 /dev/null "/run/xdask/tls/$name"
    jq --exit-status --raw-output --arg name "$name" '.[$name]' <<<"$keys" >"/run/xdask/tls/$name"
done
unset keys

# Data: the file system of this Region where there is one, otherwise each bucket by Mountpoint.
mkdir -p /mnt/data
lustre=
if [ -n "$LUSTRE_NAME" ]; then
    lustre=$(aws fsx describe-file-systems --region "$REGION" --output json --query \
        "FileSystems[?Lifecycle=='AVAILABLE' && Tags[?Key=='Name' && Value=='$LUSTRE_NAME']] | [0]")
fi
if [ -n "$lustre" ] && [ "$lustre" != null ]; then
    dnf install --assumeyes --quiet lustre-client
    address=$(jq --raw-output '"\(.DNSName)@tcp:/\(.LustreConfiguration.MountName)"' <<<"$lustre")
    mount -t lustre -o noatime,flock,nodev,nosuid "$address" /mnt/data
else
    # One line a mount: its folder, bucket, prefix, and options. Fields may be empty, so that no blank separates them.
    while IFS='|' read -r folder bucket prefix options; do
        [ -n "$folder" ] || continue
        mkdir -p "/mnt/data/$folder" "/mnt/nvme/cache/$folder"  # a cache belongs to one mount
        # shellcheck disable=SC2086  # options are words
        mount-s3 "$bucket" "/mnt/data/$folder" ${prefix:+--prefix "$prefix"} --region "$REGION" --read-only --allow-other \
            --dir-mode 0555 --file-mode 0444 --cache "/mnt/nvme/cache/$folder" --metadata-ttl 60 $options
    done <<<"$MOUNTS"
fi

# Results: the bucket of this Region, through its access point: all files belong to the image's user.
mkdir -p /mnt/results
mount -t s3files -o "accesspoint=$RESULTS_ACCESS_POINT,nodev,nosuid" "$RESULTS_FILE_SYSTEM:/" /mnt/results
