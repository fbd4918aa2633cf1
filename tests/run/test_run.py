"""A run in its workdir, with a state of one number and no training."""

import json
import os
import signal
import subprocess
import sys

import flax
import jax
import ml_collections
import numpy as np
import pytest

from amr_jax.errors import Preempted, UserError
from amr_jax.run import checkpoint, metrics, sharding, workdir
from amr_jax.run.run import Run


@pytest.fixture(autouse=True)
def default_handler():
    """Ctrl-C as in a terminal: a background job starts with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@flax.struct.dataclass
class Count:
    step: jax.Array
    total: jax.Array


def count(step: int, total: float) -> Count:
    mesh = sharding.make_mesh(jax.devices()[:1])
    return sharding.put(Count(np.int32(step), np.float32(total)), sharding.replicated(mesh))


def config(**changes) -> ml_collections.ConfigDict:
    return ml_collections.ConfigDict({"lr": 0.1, "data_dir": "a", "found": None} | changes)


def add_up(folder, last: int, stop_at: int | None = None) -> Count:
    """Sums 1, 2, …, `last`, saves every fifth step; Ctrl-C comes before step `stop_at`."""
    with Run.open(folder, config(), keep=2) as run:
        run.record()
        state = run.restore(count(0, 0))
        for step in range(run.first_step, last):
            if step == stop_at:
                os.kill(os.getpid(), signal.SIGINT)
            if run.stop_requested():
                run.save(step, state)
                raise run.stopped(step, last)
            state = count(step + 1, state.total + step + 1)
            run.log(step + 1, {"total": float(state.total)})
            if (step + 1) % 5 == 0:
                run.save(step + 1, state)
    return state


def test_a_run_resumes_from_its_last_checkpoint(tmp_path):
    assert float(add_up(tmp_path, 7).total) == 28
    assert checkpoint.Checkpoints(tmp_path, keep=2).steps() == [5]
    assert float(add_up(tmp_path, 12).total) == 78
    assert [line["total"] for line in metrics.read_metrics(tmp_path)] == [
        n * (n + 1) / 2 for n in range(1, 13)
    ]


def test_ctrl_c_saves_and_the_same_call_resumes(tmp_path, capfd):
    with pytest.raises(Preempted, match=r"Ctrl-C\): saved at step 8 of 12 in .*same command resum"):
        add_up(tmp_path, 12, stop_at=8)
    assert "A second Ctrl-C ends it at once, without saving." in capfd.readouterr().err
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert checkpoint.Checkpoints(tmp_path, keep=2).steps() == [8, 5]
    assert float(add_up(tmp_path, 12).total) == 78


def test_a_step_that_is_saved_is_not_saved_again(tmp_path):
    add_up(tmp_path, 5)
    with pytest.raises(Preempted, match="saved at step 5 of 9"):
        add_up(tmp_path, 9, stop_at=5)
    with pytest.raises(Preempted, match="saved at step 0 of 9"):
        add_up(tmp_path / "new", 9, stop_at=0)


def test_a_second_ctrl_c_ends_at_once(tmp_path):
    def interrupted_twice():
        with Run.open(tmp_path, config(), keep=1):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        interrupted_twice()


def test_a_run_without_checkpoints_ends_at_once(tmp_path):
    def interrupted():
        with Run.open(tmp_path, config()):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        interrupted()


def test_the_workdir_belongs_to_one_run_and_one_config(tmp_path):
    with Run.open(tmp_path, config(), {"data_dir"}) as run:
        run.record({"found": "40 sequences"})
        with pytest.raises(UserError, match="another run uses"), Run.open(tmp_path, config()):
            pass
    with Run.open(tmp_path, config(data_dir="b"), {"data_dir"}) as run:
        with pytest.raises(UserError, match=r"config\.found: 40 sequences .*, 41 sequences now"):
            run.record({"found": "41 sequences"})
        run.record({"found": "40 sequences"})
        run.write("results.json", "{}")
    assert workdir.read_config(tmp_path).data_dir == "b"
    assert json.loads((tmp_path / "results.json").read_text()) == {}


def test_any_value_that_is_not_finite_stops_the_run(tmp_path):
    # The loss is computed before the update: it may be finite when the parameters no longer are.
    measured = {"loss": np.ones(3), "param_norm": np.array([1.0, np.nan, np.inf])}
    with Run.open(tmp_path, config()) as run:
        with pytest.raises(UserError, match="the param_norm of step 11 is nan: expected a finite"):
            run.check_finite(range(10, 13), measured)
        run.check_finite(range(10, 13), {"loss": np.ones(3)})


COMMAND = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from amr_jax.run import cli
from tests.run import test_run
cli.command(test_run.add_up)(sys.argv[1], 12, stop_at=8)
"""


def test_a_command_stopped_by_ctrl_c_ends_with_status_75(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-c", COMMAND, tmp_path], capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 75, ended.stderr
    lines = ended.stderr.splitlines()
    assert lines[0].startswith("Ctrl-C: the run saves and ends.")
    assert lines[-1].endswith(
        f"saved at step 8 of 12 in {tmp_path}. The same command resumes from there."
    )
