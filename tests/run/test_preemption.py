"""SIGTERM to a run in one process: saved where a dispatch ends, and gone on from there."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from amr_jax import pretrain
from amr_jax.data import batches
from amr_jax.errors import Preempted
from amr_jax.run import checkpoint, metrics, preemption
from tests.test_pretrain import assert_same, tiny_config

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def nobody_listens():
    """As a process starts; another test's command may have left a handler."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


def signalled_before_batch(number, monkeypatch, what=signal.SIGTERM):
    """A signal arrives while the input makes the batches of dispatch `number`."""
    all_batches = batches.Resident.batches

    def interrupted(self, *args):
        for i, batch in enumerate(all_batches(self, *args)):
            if i == number:
                os.kill(os.getpid(), what)
            yield batch

    monkeypatch.setattr(batches.Resident, "batches", interrupted)


@pytest.mark.parametrize("what", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_saves_and_resumes_to_the_same_bits(what, tiny_ucla, tmp_path, monkeypatch):
    config = tiny_config(tiny_ucla, **{"checkpoint.epochs": 100})
    undisturbed = pretrain.run(config, tmp_path / "undisturbed", jax.devices()[:1])
    folder = tmp_path / "stopped"
    with monkeypatch.context() as patch:
        signalled_before_batch(2, patch, what)
        with pytest.raises(Preempted, match="saved at step 6 of 10"):
            pretrain.run(config, folder, jax.devices()[:1])
    assert checkpoint.Checkpoints(folder, keep=1).steps()[0] == 6
    assert [line["step"] for line in metrics.read_metrics(folder)] == [2, 4, 6]
    state = pretrain.run(config, folder, jax.devices()[:1])
    assert_same(state, undisturbed)
    assert [line["step"] for line in metrics.read_metrics(folder)] == [2, 4, 6, 8, 10]


def test_told_during_the_last_dispatch_a_run_is_done(tiny_ucla, tmp_path, monkeypatch):
    config = tiny_config(tiny_ucla)
    signalled_before_batch(4, monkeypatch)
    assert pretrain.run(config, tmp_path, jax.devices()[:1]).step == 10


TOLD = """
import os, signal, sys
from amr_jax import evaluate
from amr_jax.__main__ import script
def run(config, folder):
    os.kill(os.getpid(), signal.SIGTERM)
    print("not reached")
evaluate.run = run
sys.argv = ["command", "--config=configs/knn.py:nwucla", "--workdir=" + sys.argv[1]]
script("evaluate")
"""


def test_a_command_that_has_nothing_to_save_ends_with_the_same_status(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-c", TOLD, tmp_path],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout) == (75, "")
    assert ended.stderr == "stopped on request (SIGTERM). Start again with the same command.\n"


def test_a_notice_too_late_to_act_upon_is_passed_on():
    heard = []
    before = signal.signal(signal.SIGTERM, lambda *_: heard.append("outside"))
    try:
        with preemption.StopRequest() as request:
            os.kill(os.getpid(), signal.SIGTERM)
            assert request.reached()
            assert heard == []
        assert heard == ["outside"]
        acted_upon = preemption.StopRequest().__enter__()
        os.kill(os.getpid(), signal.SIGTERM)
        acted_upon.__exit__(Preempted)
        assert heard == ["outside"]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_outside_of_a_run_sigterm_is_what_it_was():
    before = signal.getsignal(signal.SIGTERM)
    with preemption.StopRequest() as request:
        assert not request.reached()
        os.kill(os.getpid(), signal.SIGTERM)
        assert request.reached()
    assert signal.getsignal(signal.SIGTERM) is before
