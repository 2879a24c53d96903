#!/bin/sh
# Rows in, adapter out, with nothing but curl: sh docs/examples/curl.sh rows.jsonl folder
# NEFTUNE_URL and NEFTUNE_API_KEY say where the service is.
set -eu
rows=$1 out=$2

ask() { curl --fail-with-body --silent --show-error --header "Authorization: Bearer $NEFTUNE_API_KEY" "$@"; }
id() { sed 's/.*"id": *"\([^"]*\)".*/\1/'; }

dataset=$(ask --header 'Content-Type: application/octet-stream' --data-binary "@$rows" "$NEFTUNE_URL/datasets" | id)
echo "dataset $dataset"

# The key makes it safe to send this again when no answer came: it stays one job.
job=$(ask --header 'Content-Type: application/json' --header "Idempotency-Key: $dataset-alpha-5" "$NEFTUNE_URL/jobs" \
    --data '{"model": "neftune/demo-base", "dataset": "'"$dataset"'", "alpha": 5}' | id)
echo "job $job"

# Live until it ends; the stream ends with the job. After ten minutes, or a lost line, ask again with Last-Event-ID.
ask --no-buffer "$NEFTUNE_URL/jobs/$job/stream" | grep '"status"'

mkdir -p "$out"
ask --location "$NEFTUNE_URL/jobs/$job/artifacts/adapter" | tar -x -C "$out"
ask "$NEFTUNE_URL/jobs/$job/record" > "$out/record.json"
ls "$out/adapter"
