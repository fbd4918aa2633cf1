"""The training loop: dispatches, reports, saves."""

import itertools
from collections.abc import Callable

import jax
import numpy as np

from amr_jax.data import batches
from amr_jax.run import console
from amr_jax.run.run import Run
from amr_jax.train.pace import Pace
from amr_jax.train.plan import Plan
from amr_jax.train.reports import Reports
from amr_jax.train.step import TrainState


def train(
    run: Run,
    plan: Plan,
    data: batches.Resident | batches.Streamed,
    dispatch: Callable,
    state: TrainState,
    rates: np.ndarray | None = None,
    watch: Callable[[TrainState], None] | None = None,
) -> TrainState:
    """Trains from `run.first_step` to the end; returns the last state.

    Args:
      data: of the training split.
      dispatch: see `programs.Programs`.
      rates: (plan.total_steps,) the learning rate of each step, to log.
      watch: called with every state that is saved; its time is no time of training.

    Raises:
      UserError: a loss is not finite, or a checkpoint cannot be saved.
      Preempted: a stop was requested; the state is saved.
    """
    start, stop, most = run.first_step, plan.total_steps, plan.steps_per_dispatch
    pace = Pace(most)
    # Each dispatch is chosen when the loop comes to it, and read by the input after that.
    chosen, to_read = itertools.tee(pace.dispatches(start, stop))
    upcoming = data.batches(start, stop, most, to_read)
    with console.progress_bar("training, step", plan.total_steps, run.first_step) as advance:
        reports = Reports(run, plan, advance, pace, rates)
        for steps in chosen:
            if run.stop_requested():
                reports.flush(log=True)
                run.save(steps.start, state)
                raise run.stopped(steps.start, plan.total_steps)
            batch = next(upcoming)
            # Everything that a step needs is on the devices by now; any further transfer is a bug.
            program = data.padded(len(steps), most)
            with reports.before(program), jax.transfer_guard("disallow"):
                state, measured = dispatch(state, data.resident, batch, len(steps))
            reports.add(steps, measured)
            if plan.saves_at(steps.stop):
                reports.flush()
                run.save(steps.stop, state)
                if watch:
                    watch(state)
                    reports.resume()
    return state
