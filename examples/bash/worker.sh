#!/usr/bin/env bash
# Claims jobs over JSON, and renders them one after another: worker.sh GATEWAY THUMBNAILS
set -euo pipefail
: "${RENDER:?names the program that draws}"
gateway=$1/api/thumbnail-jobs thumbnails=$2
worker="bash-$(hostname)-$$"
direct=${no_proxy:-${NO_PROXY:-}} # curl looks at the second only without the first
export no_proxy="${direct:+$direct,}localhost,127.0.0.1,::1" # a proxy cannot reach this machine

post() { curl --silent --show-error --fail-with-body --header 'Content-Type: application/json' --data "$2" "$gateway/$1"; }

errors=$(mktemp)
trap 'rm -f "$errors"' EXIT
# Bash waits for curl before it looks at a signal, so a job that was claimed meanwhile is still rendered.
stopping=
trap 'stopping=1' TERM INT
while [ -z "$stopping" ]; do
    # The answer is empty when no job came within 5 seconds. When the gateway is away, wait a moment.
    job=$(post dequeue "{\"workerId\": \"$worker\", \"wait\": \"5s\"}") || { sleep 2; continue; }
    [ -n "$job" ] || continue
    id=$(jq -r .id <<<"$job")
    token=$(jq -r .leaseToken <<<"$job")
    picture=$thumbnails/$(jq -r .modelHash <<<"$job").png
    # A program that prints no size, or draws nothing, has failed.
    if size=$("$RENDER" "$(jq -r .modelId <<<"$job")" "$picture" 2>"$errors") && read -r width height <<<"$size" &&
        bytes=$(stat -c %s "$picture" 2>"$errors") &&
        result=$(jq -n --arg token "$token" --arg path "$picture" --argjson size "$bytes" \
            --argjson width "$width" --argjson height "$height" 2>"$errors" \
            '{leaseToken: $token, thumbnailPath: $path, sizeBytes: $size, width: $width, height: $height}'); then
        post "$id/complete" "$result" >/dev/null || echo "job $id: the result was refused" >&2
    else
        result=$(jq -n --arg token "$token" --arg error "$(head -c 1000 "$errors")" \
            '{leaseToken: $token, errorMessage: ($error | if . == "" then "no reason given" else . end)}')
        post "$id/fail" "$result" >/dev/null || echo "job $id: the failure was refused" >&2
    fi
done
