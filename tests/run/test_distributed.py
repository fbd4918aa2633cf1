"""Several processes: the same run as in one; how it starts, stops and dies."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from amr_jax.data import record_files
from amr_jax.errors import UserError
from amr_jax.run import checkpoint, distributed, metrics
from tests.several_processes import BOUND_S, Run, evaluation, pretraining
from tests.test_pretrain import assert_same_course, tiny_config

pytestmark = pytest.mark.slow


@pytest.fixture
def start(tmp_path):
    """Starts a run of two processes; all are killed at the end of the test."""
    runs = []

    def begin(module, arguments, **how) -> Run:
        log = tmp_path / f"log{len(runs)}"
        runs.append(Run(module, arguments, log, cache=jax.config.jax_compilation_cache_dir, **how))
        return runs[-1]

    yield begin
    for run in runs:
        run.send(signal.SIGKILL, [i for i, p in enumerate(run.processes) if p.poll() is None])


def until(run: Run, condition) -> None:
    deadline = time.monotonic() + 240
    while not condition():
        assert not run.is_over(), run.output()
        assert time.monotonic() < deadline, run.output()
        time.sleep(0.02)


def test_two_by_two_with_split_parameters_stopped_and_resumed(tiny_ucla, tmp_path, start):
    """Four devices in two processes, fsdp 2; SIGTERM to one stops both; one process resumes."""
    from amr_jax import pretrain

    whole, parted = tmp_path / "whole", tmp_path / "parted"
    # 100 steps; of this width some arrays are large enough to be split.
    changes = {
        "epochs": 20, "optim.ema_decay": 0.9, "encoder.width": 32, "model.decoder_width": 32
    }  # fmt: skip
    pretrain.run(tiny_config(tiny_ucla, **changes), whole, jax.devices()[:1])

    arguments = pretraining(tiny_ucla, parted, fsdp=2, **changes)
    run = start("amr_jax.pretrain", arguments, devices=(2, 2))
    until(run, lambda: len(metrics.read_metrics(parted)) >= 3)
    run.send(signal.SIGTERM, [1])
    assert run.wait() == [75, 75], run.output()
    assert "stopped on request (SIGTERM or Ctrl-C): saved at step" in run.output()
    saved = checkpoint.Checkpoints(parted, keep=2).steps()[0]
    assert 6 <= saved < 100
    assert saved % 2 == 0  # where dispatches end
    assert f"{saved:,} of 100" in run.output()

    # On other devices, in one process.
    pretrain.run(tiny_config(tiny_ucla, **changes), parted, jax.devices()[:8])
    assert_same_course(whole, parted)


def test_an_evaluation_in_two_processes_gives_the_same_numbers(tiny_ucla, tmp_path, start):
    from amr_jax import evaluate, pretrain
    from configs import linear

    pretrain.run(tiny_config(tiny_ucla), tmp_path / "run", jax.devices()[:1])
    arguments = evaluation("linear", tiny_ucla, tmp_path / "run", tmp_path / "two")
    run = start("amr_jax.evaluate", [*arguments, "--config.epochs=3"])
    config = linear.get_config("nwucla,runlocal")
    config.data_dir, config.pretrained = str(tiny_ucla), str(tmp_path / "run")
    config.train_split, config.test_split, config.epochs = "train", "test", 3
    one = evaluate.run(config, tmp_path / "one")
    assert run.wait() == [0, 0], run.output()
    two = json.loads((tmp_path / "two" / "results.json").read_text())
    for encoder, numbers in one["encoders"].items():
        for name in ("top1", "top5"):
            np.testing.assert_allclose(two["encoders"][encoder][name], numbers[name], rtol=1e-4)


def test_processes_that_differ_end_before_a_step(tiny_ucla, tmp_path, start):
    folder, other = tmp_path / "run", shutil.copytree(tiny_ucla, tmp_path / "data")
    records = other / "nw_ucla" / "xview" / "1.0.0"
    shard = records / "nw_ucla-train.array_record-00000-of-00001"
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")  # as large as before
    record_files.write(records)
    arguments = [
        pretraining(tiny_ucla, folder, epochs=2),
        pretraining(other, folder, epochs=3),
    ]
    run = start("amr_jax.pretrain", arguments)
    assert run.wait(BOUND_S) == [2, 2], run.output()
    assert "config.epochs: 2 in process 0, 3 in process 1" in run.output()
    crc32s = re.search(r"data: 40 sequences .*crc32 (\w+) in .*crc32 (\w+) in p", run.output())
    assert crc32s[1] != crc32s[2]
    assert not folder.exists()


def test_unequally_many_devices_end_the_run_before_a_step(tiny_ucla, tmp_path, start):
    run = start("amr_jax.pretrain", pretraining(tiny_ucla, tmp_path / "run"), devices=(3, 1))
    assert run.wait(BOUND_S) == [2, 2], run.output()
    assert "unequally many devices: 3 in process 0, 1 in process 1" in run.output()


@pytest.mark.parametrize("given", [("host:1", None, None), (None, 2, 0), ("host:1", 2, None)])
def test_some_of_the_flags_are_not_enough(given):
    with pytest.raises(UserError, match=r"missing.*together, or none of them"):
        distributed.start(*given)


@pytest.mark.parametrize("given", [("host", 2, 0), ("host:1", 2, 2), ("host:1", 2, -1)])
def test_wrong_flags_are_refused(given):
    with pytest.raises(UserError, match="expected HOST:PORT of process 0, the number of"):
        distributed.start(*given)


@pytest.mark.parametrize(
    ("answer", "several"), [(4, True), (1, False), (ValueError("no cluster"), False)]
)
def test_a_tpu_host_asks_jax_for_the_others_of_its_slice(answer, several, monkeypatch):
    def initialize(**_):
        if isinstance(answer, Exception):
            raise answer

    monkeypatch.setattr(distributed, "_several", False)
    monkeypatch.setattr(distributed, "_may_be_in_slice", lambda environ: True)
    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    monkeypatch.setattr(jax, "process_count", lambda: answer)
    distributed.start(None, None, None)
    assert distributed.several() == several


def test_a_metadata_server_that_does_not_answer_is_an_error(monkeypatch):
    def initialize(**_):
        raise ConnectionError("metadata.google.internal")

    monkeypatch.setattr(distributed, "_may_be_in_slice", lambda environ: True)
    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    with pytest.raises(UserError, match=r"did not meet within 300 s: metadata\.google"):
        distributed.start(None, None, None)


ENDS = """
import errno
from amr_jax.run import distributed
from amr_jax.errors import UserError
distributed._several = True
with distributed.ends_at_once():
    raise {}
