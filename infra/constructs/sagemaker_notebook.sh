#!/bin/bash
# Start of a SageMaker notebook instance, which may take five minutes at most. Everything but the folder SageMaker is lost at a
# stop; it is the disk of the instance, and keeps the environment, so that most starts neither download nor unpack.
set -euo pipefail

user=ec2-user home=/home/ec2-user
as_user() { runuser --user "$user" -- env HOME="$home" "$@"; }
dnf install --assumeyes --quiet python3.11 zstd jq amazon-efs-utils

environments=$home/SageMaker/.xdask
folder=$environments/$(basename "$ENVIRONMENT_KEY" .tar.zst)
if [ ! -d "$folder" ]; then
    as_user rm -rf "$environments"  # of earlier releases
    as_user mkdir -p "$folder.part"
    aws s3 cp --only-show-errors --region "$REGION" "s3://$BUCKET/$ENVIRONMENT_KEY" - \
        | as_user tar --extract --zstd --no-same-owner --directory "$folder.part"
    as_user python3.11 -m venv --without-pip "$folder.part"  # a link to the interpreter, and no path of the folder
    as_user mv "$folder.part" "$folder"  # complete, or not there
fi

# TLS keys, in memory.
mkdir -p /run/xdask/tls
mount -t tmpfs -o "size=1m,mode=0500,uid=$(id -u "$user"),nodev,nosuid,noexec" xdask-tls /run/xdask/tls
keys=$(aws secretsmanager get-secret-value --region "$REGION" --secret-id "$TLS_SECRET" --query SecretString --output text)
for name in ca.pem node.pem node-key.pem; do
    install --owner="$user" --mode=0400 /dev/null "/run/xdask/tls/$name"
    jq --exit-status --raw-output --arg name "$name" '.[$name]' <<<"$keys" >"/run/xdask/tls/$name"
done
unset keys

# Results of the client Region. A notebook works without them.
mkdir -p /results
dnf upgrade --assumeyes --quiet --releasever=latest amazon-efs-utils || true  # S3 Files need version 3
mount -t s3files -o "accesspoint=$RESULTS_ACCESS_POINT,nodev,nosuid" "$RESULTS_FILE_SYSTEM:/" /results \
    || echo "warning: /results was not mounted; results of other Regions can be read all the same"

# The same settings in the kernel and in terminals.
settings=(AWS_DEFAULT_REGION "$REGION" XDASK_TOPOLOGY "$folder/project/regions.yaml" XDASK_CATALOG "$CATALOG")
kernel=()
for ((i = 0; i < ${#settings[@]}; i += 2)); do
    kernel+=(--env "${settings[i]}" "${settings[i + 1]}")
    printf 'export %s=%q\n' "${settings[i]}" "${settings[i + 1]}"
done >/etc/profile.d/xdask.sh
# shellcheck disable=SC2016  # expanded by the shell that reads it
printf 'export PATH=%q:$PATH\n' "$folder/bin" >>/etc/profile.d/xdask.sh
as_user "$folder/bin/python" -m ipykernel install --user --name xdask --display-name xdask "${kernel[@]}"

# The instance stops when nobody uses it. The program belongs to root, and outlives this script; the image has no cron.
install --mode=0755 /dev/null /usr/local/sbin/xdask-idle
printf '%s\n' "$IDLE_PROGRAM" >/usr/local/sbin/xdask-idle
REGION=$REGION NOTEBOOK=$NOTEBOOK IDLE_SECONDS=$IDLE_SECONDS nohup /usr/local/sbin/xdask-idle \
    >/var/log/xdask-idle.log 2>&1 </dev/null &
