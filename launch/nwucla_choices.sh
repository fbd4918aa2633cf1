#!/usr/bin/env bash
# The README's table of choices that the paper leaves open, on NW-UCLA: for each, AMR pre-training, the
# linear probe and 1-NN, and a line of results.
#
#   bash launch/nwucla_choices.sh RAW DIR [PRETRAIN OPTIONS]     e.g. … RAW DIR --config.epochs=200
#
# RAW holds nw_ucla_all_sqe.zip; records, runs and table.md go to DIR. About 10 minutes a choice on two
# cores. Again with the same DIR: goes on with what is missing.
set -euo pipefail
raw=$(realpath "$1") && mkdir -p "$2" && out=$(realpath "$2")
shift 2
# shellcheck source-path=SCRIPTDIR source=environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
find_venv
# shellcheck disable=SC2119 # no extras here
install_package
cd "$repository"

# name, then the options of the choice; the first is the default of configs/amr.py:nwucla.
choices=(
  "motion-patch-focal --config.model.target=motion --config.model.normalisation=patch"
  "motion-patch-plain --config.model.target=motion --config.model.normalisation=patch --config.model.weighting=none"
  "joint-none-focal --config.model.target=joint --config.model.normalisation=none"
  "joint-none-plain --config.model.target=joint --config.model.normalisation=none --config.model.weighting=none"
  "joint-patch-focal --config.model.target=joint --config.model.normalisation=patch"
  "joint-timestamps-focal --config.model.target=joint --config.model.normalisation=timestamps"
  "motion-none-focal --config.model.target=motion --config.model.normalisation=none"
  "motion-timestamps-focal --config.model.target=motion --config.model.normalisation=timestamps"
)

"$venv_python" -m amr_jax.prepare --dataset=nw_ucla --manual_dir="$raw" --data_dir="$out/records"
for choice in "${choices[@]}"; do
  read -r -a words <<<"$choice"
  run=$out/${words[0]}
  "$venv_python" -m amr_jax.pretrain --config=configs/amr.py:nwucla \
    --config.data_dir="$out/records" --workdir="$run" "${words[@]:1}" "$@"
  for protocol in linear knn; do
    [ -f "$run/$protocol/results.json" ] ||
      "$venv_python" -m amr_jax.evaluate --config="configs/$protocol.py:nwucla" \
        --config.pretrained="$run" --workdir="$run/$protocol"
  done
done

"$venv_python" - "$out" "${choices[@]%% *}" <<'PYTHON' | tee "$out/table.md"
import json, pathlib, sys

print("| choice | linear | 1-NN | random encoder: linear | 1-NN | pre-training |")
print("|---|---|---|---|---|---|")
for name in sys.argv[2:]:
    run = pathlib.Path(sys.argv[1], name)
    top1 = [
        100 * json.loads((run / protocol / "results.json").read_text())["encoders"][encoder]["top1"]
        for encoder in ("pretrained", "random")
        for protocol in ("linear", "knn")
    ]
    times = [json.loads(line)["time"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    accuracies = " | ".join(f"{value:.1f}" for value in top1)
    print(f"| {name.replace('-', ', ')} | {accuracies} | {times[-1] - times[0]:,.0f} s |")
PYTHON
