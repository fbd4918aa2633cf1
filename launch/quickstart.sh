#!/usr/bin/env bash
# The whole pipeline on built-in data: records, AMR pre-training, and the accuracy of the encoder compared
# with a random one.
#
#   bash launch/quickstart.sh [DIR]      default: runs/quickstart in the repository
#
# Makes the environment and installs amr_jax first (launch/environment.sh; on a GPU set AMR_EXTRAS=cuda13).
# Then it takes about 4 minutes on two cores, and 0.5 GB in DIR. With the same DIR again, data, records
# and the pre-trained encoder are kept (a run that was stopped resumes); the evaluations run again.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
out=${1:-$repository/runs/quickstart}
mkdir -p "$out" || fail "cannot make the folder $out."
out=$(cd "$out" && pwd)

step() {
  printf '\n[%d:%02d] %s\n' $((SECONDS / 60)) $((SECONDS % 60)) "$*"
}

find_venv
# shellcheck disable=SC2119 # no extras
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

number=3
for protocol in linear knn; do
  step "$((number += 1))/5 evaluation: $protocol"
  "$venv_python" -m amr_jax.evaluate --config="configs/$protocol.py:synthetic" \
    --config.pretrained="$out/amr" --workdir="$out/$protocol"
done

step "done"
"$venv_python" launch/quickstart_report.py "$out" | tee "$out/report.txt"
