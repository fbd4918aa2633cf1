#!/usr/bin/env bash
# Runs a command on an existing TPU VM: one process, all chips of the host. On a slice of several hosts,
# run it on each of them; launch/tpu_pod.sky.yaml does that.
#
#   bash launch/tpu_vm.sh [--dry_run] COMMAND ARGUMENTS…
#   e.g. bash launch/tpu_vm.sh pretrain --config=configs/amr.py:ntu60_xsub --config.data_dir=gs://B/data --workdir=gs://B/run
#
# Runs `python -m amr_jax.COMMAND ARGUMENTS…`, and again when it exits with status 75 (preempted, saved).
# Ctrl-C and SIGTERM save and stop; a second Ctrl-C kills.
#
#   --once          do not run it again: whoever calls this script does
#   --install_only  make the environment and exit
#
# To set: AMR_EXTRAS (default tpu,gcs) and the variables of launch/environment.sh. Where there is no
#         Python >= 3.11, as on images of Ubuntu 22.04, `uv` fetches one.
# Cost:   chips × hours while the VM exists, running or idle: delete it. cloud.google.com/tpu/pricing
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=commands.sh
source "$(dirname "${BASH_SOURCE[0]}")/commands.sh"

once='' install_only=''
while [ $# -gt 0 ]; do
  case $1 in
    --dry_run) dry_run=1 ;;
    --once) once=1 ;;
    --install_only) install_only=1 ;;
    -*) fail "unknown flag $1; expected --dry_run, --once, --install_only, or a command before its own flags." ;;
    *) break ;;
  esac
  shift
done
[ -n "$install_only" ] || check_command "$@"

AMR_EXTRAS=${AMR_EXTRAS-tpu,gcs}
venv=${AMR_VENV:-$repository/.venv}
if is_new_enough "$venv/bin/python" || (find_python) >/dev/null 2>&1; then
  find_venv
else
  run python3 -m pip install --quiet --user uv
  run python3 -m uv venv --quiet --seed --python 3.12 "$venv"
  venv_python=$venv/bin/python
fi
# shellcheck disable=SC2119 # the extras are in AMR_EXTRAS
install_package
if [ -n "$install_only" ]; then
  exit
elif [ -n "$once" ]; then
  run exec "$venv_python" -m "amr_jax.$1" "${@:2}"
else
  until_done "$venv_python" -m "amr_jax.$1" "${@:2}"
fi
