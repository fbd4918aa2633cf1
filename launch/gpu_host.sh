#!/usr/bin/env bash
# Runs a command on one machine with GPUs: one process, all GPUs.
#
#   bash launch/gpu_host.sh [--dry_run] COMMAND ARGUMENTS…
#   e.g. bash launch/gpu_host.sh pretrain --config=configs/amr.py:ntu60_xsub --config.data_dir=DATA --workdir=RUN
#
# Runs `python -m amr_jax.COMMAND ARGUMENTS…`, and again when it exits with status 75 (preempted, saved).
# Ctrl-C and SIGTERM save and stop; a second Ctrl-C kills. --install_only makes the environment and exits.
#
# To set: AMR_EXTRAS (default cuda13,gcs; with an older driver cuda12,gcs) and the variables of
#         launch/environment.sh; CUDA_VISIBLE_DEVICES=0,1 for some of the GPUs.
# Several machines: run it on each with --coordinator=FIRST_HOST:8476 --num_processes=N --process_id=I
#         (0 on the first) behind ARGUMENTS, and a workdir that all of them share.
# Cost:   GPUs × hours while it runs. Twice the GPUs take more than half the time: config.batch_size is
#         that of all GPUs together, and small per GPU.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=commands.sh
source "$(dirname "${BASH_SOURCE[0]}")/commands.sh"

install_only=''
while [ $# -gt 0 ]; do
  case $1 in
    --dry_run) dry_run=1 ;;
    --install_only) install_only=1 ;;
    -*) fail "unknown flag $1; expected --dry_run, --install_only, or a command before its own flags." ;;
    *) break ;;
  esac
  shift
done
[ -n "$install_only" ] || check_command "$@"

AMR_EXTRAS=${AMR_EXTRAS-cuda13,gcs}
find_venv
# shellcheck disable=SC2119 # the extras are in AMR_EXTRAS
install_package
[ -n "$install_only" ] || until_done "$venv_python" -m "amr_jax.$1" "${@:2}"
