# shellcheck shell=bash
# Python environment of the scripts in this folder. They source this file under `set -euo pipefail`.
#
#   find_venv                 sets `venv_python`, and makes the virtual environment if it is absent
#   install_package [EXTRA]…  installs this repository, unless that is done since setup.py changed
#   run COMMAND…              runs a command; with `dry_run` set, prints it on one line
#
# Needs Python >= 3.11 with venv, and a package index for the first install (about 1 GB, minutes).
# AMR_PYTHON  Python to make the environment with (default: the first that is new enough)
# AMR_VENV    folder of the environment (default: .venv in the repository)
# AMR_EXTRAS  more extras of setup.py, such as cuda13

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
dry_run=

fail() {
  echo "error: $*" >&2
  exit 2
}

run() {
  if [ -z "$dry_run" ]; then
    "$@"
  else # quoted, so that a shell would run it
    printf '%s ' "${@@Q}" && echo
  fi
}

is_new_enough() {
  "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
  local candidate
  for candidate in ${AMR_PYTHON:-python3 python python3.13 python3.12 python3.11 python3.14}; do
    if is_new_enough "$candidate"; then
      echo "$candidate"
      return
    fi
  done
  fail "no Python >= 3.11 found (${AMR_PYTHON:-python3} is: $("${AMR_PYTHON:-python3}" --version 2>/dev/null || echo absent))." \
    "Install one, or name it: AMR_PYTHON=/path/to/python bash $0"
}

find_venv() {
  local python venv=${AMR_VENV:-$repository/.venv}
  venv_python=$(realpath --no-symlinks --canonicalize-missing "$venv")/bin/python
  if is_new_enough "$venv_python"; then
    return
  fi
  [ -z "${AMR_VENV:-}" ] || [ ! -e "$venv" ] ||
    fail "AMR_VENV=$venv is no virtual environment with Python >= 3.11. Name one, or a new folder."
  python=$(find_python) || exit
  # --clear: the repository's own environment may be incomplete, or its Python may be gone.
  run "$python" -m venv --clear "$venv" ||
    fail "$python could not make $venv. On Debian and Ubuntu: apt-get install python3-venv."
}

install_package() {
  local extras stamp
  extras=$(IFS=,; echo "$*${AMR_EXTRAS:+${*:+,}$AMR_EXTRAS}")
  stamp=$(dirname "$venv_python")/.amr_jax_installed_${extras//,/_}
  if [ "$(cat "$stamp" 2>/dev/null)" = "$repository" ] && [ "$stamp" -nt "$repository/setup.py" ]; then
    return
  fi
  run "$venv_python" -m pip install --quiet --disable-pip-version-check \
    --editable "$repository${extras:+[$extras]}" ||
    fail "the installation failed (pip's message is above); nothing was run."
  [ -n "$dry_run" ] || echo "$repository" >"$stamp"
}
