"""Records, runs and models that version 0.1.0 wrote still load, and give the same results.

The fixture holds built-in data only: records of 10 training and 10 test sequences, an AMR run of
24 steps stopped after step 12, the classifier of a linear evaluation, three raw files, and the
results of version 0.1.0 in expected.json. All commands run on one device.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
# What a slow machine shows of parts that take long.
PROGRESS = re.compile(r"(reading|compiling|training, step|the first|knn, |writing|drawing)")
FIXTURE = REPOSITORY / "tests/golden/fixture_v0_1_0"


@pytest.fixture
def old(tmp_path) -> Path:
    return Path(shutil.copytree(FIXTURE, tmp_path / "old"))


@pytest.fixture(scope="module")
def expected() -> dict:
    return json.loads((FIXTURE / "expected.json").read_text())


def command(name: str, *arguments) -> str:
    """What a command prints; it ends with status 0, and no library says anything."""
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY), "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
    ended = subprocess.run(
        [sys.executable, "-m", f"amr_jax.{name}", *map(str, arguments)],
        cwd=REPOSITORY, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-3000:]
    noise = [line for line in ended.stderr.splitlines() if not PROGRESS.match(line)]
    assert noise == []
    return ended.stdout


def test_records_are_as_their_checksums_say(old):
    printed = command("prepare", "--verify", f"--data_dir={old}/data")
    assert "train 10, test 10 sequences" in printed
    assert "are as written" in printed


def test_the_run_goes_on_to_the_same_losses(old, expected):
    as_before = ("--config.input.absent_frames=counted", "--config.matmul_precision=default")
    where = (f"--config.data_dir={old}/data", f"--workdir={old}/run")
    printed = command("pretrain", *expected["pretrain"], *as_before, *where)
    assert f"resumed from {expected['step']}" in printed
    rows = [json.loads(line) for line in (old / "run/metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, len(expected["losses"]) + 1))
    losses, norms = ([row[name] for row in rows] for name in ("loss", "grad_norm"))
    np.testing.assert_allclose(losses, expected["losses"], rtol=2e-5)
    np.testing.assert_allclose(norms, expected["grad_norms"], rtol=2e-4)


def test_the_encoder_is_worth_the_same(old, expected):
    command(
        "evaluate", *expected["evaluate"], f"--config.pretrained={old}/run",
        f"--config.data_dir={old}/data", f"--workdir={old}/knn",
    )  # fmt: skip
    found = json.loads((old / "knn/results.json").read_text())["encoders"]
    assert {name: row["top1"] for name, row in found.items()} == expected["knn"]
    for name, row in found.items():
        np.testing.assert_allclose(row["feature_std"], expected["feature_std"][name], rtol=1e-4)


def test_the_classifier_says_the_same(old, expected):
    files = [f"{old}/raw.zip!{row['file']}" for row in expected["predicted"]]
    command("predict", f"--checkpoint={old}/linear", f"--json={old}/out.jsonl", *files)
    found = [json.loads(line) for line in (old / "out.jsonl").read_text().splitlines()]
    for row, then in zip(found, expected["predicted"], strict=True):
        for key in ("frames", "used_frames", "bodies"):
            assert row[key] == then[key]
        shares, shares_then = ([one["probability"] for one in r["top"]] for r in (row, then))
        np.testing.assert_allclose(shares, shares_then, rtol=1e-4)
        assert row["top"][0]["class"] == then["top"][0]["class"]  # others are nearly as probable
