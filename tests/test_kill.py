"""SIGKILL at awkward moments, the same command again: the same bits as a run never killed."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from amr_jax import checkpoint, metrics

REPOSITORY = Path(__file__).resolve().parent.parent


def start(data_dir, folder) -> subprocess.Popen:
    """The command as a user gives it, on one device, with a checkpoint at every second dispatch."""
    arguments = {
        "config": f"{REPOSITORY}/configs/amr.py:nwucla,runlocal",
        "workdir": folder,
        "config.data_dir": data_dir,
        "config.encoder.num_frames": 24,
        "config.batch_size": 8,
        "config.input.split": "train",
        "config.epochs": 12,  # of 40 sequences: 60 steps
        "config.checkpoint.epochs": 1,
        "config.optim.ema_decay": 0.9,
    }
    return subprocess.Popen(
        [sys.executable, "-m", "amr_jax.pretrain", *(f"--{k}={v}" for k, v in arguments.items())],
        cwd=REPOSITORY,
        env={
            **os.environ,
            "XLA_FLAGS": "",
            "JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir,
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen) -> None:
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors


def kill_when(process: subprocess.Popen, condition) -> None:
    deadline = time.monotonic() + 240
    while not condition():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.slow
def test_killed_runs_end_in_the_same_bits(tiny_ucla, tmp_path):
    finish(start(tiny_ucla, tmp_path / "undisturbed"))

    folder = tmp_path / "killed"
    saves = folder / checkpoint.FOLDER
    # While a checkpoint is being written.
    kill_when(start(tiny_ucla, folder), lambda: any(saves.glob("*.orbax-checkpoint-tmp*/**/d/*")))
    # At any moment after one is complete.
    moment = time.monotonic() + 1e9
    rng = random.Random(0)

    def a_little_later():
        nonlocal moment
        if any(path.name.isdigit() for path in saves.glob("*")):
            moment = min(moment, time.monotonic() + rng.uniform(0, 0.5))
        return time.monotonic() >= moment

    kill_when(start(tiny_ucla, folder), a_little_later)
    finish(start(tiny_ucla, folder))

    expected, _, step = checkpoint.load_encoder(tmp_path / "undisturbed")
    found, _, last = checkpoint.load_encoder(folder)
    assert step == last == 60
    for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
        np.testing.assert_array_equal(a, b)
    # Every step is measured once, and the losses are the same numbers.
    courses = [
        [(line["step"], line["loss"]) for line in metrics.read_metrics(run)]
        for run in (tmp_path / "undisturbed", folder)
    ]
    assert courses[0] == courses[1]
