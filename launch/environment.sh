# shellcheck shell=bash
# The environment of all scripts here; they source it, from bash with `set -euo pipefail`.
#
#   find_venv                 sets `venv_python`: of the virtual environment, which is made if it is not there
#   install_package [EXTRA]…  installs this repository into it, unless nothing changed since the last time
#   run COMMAND…              runs it; with `dry_run` set, prints it instead, quoted, on one line
#
# Needs Python >= 3.11 with venv, and a package index for the first install (about 1 GB, minutes).
# AMR_PYTHON  the Python to make the environment with (default: the first that is new enough)
# AMR_VENV    folder of the environment (default: .venv in the repository)
# AMR_EXTRAS  further extras of setup.py, for accelerators: e.g. cuda13

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
dry_run=

fail() {
  echo "error: $*" >&2
  exit 2
}

# What happens, for the reader; not in a dry run, which prints commands alone.
say() {
  [ -n "$dry_run" ] || echo "$*"
}

run() {
  if [ -n "$dry_run" ]; then
    quoted "$@"
  else
    "$@"
  fi
}

# Prints a command so that a shell would run just that.
quoted() {
  local word words=()
  for word in "$@"; do
    case $word in
      '' | *[!A-Za-z0-9_/.:=@%+,-]*) words+=("${word@Q}") ;;
      *) words+=("$word") ;;
    esac
  done
  echo "${words[*]}"
}

is_new_enough() {
  "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

# Prints the Python to make the environment with.
find_python() {
  local candidate
  if [ -n "${AMR_PYTHON:-}" ]; then
    is_new_enough "$AMR_PYTHON" || fail "AMR_PYTHON=$AMR_PYTHON is not a Python >= 3.11."
    echo "$AMR_PYTHON"
    return
  fi
  for candidate in python3 python python3.13 python3.12 python3.11 python3.14; do
    if is_new_enough "$candidate"; then
      echo "$candidate"
      return
    fi
  done
  fail "no Python >= 3.11 found (python3 is: $(python3 --version 2>/dev/null || echo absent))." \
    "Install one, or name it: AMR_PYTHON=/path/to/python bash $0"
}

find_venv() {
  local python venv
  venv=${AMR_VENV:-$repository/.venv}
  case $venv in /*) ;; *) venv=$PWD/$venv ;; esac
  venv_python=$venv/bin/python
  if is_new_enough "$venv_python" && "$venv_python" -m pip --version >/dev/null 2>&1; then
    return
  fi
  if [ -n "${AMR_VENV:-}" ] && [ -e "$venv" ]; then
    fail "AMR_VENV=$venv is no virtual environment with Python >= 3.11 and pip." \
      "Name a folder that is not there yet, or one that is."
  fi
  python=$(find_python) || exit
  say "making the environment $venv with $("$python" --version)"
  # --clear: if our own folder is there, it was left half-made, or its Python is gone.
  run "$python" -m venv --clear "$venv" ||
    fail "$python could not make $venv. On Debian and Ubuntu: apt-get install python3-venv."
}

# What an installation depends on: the requirements, where the repository is, and every package that is
# there. So a package that was changed or removed by hand leads to another install, too.
installed_state() {
  "$venv_python" - "$repository" "$@" <<'PYTHON'
import hashlib, pathlib, sys, sysconfig

digest = hashlib.sha256(repr((sys.version, sys.argv[1:])).encode())
for name in ("setup.py", "pyproject.toml"):
    digest.update(pathlib.Path(sys.argv[1], name).read_bytes())
packages = pathlib.Path(sysconfig.get_path("purelib")).glob("*.dist-info")
digest.update(repr(sorted(p.name for p in packages)).encode())
print(digest.hexdigest())
PYTHON
}

install_package() {
  local extras stamp
  extras=$(IFS=,; echo "$*${AMR_EXTRAS:+${*:+,}$AMR_EXTRAS}")
  stamp=$(dirname "$venv_python")/../.amr_jax_installed_${extras//,/_}
  if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(installed_state "$extras")" ]; then
    return
  fi
  say "installing amr_jax${extras:+[$extras]} and what it needs"
  run rm -f "$stamp"
  run "$venv_python" -m pip install --quiet --disable-pip-version-check \
    --editable "$repository${extras:+[$extras]}" ||
    fail "the installation failed (pip's message is above); nothing was run."
  [ -n "$dry_run" ] || installed_state "$extras" >"$stamp"
}