"""


@pytest.mark.parametrize(
    ("error", "stderr", "status", "told"),
    [
        ('UserError("too few")', None, 2, "error (one of several processes): too few"),
        ('OSError(errno.ENOSPC, "full")', None, 2, "Free some space, then run the same command"),
        ('RuntimeError("gloo")', None, 1, "If another one ended before it, look for the reason"),
        ("KeyboardInterrupt", None, 1, "One of several processes ends"),
        ('UserError("too few")', "/dev/full", 2, ""),
    ],
)
def test_an_error_ends_one_of_several_processes_at_once(error, stderr, status, told):
    with open(stderr or os.devnull, "w") as full:
        ended = subprocess.run(
            [sys.executable, "-c", ENDS.format(error)],
            stderr=full if stderr else subprocess.PIPE,
            text=True,
            check=False,
        )
    assert ended.returncode == status
    assert told in (ended.stderr or "")


def test_a_run_of_one_process_waits_for_nobody():
    distributed.start("nowhere:1", 1, 0)
    assert not distributed.several()
    assert distributed.gather("alone") == ["alone"]


class Special(UserError):
    """A further kind of error, which the other processes raise as such."""


@pytest.mark.parametrize(
    ("own", "others", "expected"),
    [
        (None, [None], None),
        (None, [Special("disk")], Special),
        (Special("disk"), [UserError("memory")], UserError),
        (PermissionError("disk"), [None], UserError),
    ],
)
def test_an_error_of_one_process_is_raised_by_all(own, others, expected, monkeypatch):
    def action():
        if own:
            raise own
        return 7

    monkeypatch.setattr(distributed, "several", lambda: True)
    monkeypatch.setattr(distributed, "gather", lambda error: [error, *others])
    if expected is None:
        assert distributed.together(action) == 7
    else:
        with pytest.raises(UserError) as raised:
            distributed.together(action)
        assert type(raised.value) is expected


SLURM = {"SLURM_STEP_NODELIST": "n[1-2]", "SLURM_NTASKS": "8"}


@pytest.mark.parametrize(
    ("environ", "arguments"),
    [
        ({}, None),
        ({"SLURM_NTASKS": "8", "SLURM_PROCID": "0"}, None),  # the batch script itself
        ({**SLURM, "SLURM_STEP_NUM_TASKS": "1"}, None),
        # A task a GPU: SLURM shows each all GPUs of the node, or its own alone.
        ({**SLURM, "SLURM_STEP_TASKS_PER_NODE": "4(x2)", "CUDA_VISIBLE_DEVICES": "0,1,2,3"},
         {"num_processes": 8}),
        ({**SLURM, "SLURM_STEP_TASKS_PER_NODE": "4(x2)", "CUDA_VISIBLE_DEVICES": "0"},
         {"num_processes": 8, "local_device_ids": []}),
        # A task a node: all that it sees.
        ({**SLURM, "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_TASKS_PER_NODE": "1(x2)",
          "CUDA_VISIBLE_DEVICES": "0,1,2,3"}, {"num_processes": 2, "local_device_ids": []}),
        ({"OMPI_COMM_WORLD_SIZE": "1"}, None),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, {}),
        ({"TPU_WORKER_HOSTNAMES": "localhost"}, None),
        ({"TPU_WORKER_HOSTNAMES": "t0,t1"}, {}),
        ({"TPU_WORKER_HOSTNAMES": "t0", "MEGASCALE_NUM_SLICES": "2"}, {}),
    ],
)  # fmt: skip
def test_the_environment_announces_several_processes(environ, arguments):
    assert distributed.announced({"JAX_PLATFORMS": "cpu", **environ}) == arguments
