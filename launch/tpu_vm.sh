#!/usr/bin/env bash
# One TPU host: to be run on a TPU VM that is there already, for all its chips, in one process. Of a slice
# of several hosts each must run it; launch/tpu_pod.sh does that.
#
#   bash launch/tpu_vm.sh [--dry_run] COMMAND ARGUMENTS…
#   e.g. bash launch/tpu_vm.sh pretrain --config=configs/amr.py:ntu60_xsub --config.data_dir=gs://B/data --workdir=gs://B/run
#
# runs `python -m amr_jax.COMMAND ARGUMENTS…` and starts it again when it ends with status 75: told to
# stop, everything saved. Ctrl-C and SIGTERM save and stop; once more Ctrl-C kills.
#
#   --once          do not start it again: who started this does
#   --install_only  make the environment, run nothing
#
# To set: AMR_EXTRAS (default tpu,gcs) and what launch/environment.sh says. Where no Python >= 3.11 is
#         found, as on images of Ubuntu 22.04, one is fetched by `uv`.
# Cost:   chips × hours while the VM exists, running or idle: delete it. Prices: cloud.google.com/tpu/pricing
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

# Makes the virtual environment with a Python of its own, if there is neither.
fetch_python() {
  local venv=${AMR_VENV:-$repository/.venv}
  if is_new_enough "$venv/bin/python" || (find_python) >/dev/null 2>&1; then
    find_venv
    return
  fi
  say "no Python >= 3.11 here: fetching one"
  run python3 -m pip install --quiet --user uv
  run python3 -m uv venv --quiet --seed --python 3.12 "$venv"
  venv_python=$venv/bin/python
}

AMR_EXTRAS=${AMR_EXTRAS-tpu,gcs}
fetch_python
# shellcheck disable=SC2119 # its extras stand in AMR_EXTRAS
install_package
[ -z "$install_only" ] || exit 0
if [ -n "$once" ]; then
  run exec "$venv_python" -m "amr_jax.$1" "${@:2}"
else
  until_done "$venv_python" -m "amr_jax.$1" "${@:2}"
fi
