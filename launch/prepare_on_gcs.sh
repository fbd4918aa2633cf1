#!/usr/bin/env bash
# Prepares raw files in a bucket as records in a bucket, on this machine's disk: readers unpack archives
# at random places, and records are put together and moved, which buckets cannot do.
#
#   bash launch/prepare_on_gcs.sh [--dry_run] --raw=gs://B/raw --data=gs://B/data [--scratch=DIR] \
#       --dataset=NAME [FLAGS OF PREPARE]…
#   e.g. bash launch/prepare_on_gcs.sh --raw=gs://B/nturgbd --data=gs://B/data --dataset=ntu_rgbd60
#
# Downloads, runs `python -m amr_jax.prepare`, and uploads the records, their descriptions last: an upload
# that was cut short is not taken for complete. The same command again uploads only what is missing.
#
# To set: gcloud with rights on both buckets; --scratch (default: amr_prepare in the current folder), a
#         disk for the raw files and twice the records, which is not cleaned up; AMR_EXTRAS (default none)
#         and the variables of launch/environment.sh. For s3://, do the three steps by hand: aws s3 sync,
#         python -m amr_jax.prepare, aws s3 sync.
# Cost:   a machine with many cores, no accelerator, in the region of the buckets (else the transfer is
#         charged); cores × minutes, and the storage. cloud.google.com/storage/pricing
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=commands.sh
source "$(dirname "${BASH_SOURCE[0]}")/commands.sh"

raw='' data='' scratch=amr_prepare dataset='' flags=()
for argument in "$@"; do
  case $argument in
    --dry_run) dry_run=1 ;;
    --raw=*) raw=${argument#*=} ;;
    --data=*) data=${argument#*=} ;;
    --scratch=*) scratch=${argument#*=} ;;
    --manual_dir* | --data_dir*) fail "$argument is set by this script; use --raw=gs://… and --data=gs://…." ;;
    --dataset=*) dataset=${argument#*=} ;;
    *) flags+=("$argument") ;;
  esac
done
[ -n "$dataset" ] || fail "--dataset=… is missing; the head of $0 lists the flags."
for setting in raw data; do
  case ${!setting} in
    gs://?*) ;;
    *) fail "expected --$setting=gs://BUCKET/…; the head of $0 lists the flags." ;;
  esac
done
[ -n "$dry_run" ] || command -v gcloud >/dev/null || fail "gcloud is not installed: cloud.google.com/sdk"

find_venv
# shellcheck disable=SC2119 # the extras are in AMR_EXTRAS
install_package
run mkdir -p "$scratch/raw" "$scratch/records"
run gcloud storage rsync --recursive "$raw" "$scratch/raw"
run "$venv_python" -m amr_jax.prepare --dataset="$dataset" --manual_dir="$scratch/raw" \
  --data_dir="$scratch/records" ${flags[@]+"${flags[@]}"}
run gcloud storage rsync --recursive --exclude='.*\.json$' "$scratch/records" "${data%/}"
run gcloud storage rsync --recursive "$scratch/records" "${data%/}"
