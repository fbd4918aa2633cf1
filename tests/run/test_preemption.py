"""Stop requests: who hears them, and how a command ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from amr_jax.errors import Preempted
from amr_jax.run import distributed, preemption

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def default_handlers():
    """As at the start of a process in a terminal, whatever other tests and shells have set."""
    before = {
        signal.SIGTERM: signal.signal(signal.SIGTERM, signal.SIG_DFL),
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
    }
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


NOTHING_TO_SAVE = """
import os, signal, sys
from amr_jax import evaluate
from amr_jax.__main__ import script
def run(config, folder, command):
    os.kill(os.getpid(), signal.SIGTERM)
    print("not reached")
evaluate.run = run
sys.argv = ["command", "--config=configs/knn.py:nwucla", "--workdir=" + sys.argv[1]]
script("evaluate")
"""


def test_a_command_that_has_nothing_to_save_ends_with_the_same_status(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-c", NOTHING_TO_SAVE, tmp_path],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout) == (75, "")
    assert ended.stderr == "stopped on request (SIGTERM). Start again with the same command.\n"


def test_a_request_that_came_too_late_is_passed_on():
    received = []
    before = signal.signal(signal.SIGTERM, lambda *_: received.append("outside"))
    try:
        with preemption.StopRequest() as request:
            assert not request.reached()
            os.kill(os.getpid(), signal.SIGTERM)
            assert request.reached()
            assert received == []
        assert received == ["outside"]
        obeyed = preemption.StopRequest().__enter__()
        os.kill(os.getpid(), signal.SIGTERM)
        obeyed.__exit__(Preempted)
        assert received == ["outside"]
    finally:
        signal.signal(signal.SIGTERM, before)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_background_job_ignores_ctrl_c():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with preemption.StopRequest() as request:
            os.kill(os.getpid(), signal.SIGINT)
            assert not request.reached()
    finally:
        signal.signal(signal.SIGINT, before)


def test_one_of_several_processes_passes_ctrl_c_on_as_sigterm(monkeypatch):
    monkeypatch.setattr(distributed, "several", lambda: True)
    received = []
    signal.signal(signal.SIGTERM, lambda *_: received.append("SIGTERM"))
    request = preemption.StopRequest().__enter__()
    os.kill(os.getpid(), signal.SIGINT)
    request.__exit__(Preempted)
    assert received == ["SIGTERM"]
