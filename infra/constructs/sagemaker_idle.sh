#!/bin/bash
# Stops a notebook instance whose kernels and terminals did nothing for some time. Settings are in the environment.
set -uo pipefail

jupyter=${JUPYTER:-https://localhost:8443}
answer() { curl --silent --insecure --fail --max-time 10 "$jupyter/api/$1"; }  # the certificate is Jupyter's own

used=$(date +%s)
while sleep "${PAUSE_SECONDS:-60}"; do
    now=$(date +%s)
    if ! kernels=$(answer kernels); then
        echo "Jupyter does not answer, which counts as use"  # better an instance too long than a computation that is lost
        used=$now
        continue
    fi
    terminals=$(answer terminals) || terminals='[]'
    newest=$(jq --slurp --raw-output 'add | if any(.execution_state == "busy") then "now" else map(.last_activity) | max // "" end' \
        <<<"$kernels $terminals") || newest=now
    if [ -n "$newest" ]; then
        at=$(date --date="$newest" +%s) || at=$now
        [ "$at" -le "$used" ] || used=$at
    fi
    if [ $((now - used)) -ge "$IDLE_SECONDS" ]; then
        echo "nothing was done for $((now - used)) s: the instance stops"
        aws sagemaker stop-notebook-instance --region "$REGION" --notebook-instance-name "$NOTEBOOK" && exit 0
    fi
done
