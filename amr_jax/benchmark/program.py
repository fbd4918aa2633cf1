"""A compiled training step with a state of its own, and what is measured of it."""

import contextlib
import time
from collections.abc import Callable, Iterator

import jax
import ml_collections
import numpy as np

from amr_jax.studies import costs

OUT_OF_MEMORY = "out of memory"


class Program:
    """The training loop's own dispatch, compiled, on batches in device memory.

    Attributes:
      problem: OUT_OF_MEMORY, and from then on nothing more is run or measured; or None.
      steps: what is timed at once, `steps` · `dispatches`.
      compile_s: seconds that compiling took; None where that ran out of memory.
      memory_bytes: of the dispatch at its peak, the compiler's figure (`costs.peak_bytes`).
      device_bytes: the same as the device's allocator saw it; None where it keeps no books, or
        where something else in this process had needed more.
      bytes_accessed: that one step reads and writes, the compiler's figure. (It counts the inside
        of a loop once, and all steps of a dispatch are one loop's.)
      losses: of the steps that `warm_up` ran; none if the program has no loss.
      step_s: seconds of a step, an entry each time.

    Args:
      config: resolved, see `pretrain.resolve`.
      steps: of a dispatch.
      dispatches: that are timed together; the device is waited for once, after the last.
      make: (config, steps) → dispatch, state, batch; None: `costs.training_step`.
    """

    def __init__(
        self,
        config: ml_collections.ConfigDict,
        steps: int = 1,
        dispatches: int = 1,
        make: Callable | None = None,
    ):
        self.problem: str | None = None
        self.steps = steps * dispatches
        self.compile_s: float | None = None
        self.memory_bytes: int | None = None
        self.device_bytes: int | None = None
        self.bytes_accessed: float | None = None
        self.losses: list[float] = []
        self.step_s: list[float] = []
        with self._out_of_memory_noted():
            dispatch, self._state, batch = (make or costs.training_step)(config, self.steps)
            self._batches = _split(batch, steps, dispatches)
            start = time.perf_counter()
            self._compiled = dispatch.lower(self._state, {}, self._batches[0]).compile()
            self.compile_s = time.perf_counter() - start
            memory = self._compiled.memory_analysis()
            self.memory_bytes = costs.peak_bytes(memory)
            self.bytes_accessed = self._compiled.cost_analysis()["bytes accessed"]
            self._own_bytes = memory.argument_size_in_bytes

    def warm_up(self) -> None:
        """The first steps, which are not timed; notes what the device's allocator says of them."""
        device = jax.devices()[0]
        before = device.memory_stats()
        measured = self._run()
        self.losses = [float(loss) for part in measured for loss in np.ravel(part.get("loss", []))]
        after = device.memory_stats()
        if before and not self.problem and after["peak_bytes_in_use"] > before["peak_bytes_in_use"]:
            others = before["bytes_in_use"] - self._own_bytes
            self.device_bytes = after["peak_bytes_in_use"] - others

    def time_step(self) -> None:
        """All dispatches, timed until the device is done."""
        start = time.perf_counter()
        self._run()
        if not self.problem:
            self.step_s.append((time.perf_counter() - start) / self.steps)

    def _run(self) -> list[dict]:
        """What each dispatch measured."""
        if self.problem:
            return []
        measured = []
        with self._out_of_memory_noted():
            for batch in self._batches:
                # The step donates its state, so the new one takes its place.
                self._state, metrics = self._compiled(self._state, {}, batch)
                measured.append(metrics)
            jax.block_until_ready((self._state, measured))
        return [] if self.problem else measured

    @contextlib.contextmanager
    def _out_of_memory_noted(self) -> Iterator[None]:
        """Turns this one error into `problem`, and lets go of what is in memory."""
        try:
            yield
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            self.problem = OUT_OF_MEMORY
            self.step_s = []  # some rounds alone would not compare with the others'
            self._state = self._batches = self._compiled = None


def _split(batch, steps: int, count: int) -> list:
    """A batch for `steps` · `count` steps as `count` batches for `steps` each."""
    if count == 1:
        return [batch]
    starts = range(0, steps * count, steps)
    return [jax.tree.map(lambda x, i=i: x[i : i + steps], batch) for i in starts]
