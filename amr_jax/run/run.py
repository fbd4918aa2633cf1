"""The life of a command in its workdir: open, restore, log, save, stop.

    with Run.open(workdir, config, FREE_KEYS, data=summary, keep=2) as run:
        run.record()
        state = run.restore(state)
        for step in range(run.first_step, last):
            state, scalars = ...
            run.log(step + 1, scalars)
            run.save(step + 1, state)

Every process of a run on several hosts makes the same calls in the same order.
"""

import contextlib
import functools
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping

import jax
import ml_collections
import numpy as np

from amr_jax.errors import Preempted, UserError
from amr_jax.run import checkpoint, console, distributed, lock, metrics, paths, preemption
from amr_jax.run import workdir as workdirs


class Run:
    """A command that runs in its workdir; `Run.open` makes it.

    Attributes:
      workdir: its absolute path.
      config: the resolved config of the command.
      first_step: step of the restored checkpoint; 0 without one.
      started: `time.monotonic()` when the run was opened.
    """

    def __init__(
        self,
        folder: os.PathLike | str,
        config: ml_collections.ConfigDict,
        free: Collection[str],
        keep: int,
        holds_work: Callable[[os.PathLike], bool],
    ):
        self.workdir, self.config, self.first_step = paths.absolute(folder), config, 0
        self.started = time.monotonic()
        self._free, self._keep, self._holds_work = set(free), keep, holds_work
        self._stop = preemption.StopRequest()
        self._saved_step: int | None = None
        self._metrics: metrics.MetricWriter | None = None
        self._open = contextlib.ExitStack()

    @classmethod
    @contextlib.contextmanager
    def open(
        cls,
        folder: os.PathLike | str,
        config: ml_collections.ConfigDict,
        free: Collection[str] = (),
        data: str = "",
        keep: int = 0,
        holds_work: Callable[[os.PathLike], bool] = lambda folder: True,
    ) -> Iterator["Run"]:
        """Owns the workdir while the block runs.

        Args:
          folder: the workdir; made if absent.
          config: resolved; equal on all processes.
          free: dotted keys that may differ between two starts in one workdir.
          data: a one-line fingerprint of the data; equal on all processes.
          keep: how many checkpoints stay in the workdir. With any, SIGTERM and Ctrl-C are reported
            by `stop_requested`, so that the run can save; with 0 they end the run at once.
          holds_work: whether a workdir has something that its config made, see `workdir.start`.

        Raises:
          UserError: on every process: they disagree, another run uses the workdir, or it cannot be
            written.
        """
        run = cls(folder, config, free, keep, holds_work)
        workdirs.agree(run.workdir, config, data)
        stop = run._stop if keep else contextlib.nullcontext()
        with lock.hold(run.workdir), stop, run._open:
            yield run

    def record(self, facts: Mapping[str, object] | None = None) -> None:
        """Writes config.json and versions.json, or refuses a workdir with another config.

        Args:
          facts: values of config keys that are known only after loading the data. A resumed run
            must find the same.

        Raises:
          UserError: the workdir belongs to a run with another config, named key by key.
        """
        with self.config.unlocked():
            self.config.update_from_flattened_dict(facts or {})
        workdirs.start(self.workdir, self.config, self._free, self._holds_work(self.workdir))

    @property
    def last_metrics(self) -> dict:
        """The last line of metrics.jsonl before `first_step`; {} without one."""
        lines = metrics.read_metrics(self.workdir)
        return next((x for x in reversed(lines) if x["step"] <= self.first_step), {})

    def restore(self, state):
        """The newest intact checkpoint, in the layout of `state`; `state` itself if there is none.

        Damaged checkpoints that are newer are renamed (`checkpoint.ASIDE`).
        """
        steps = self._checkpoints.steps()
        # A file system may show a folder's newest entries to one host before the others.
        distributed.agree({"checkpoints": steps})
        if steps:
            state = self._checkpoints.restore(state)
            self.first_step = self._saved_step = int(state.step)
        return state

    def save(self, step: int, state) -> None:
        """Saves the state of `step` in the background, unless it is saved already."""
        if step == self._saved_step:
            return
        if self._metrics:
            self._metrics.flush()  # a resumed run writes only later lines
        self._checkpoints.save(step, state)
        self._saved_step = step

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Writes scalars to metrics.jsonl and the writers of the config, on process 0."""
        if jax.process_index() == 0:
            self.start_writers()
            self._metrics.scalars(step, scalars)

    def image(self, step: int, name: str, png: bytes) -> None:
        """Hands a picture, the content of a .png file, to the writers, on process 0."""
        if jax.process_index() == 0:
            self.start_writers()
            self._metrics.image(step, name, png)

    def start_writers(self) -> None:
        """Opens metrics.jsonl and the writers of the config, after `restore`, on process 0.

        Raises:
          UserError: see `metrics.MetricWriter`.
        """
        if self._metrics or jax.process_index() != 0:
            return
        names = self.config.get("writers", ("tensorboard",))
        writer = metrics.MetricWriter(self.workdir, self.first_step, names)
        self._metrics = self._open.enter_context(contextlib.closing(writer))
        self._metrics.config(workdirs.flat(self.config))

    def write(self, name: str, content: str | bytes) -> None:
        """Writes a file of the workdir atomically, on process 0."""
        if jax.process_index() == 0:
            workdirs.write(self.workdir / name, content)

    def say(self, text: str) -> None:
        """Prints a text, on process 0."""
        console.say(text)

    def stop_requested(self) -> bool:
        """Whether to save and end now; every process calls this between any two dispatches."""
        return self._stop.reached()

    def stopped(self, step: int, total_steps: int) -> Preempted:
        """The exception that ends a run after a stop request; waits until all is saved."""
        self._checkpoints.wait()
        return Preempted(
            f"stopped on request (SIGTERM or Ctrl-C): saved at step {step:,} of {total_steps:,} in "
            f"{self.workdir}. The same command resumes from there."
        )

    def check_finite(self, steps: range, measured: Mapping[str, np.ndarray]) -> None:
        """Raises `UserError` for the first of `steps` with a value that is not finite.

        Args:
          steps: of one dispatch.
          measured: (len(steps),) values by name.
        """
        finite = np.all([np.isfinite(values) for values in measured.values()], axis=0)
        if finite.all():
            return
        first = int(np.argmin(finite))
        name = next(name for name, values in measured.items() if not np.isfinite(values[first]))
        raise UserError(
            f"the {name} of step {steps[first]:,} is {measured[name][first]}: expected a finite "
            f"number. This dispatch was not saved; the checkpoints in {self.workdir} are older. "
            "Try a lower config.optim.lr, config.optim.clip_norm=1.0 or config.dtype=float32, in a "
            "new workdir."
        )

    @functools.cached_property
    def _checkpoints(self) -> checkpoint.Checkpoints:
        made = checkpoint.Checkpoints(self.workdir, self._keep)
        return self._open.enter_context(contextlib.closing(made))


def describe_devices(mesh: jax.sharding.Mesh) -> str:
    """The devices and processes of a run, for its banner."""
    return f"{mesh.size} × {jax.devices()[0].device_kind}, {jax.process_count()} process(es)"
