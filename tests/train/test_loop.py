"""The loop alone: reports and saves, without a compiled program."""

import jax
import ml_collections
import numpy as np
import pytest

from amr_jax.errors import Preempted, UserError
from amr_jax.run import metrics
from amr_jax.run.run import Run
from amr_jax.train import loop, reports


class FakeData:
    """In place of an input: a batch is the length of its dispatch."""

    resident, streamed = None, False

    def batches(self, start, stop, most, dispatched):
        return map(len, dispatched)

    def padded(self, steps, most):
        return steps if self.streamed else most


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

    def dispatch(state, resident, length, steps):
        return state, {"loss": np.ones(1).view(Measured)}

    train(dispatch, tmp_path, 10, 1, monkeypatch)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("step 10/10")
    assert ("input is the bottleneck" in last) == ready


@pytest.mark.parametrize(
    ("streamed", "lines_before", "timed"),
    [
        # One program: the first dispatch compiles it.
        (False, {0: [], 1: [], 2: [], 4: [], 8: [4], 12: [4, 8]}, 13),
        # One for each length: 1, 2 and 4. What is pending is reported before one compiles.
        (True, {0: [], 1: [], 2: [], 4: [4], 8: [4], 12: [4, 8]}, 7),
    ],
)
def test_metrics_are_at_multiples_whatever_the_dispatches(
    streamed, lines_before, timed, tmp_path, monkeypatch
):
    reported = {}
    monkeypatch.setattr(FakeData, "streamed", streamed)

    def dispatch(state, resident, length, steps):
        reported[state] = [line["step"] for line in metrics.read_metrics(tmp_path)]
        # Values of steps that a padded batch has beyond these are no metrics.
        return state + length, {"loss": jax.device_put(np.arange(state, state + 4.0))}

    assert train(dispatch, tmp_path, 14, 4, monkeypatch) == {14: 14}
    assert reported == lines_before
    lines = metrics.read_metrics(tmp_path)
    assert {line["step"]: line["loss"] for line in lines} == {4: 1.5, 8: 5.5, 12: 9.5, 14: 12.5}
    assert lines[-1]["timed_steps"] == timed


def test_a_stop_saves_and_logs_within_a_dispatch_of_a_few_seconds(tmp_path, monkeypatch, capsys):
    """Steps of 0.3 s, by a fake clock: five of them are a dispatch, whatever the limit of 50."""
    now = [0.0]
    monkeypatch.setattr(reports.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(Run, "stop_requested", lambda self: now[0] > 4)
    monkeypatch.setattr(Run, "stopped", lambda self, step, total: Preempted(f"at {step}"))
    lengths = []

    def dispatch(state, resident, length, steps):
        now[0] += 0.3 * steps
        lengths.append(steps)
        return state + steps, {"loss": jax.device_put(np.ones(50))}

    with pytest.raises(Preempted, match="at 15"):
        train(dispatch, tmp_path, 100, 50, monkeypatch)
    assert lengths == [1, 1, 3, 5, 5]
    assert [line["step"] for line in metrics.read_metrics(tmp_path)] == [15]
    assert "about 28 s for 95 steps" in capsys.readouterr().out


def test_a_loss_that_is_not_finite_stops_the_run_before_it_is_saved(tmp_path, monkeypatch):
    def dispatch(state, resident, length, steps):
        return state + steps, {"loss": np.array([np.nan if state else 1.0, 0.0])}

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
