"""The loop alone: reports and saves, without a compiled program."""

import jax
import ml_collections
import numpy as np
import pytest

from amr_jax.data import batches
from amr_jax.errors import UserError
from amr_jax.run import metrics
from amr_jax.run.run import Run
from amr_jax.train import loop


class FakeData:
    """In place of an input: the lengths of the dispatches."""

    resident = None

    def batches(self, start, stop, k):
        return iter([len(steps) for steps in batches.dispatches(start, stop, k)])


def train(dispatch, folder, total_steps, steps_per_dispatch, monkeypatch):
    """The loop with `dispatch` in place of the compiled program; returns what it saves."""
    saved = {}
    monkeypatch.setattr(Run, "save", lambda self, step, state: saved.update({step: state}))
    plan = loop.Plan(1, total_steps, 1.0, steps_per_dispatch, 100, 1.0, total_steps)
    with Run.open(folder, ml_collections.ConfigDict(), keep=1) as run:
        loop.train(run, plan, FakeData(), dispatch, 0)
    return saved


@pytest.mark.parametrize("ready", [True, False])
def test_only_an_idle_device_waits_for_input(ready, tmp_path, capsys, monkeypatch):
    class Measured(np.ndarray):
        def is_ready(self):
            return ready

    def dispatch(state, resident, length):
        return state, {"loss": np.ones(1).view(Measured)}

    train(dispatch, tmp_path, 10, 1, monkeypatch)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("step 10/10")
    assert ("input is the bottleneck" in last) == ready


def test_a_dispatch_is_reported_before_one_of_another_length_compiles(tmp_path, monkeypatch):
    reported = {}
    zeros = {length: jax.numpy.zeros(length) for length in (2, 4)}

    def dispatch(state, resident, length):
        reported[state] = [line["step"] for line in metrics.read_metrics(tmp_path)]
        return state + length, {"loss": zeros[length]}

    assert train(dispatch, tmp_path, 14, 4, monkeypatch) == {14: 14}
    assert reported == {0: [], 4: [], 8: [4], 12: [4, 8, 12]}
    assert metrics.read_metrics(tmp_path)[-1]["timed_steps"] == 8


def test_a_loss_that_is_not_finite_stops_the_run_before_it_is_saved(tmp_path, monkeypatch):
    def dispatch(state, resident, length):
        return state, {"loss": np.array([1.0, np.nan])}

    def saving(self, step, state):
        pytest.fail(f"step {step} was saved")

    plan = loop.Plan(1, 2, 1.0, 2, 100, 1.0, 2)
    monkeypatch.setattr(Run, "save", saving)
    refused = pytest.raises(UserError, match=r"the loss of step 1 is nan.*dispatch was not saved")
    with refused, Run.open(tmp_path, ml_collections.ConfigDict(), keep=1) as run:
        loop.train(run, plan, FakeData(), dispatch, 0)


def settings(**changes) -> ml_collections.ConfigDict:
    values = {"epochs": 2, "batch_size": 8, "steps_per_dispatch": 2, "checkpoint": {"epochs": 1}}
    return ml_collections.ConfigDict(
        {**values, "input": {"bodies": "packed"}, "optim": {"schedule_epochs": None}, **changes}
    )


def test_a_plan_saves_where_dispatches_end():
    plan = loop.Plan.of(settings(), num_units=40, num_sequences=30)
    assert (plan.total_steps, plan.steps_per_epoch, plan.sequences_per_step) == (10, 5.0, 6.0)
    assert [step for step in range(1, 11) if plan.saves_at(step)] == [6, 10]


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(UserError, match=r"config\.batch_size = 48: .* only 40 bodies; expected"):
        loop.Plan.of(settings(batch_size=48), num_units=40, num_sequences=30)
