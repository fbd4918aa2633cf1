"""What a run tells of its steps: progress, metrics, and once the time that it will take."""

import collections
import contextlib
import dataclasses
import time

import jax
import numpy as np

from amr_jax.run import console
from amr_jax.run.run import Run
from amr_jax.train import forecast
from amr_jax.train.pace import Pace
from amr_jax.train.plan import Plan


@dataclasses.dataclass
class _Dispatched:
    """A dispatch that is not reported yet; `called`, `done`: when, by the monotonic clock."""

    steps: range
    measured: dict[str, jax.Array]
    program: int
    compiled: bool
    called: float
    done: float | None = None


class Reports:
    """Reports every dispatch while the devices compute the next one.

    The progress shows each; metrics are means over `plan.steps_per_dispatch` steps, so that their
    lines are at the same steps whatever the pace. A stop in between leaves one more line, and the
    next one has the steps since.
    """

    def __init__(
        self,
        run: Run,
        plan: Plan,
        advance: console.Advance,
        pace: Pace,
        rates: np.ndarray | None,
    ):
        self._run, self._plan, self._pace, self._rates = run, plan, pace, rates
        self._progress = console.Progress(
            plan.total_steps, plan.sequences_per_step, run.last_metrics, advance
        )
        self._compiled: set[int] = set()  # programs, by the length of their batches
        self._pending: _Dispatched | None = None
        self._unlogged: list[dict[str, np.ndarray]] = []
        self._told = False
        self._done = 0.0  # time at which the last reported dispatch was done
        # For recent dispatches: was the device idle before the next batch was ready?
        self._idle: collections.deque[bool] = collections.deque(maxlen=10)

    def before(self, program: int) -> contextlib.AbstractContextManager:
        """Call this when a batch of this length is ready; dispatch it within what it returns."""
        idle = self._pending is not None and _is_done(self._pending.measured)
        self._idle.append(idle)
        if idle:
            self._pending.done = time.monotonic()
        self._program, self._compiles = program, program not in self._compiled
        if self._compiles:
            # Report the previous dispatch first, so that its time excludes the compilation.
            self.flush()
        self._compiled.add(program)
        self._called = time.monotonic()
        return console.progress_bar("compiling") if self._compiles else contextlib.nullcontext()

    def add(self, steps: range, measured: dict[str, jax.Array]) -> None:
        """Call this when `steps` are dispatched; reports the dispatch before them.

        Args:
          measured: by name, values of these steps, and perhaps of more; on the devices.
        """
        if steps.start == self._run.first_step:
            with console.progress_bar("the first step"):
                jax.block_until_ready(measured)
            took = time.monotonic() - self._run.started
            self._run.say(f"the first step was done {took:.1f} s after the start")
        self.flush()
        self._pending = _Dispatched(steps, measured, self._program, self._compiles, self._called)
        if self._pace.step_s is None:
            self.flush()  # its time decides how long the next one is

    def resume(self) -> None:
        """Call this after a pause: its time is no time of training."""
        self._progress.resume()

    def flush(self, log: bool = False) -> None:
        """Reports the last dispatch, unless it has been reported.

        Args:
          log: also write the metrics of steps that no line has yet.
        """
        if self._pending:
            pending, self._pending = self._pending, None
            self._report(pending)
        if log and self._unlogged:
            self._log()

    def _report(self, pending: "_Dispatched") -> None:
        """Notes a dispatch; stops the run at a value that is not finite."""
        steps = pending.steps
        measured = {k: x[: len(steps)] for k, x in jax.device_get(pending.measured).items()}
        self._run.check_finite(steps, measured)
        done = pending.done or time.monotonic()
        if not pending.compiled:
            self._note(len(steps), done - max(self._done, pending.called), steps.stop)
        self._done = done
        self._unlogged.append(measured)
        means = {name: float(np.mean(values)) for name, values in measured.items()}
        epoch = steps.stop / self._plan.steps_per_epoch
        text = f"epoch {epoch:.1f}/{self._plan.epochs}  loss {means['loss']:.4f}"
        if sum(self._idle) > len(self._idle) / 2:
            text += "  (input is the bottleneck)"
        self._speed = self._progress.update(steps, text, pending.program)
        self._reached = steps.stop
        if steps.stop % self._plan.steps_per_dispatch == 0 or steps.stop == self._plan.total_steps:
            self._log()

    def _note(self, steps: int, seconds: float, reached: int) -> None:
        """Times a dispatch; tells once what the run will take, by one of the chosen length."""
        if self._pace.step_s is not None and not self._told:
            self._told = True
            left = self._plan.total_steps - reached
            self._run.say(forecast.time_left(left, seconds / steps, self._pace.length))
        self._pace.note(steps, seconds)

    def _log(self) -> None:
        """Writes the means over all steps since the last line."""
        names = self._unlogged[0]
        means = {k: float(np.mean(np.concatenate([x[k] for x in self._unlogged]))) for k in names}
        self._unlogged = []
        if self._rates is not None:
            means["learning_rate"] = float(self._rates[self._reached - 1])
        epoch = self._reached / self._plan.steps_per_epoch
        self._run.log(self._reached, {**means, **self._speed, "epoch": epoch})


def _is_done(measured: dict[str, jax.Array]) -> bool:
    """Whether the devices have computed all values; does not wait."""
    return all(values.is_ready() for values in measured.values())
