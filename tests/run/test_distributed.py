"""Several processes: how they find each other, agree and end. tests/run/test_kill.py runs them."""

import errno
import os
import re
import shutil
import sys
import types

import jax
import pytest

from amr_jax import evaluate, pretrain
from amr_jax.config import files
from amr_jax.data import record_files
from amr_jax.errors import UserError
from amr_jax.run import distributed
from amr_jax.train import step as train_step
from tests.several_processes import BOUND_S, Run, pretraining


def test_processes_that_differ_end_before_a_step(tiny_ucla, tmp_path):
    folder, other = tmp_path / "run", shutil.copytree(tiny_ucla, tmp_path / "data")
    records = other / "nw_ucla" / "xview" / "1.0.0"
    shard = records / "nw_ucla-train.array_record-00000-of-00001"
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")  # as large as before
    record_files.write(records)
    arguments = [
        pretraining(tiny_ucla, folder, epochs=2),
        pretraining(other, folder, epochs=3),
    ]
    run = Run("amr_jax.pretrain", arguments, tmp_path / "log")
    assert run.wait(BOUND_S) == [2, 2], run.output()
    assert "config.epochs: 2 in process 0, 3 in process 1" in run.output()
    crc32s = re.search(r"data: 40 sequences .*crc32 (\w+) in .*crc32 (\w+) in p", run.output())
    assert crc32s[1] != crc32s[2]
    assert not folder.exists()


def test_unequally_many_devices_are_refused(monkeypatch):
    devices = [types.SimpleNamespace(process_index=i) for i in (0, 0, 0, 1)]
    monkeypatch.setattr(distributed, "several", lambda: True)
    monkeypatch.setattr(jax, "devices", lambda: devices)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(UserError, match="unequally many devices: 3 in process 0, 1 in process 1"):
        distributed.agree({})


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


class Ended(BaseException):
    """In place of the end of the process."""


@pytest.mark.parametrize(
    ("error", "stderr", "status", "told"),
    [
        (UserError("too few"), None, 2, "error (one of several processes): too few"),
        (OSError(errno.ENOSPC, "full"), None, 2, "Free some space, then run the same command"),
        (RuntimeError("gloo"), None, 1, "If another one ended before it, look for the reason"),
        (KeyboardInterrupt(), None, 1, "One of several processes ends"),
        (UserError("too few"), "/dev/full", 2, ""),
    ],
)
def test_an_error_ends_one_of_several_processes_at_once(
    error, stderr, status, told, monkeypatch, capsys
):
    def end(status):
        raise Ended(status)

    monkeypatch.setattr(distributed, "several", lambda: True)
    monkeypatch.setattr(os, "_exit", end)
    with open(stderr or os.devnull, "w") as full:
        if stderr:
            monkeypatch.setattr(sys, "stderr", full)
            full.close = lambda: None  # it could not be flushed
        with pytest.raises(Ended) as ended, distributed.ends_at_once():
            raise error
    assert ended.value.args == (status,)
    assert told in capsys.readouterr().err


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


@pytest.mark.parametrize("command", [pretrain, evaluate])
def test_a_writer_that_refuses_the_start_ends_every_process(
    command, tiny_ucla, tmp_path, monkeypatch
):
    """As process 1 sees it: nothing fails here, but on process 0."""

    def together(action):
        if action.__name__ == "start_writers":
            raise UserError("refused on process 0")
        return action()

    monkeypatch.setattr(distributed, "together", together)
    state = types.SimpleNamespace(params={"encoder": {}})
    monkeypatch.setattr(train_step, "init_state", lambda *_: state)
    config = files.get_config(f"{'amr' if command is pretrain else 'knn'}:nwucla,runlocal")
    config.data_dir = str(tiny_ucla)
    if command is evaluate:
        subject = types.SimpleNamespace(config=config, step=1, open_records=list)
        monkeypatch.setattr(evaluate.Subject, "of", lambda _: subject)
    for owner, name in ((train_step, "make_dispatch"), (evaluate.Twins, "of")):
        monkeypatch.setattr(owner, name, lambda *_: pytest.fail("went on"))
    with pytest.raises(UserError, match="refused on process 0"):
        command.run(config, tmp_path)


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
