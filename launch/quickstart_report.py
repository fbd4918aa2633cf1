"""Prints the results of a quickstart: `python launch/quickstart_report.py DIR`."""

import json
import math
import sys
from pathlib import Path


def report(folder: Path) -> str:
    """The accuracies of both protocols and both encoders, from their `results.json`."""
    results = {
        name: json.loads((folder / name / "results.json").read_text(encoding="utf-8"))
        for name in ("linear", "knn")
    }
    linear = results["linear"]
    last = (folder / "amr" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1]
    lines = [
        f"AMR on the built-in data, x-sub: {linear['train_sequences']:,} sequences to train, "
        f"{linear['test_sequences']:,} to test, {linear['classes_in_test']} classes",
        f"pre-trained for {json.loads(last)['epoch']:.0f} epochs"
        f" ({linear['pretraining']['step']:,} steps)",
        "",
        f"{'top-1 %':20}{'pre-trained':>12}{'random':>10}{'gain':>8}",
    ]
    for title, name in (("linear", "linear"), ("nearest neighbour", "knn")):
        learned, random = (
            100 * results[name]["encoders"][encoder]["top1"] for encoder in ("pretrained", "random")
        )
        lines.append(f"{title:20}{learned:12.1f}{random:10.1f}{learned - random:+8.1f}")
    best, count = linear["encoders"]["pretrained"]["top1"], linear["test_sequences"]
    error = 100 * math.sqrt(best * (1 - best) / count)
    lines.append(f"one seed; standard error about {error:.1f} points")
    versions = linear["versions"]
    lines += [
        "",
        f"on {versions['devices']}, jax {versions['jax']}, Python {versions['python']}",
        f"encoder: {folder / 'amr'}; reports, to open in a browser:",
        *(f"  {folder / name / 'report.html'}" for name in ("amr", "linear", "knn")),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(report(Path(sys.argv[1])))
