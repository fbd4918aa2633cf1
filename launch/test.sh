#!/usr/bin/env bash
# Checks style and runs the tests, on the CPU.
#
#   bash launch/test.sh [ARGUMENTS OF PYTEST]      e.g. bash launch/test.sh -m 'not slow' tests/methods
#
# Makes the environment and installs amr_jax[test,docs] if need be (launch/environment.sh), then runs
# ruff, import-linter (the order of the sub-packages, pyproject.toml) and pytest; one test builds the
# documentation site. Two processes share the test files (a debugger needs AMR_TEST_PROCESSES=1).
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

find_venv
install_package test docs
cd "$repository"
export JAX_PLATFORMS=cpu
"$venv_python" -m ruff check .
"$venv_python" -m ruff format --check .
"$(dirname "$venv_python")/lint-imports"
exec "$venv_python" -m pytest --numprocesses="${AMR_TEST_PROCESSES:-2}" --dist=loadfile "$@"
