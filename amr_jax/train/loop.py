"""The training loop: dispatches, reports, saves."""

import collections
import contextlib
import dataclasses
import math
import time
from collections.abc import Callable

import jax
import ml_collections
import numpy as np

from amr_jax.data import batches
from amr_jax.errors import UserError
from amr_jax.run import console
from amr_jax.run.run import Run
from amr_jax.train.step import TrainState


@dataclasses.dataclass(frozen=True)
class Plan:
    """How many steps a run takes, and when it saves.

    Attributes:
      epochs, total_steps: length of the whole run.
      steps_per_epoch: not an integer; an epoch may end within a batch.
      steps_per_dispatch: steps per call of the compiled program.
      steps_per_save: a multiple of `steps_per_dispatch`, so that a resumed run has the same
        dispatches.
      sequences_per_step: on average.
      schedule_steps: when learning rate and momentum have their last values, which then stay.
    """

    epochs: float
    total_steps: int
    steps_per_epoch: float
    steps_per_dispatch: int
    steps_per_save: int
    sequences_per_step: float
    schedule_steps: int

    @classmethod
    def of(cls, config: ml_collections.ConfigDict, num_units: int, num_sequences: int) -> "Plan":
        """The plan of a config for data with this many units and sequences.

        Raises:
          UserError: a batch is larger than the data.
        """
        if config.batch_size > num_units:
            raise UserError(
                f"config.batch_size = {config.batch_size}: the training data have only "
                f"{num_units:,} {'bodies' if config.input.bodies == 'packed' else 'sequences'}; "
                "expected a batch no larger than that."
            )
        per_epoch = num_units / config.batch_size
        schedule_epochs = config.optim.schedule_epochs or config.epochs
        dispatch = config.steps_per_dispatch
        return cls(
            epochs=config.epochs,
            total_steps=max(1, round(config.epochs * per_epoch)),
            steps_per_epoch=per_epoch,
            steps_per_dispatch=dispatch,
            steps_per_save=dispatch
            * max(1, math.ceil(config.checkpoint.epochs * per_epoch / dispatch)),
            sequences_per_step=num_sequences / per_epoch,
            schedule_steps=max(1, round(schedule_epochs * per_epoch)),
        )

    def saves_at(self, step: int) -> bool:
        """Whether the state of this step is saved."""
        return step % self.steps_per_save == 0 or step == self.total_steps


def train(
    run: Run,
    plan: Plan,
    data: batches.Resident | batches.Streamed,
    dispatch: Callable,
    state: TrainState,
    rates: np.ndarray | None = None,
) -> TrainState:
    """Trains from `run.first_step` to the end; returns the last state.

    Args:
      data: of the training split.
      dispatch: see `step.make_dispatch`.
      rates: (plan.total_steps,) the learning rate of each step, to log.

    Raises:
      UserError: a loss is not finite, or a checkpoint cannot be saved.
      Preempted: a stop was requested; the state is saved.
    """
    where = run.first_step, plan.total_steps, plan.steps_per_dispatch
    upcoming = data.batches(*where)
    with console.progress_bar("training, step", plan.total_steps, run.first_step) as advance:
        reports = Reports(run, plan, advance, rates)
        for steps in batches.dispatches(*where):
            if run.stop_requested():
                reports.flush()
                run.save(steps.start, state)
                raise run.stopped(steps.start, plan.total_steps)
            batch = next(upcoming)
            # Everything that a step needs is on the devices by now; any further transfer is a bug.
            with reports.before(steps), jax.transfer_guard("disallow"):
                state, measured = dispatch(state, data.resident, batch)
            reports.add(steps, measured)
            if plan.saves_at(steps.stop):
                reports.flush()
                run.save(steps.stop, state)
    return state


class Reports:
    """Reports every dispatch while the devices compute the next one."""

    def __init__(
        self,
        run: Run,
        plan: Plan,
        advance: console.Advance,
        rates: np.ndarray | None,
    ):
        self._run, self._plan, self._rates = run, plan, rates
        self._progress = console.Progress(
            plan.total_steps, plan.sequences_per_step, run.last_metrics, advance
        )
        self._compiled: set[int] = set()  # lengths of dispatches
        self._pending: tuple[range, dict[str, jax.Array]] | None = None
        # For recent dispatches: was the device idle before the next batch was ready?
        self._idle: collections.deque[bool] = collections.deque(maxlen=10)

    def before(self, steps: range) -> contextlib.AbstractContextManager:
        """Call this when the batches of `steps` are ready; dispatch them within what it returns."""
        self._idle.append(self._pending is not None and _is_done(self._pending[1]))
        if self._pending and len(steps) != len(self._pending[0]):
            # The next dispatch compiles: report the previous one first, so that its time excludes
            # the compilation.
            self.flush()
        compiles = len(steps) not in self._compiled
        self._compiled.add(len(steps))
        self._called = time.monotonic()
        return console.progress_bar("compiling") if compiles else contextlib.nullcontext()

    def add(self, steps: range, measured: dict[str, jax.Array]) -> None:
        """Call this when `steps` are dispatched; reports the dispatch before them.

        Args:
          measured: (len(steps),) values by name, on the devices.
        """
        if steps.start == self._run.first_step:
            compiled = time.monotonic() - self._called
            with console.progress_bar(f"the first {len(steps)} step(s)"):
                jax.block_until_ready(measured)
            took = time.monotonic() - self._run.started
            self._run.say(
                f"compiled in {compiled:.1f} s; the first {len(steps)} step(s) were done "
                f"{took:.1f} s after the start"
            )
        self.flush()
        self._pending = steps, measured

    def flush(self) -> None:
        """Reports the last dispatch, unless it has been reported."""
        if self._pending:
            self._report(*self._pending)
            self._pending = None

    def _report(self, steps: range, measured: dict[str, jax.Array]) -> None:
        """Writes the means over a dispatch; stops the run at a value that is not finite."""
        measured = jax.device_get(measured)
        self._run.check_finite(steps, measured)
        means = {name: float(np.mean(values)) for name, values in measured.items()}
        epoch = steps.stop / self._plan.steps_per_epoch
        text = f"epoch {epoch:.1f}/{self._plan.epochs}  loss {means['loss']:.4f}"
        if sum(self._idle) > len(self._idle) / 2:
            text += "  (input is the bottleneck)"
        speed = self._progress.update(steps, text)
        if self._rates is not None:
            means["learning_rate"] = float(self._rates[steps.stop - 1])
        self._run.log(steps.stop, {**means, **speed, "epoch": epoch})


def _is_done(measured: dict[str, jax.Array]) -> bool:
    """Whether the devices have computed all values; does not wait."""
    return all(values.is_ready() for values in measured.values())
