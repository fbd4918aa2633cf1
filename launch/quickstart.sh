#!/usr/bin/env bash
# Everything once, without any data of your own: built-in data, records, AMR pre-training, and what the
# encoder is worth beside a random one.
#
#   bash launch/quickstart.sh [DIR]      default: runs/quickstart in the repository
#
# Makes the environment and installs amr_jax if need be (launch/environment.sh says how to change where;
# on a GPU: AMR_EXTRAS=cuda13). After the install under 8 minutes on two cores, and 0.5 GB in DIR.
# Again with the same DIR: data and records are kept, and so is the pre-trained encoder (a run that was
# stopped goes on); the evaluations are done again.
set -euo pipefail
out=${1:-}
case $out in '' | /*) ;; *) out=$PWD/$out ;; esac
# shellcheck source-path=SCRIPTDIR source=environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
out=${out:-$repository/runs/quickstart}
mkdir -p "$out" || fail "cannot make the folder $out."
out=$(cd "$out" && pwd)

step() {
  printf '\n[%d:%02d] %s\n' $((SECONDS / 60)) $((SECONDS % 60)) "$*"
}

find_venv
# shellcheck disable=SC2119 # no extras here
install_package
cd "$repository" # config files are named relative to it
SECONDS=0

step "1/5 built-in data: raw files, in the format of NTU RGB+D 60"
"$venv_python" -m amr_jax.synthetic --out="$out/raw" ||
  fail "after an update of amr_jax that changes the built-in data, remove $out and start again."

step "2/5 records"
"$venv_python" -m amr_jax.prepare --dataset=ntu_rgbd60 --manual_dir="$out/raw" \
  --data_dir="$out/records"

step "3/5 pre-training: AMR"
"$venv_python" -m amr_jax.pretrain --config=configs/amr.py:synthetic \
  --config.data_dir="$out/records" --workdir="$out/amr"

step "4/5 evaluation: linear"
"$venv_python" -m amr_jax.evaluate --config=configs/linear.py:synthetic \
  --config.pretrained="$out/amr" --workdir="$out/linear"

step "5/5 evaluation: nearest neighbour"
"$venv_python" -m amr_jax.evaluate --config=configs/knn.py:synthetic \
  --config.pretrained="$out/amr" --workdir="$out/knn"

step "done"
"$venv_python" launch/quickstart_report.py "$out" | tee "$out/report.txt"
