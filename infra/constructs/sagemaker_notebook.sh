#!/bin/bash
# Start of a SageMaker notebook instance: the environment comes as one archive, because a start may take five minutes at most.
set -euo pipefail

archive=/home/ec2-user/SageMaker/.xdask/environment.tar.zst
folder=/home/ec2-user/xdask
mkdir -p "$(dirname "$archive")" "$folder"
# The archive is downloaded again only when it changed.
aws s3 cp --only-show-errors --region "$REGION" "s3://$BUCKET/environment/environment.tar.zst.sha256" "$archive.wanted"
if ! (cd "$(dirname "$archive")" && sha256sum --status --check "$(basename "$archive").wanted"); then
    aws s3 cp --only-show-errors --region "$REGION" "s3://$BUCKET/environment/environment.tar.zst" "$archive"
    (cd "$(dirname "$archive")" && sha256sum --quiet --check "$(basename "$archive").wanted")
fi
tar --extract --zstd --file "$archive" --directory "$folder"

# TLS keys, in memory.
mkdir -p /run/xdask/tls
mount -t tmpfs -o size=1m,mode=0500,uid=1000,nodev,nosuid,noexec xdask-tls /run/xdask/tls
keys=$(aws secretsmanager get-secret-value --region "$REGION" --secret-id "$TLS_SECRET" --query SecretString --output text)
for name in ca.pem node.pem node-key.pem; do
    install --owner=1000 --mode=0400 /dev/null "/run/xdask/tls/$name"
    jq --exit-status --raw-output --arg name "$name" '.[$name]' <<<"$keys" >"/run/xdask/tls/$name"
done
unset keys
sudo -u ec2-user "$folder/bin/python" -m ipykernel install --user --name xdask --display-name "xdask"
