"""A compiled training step with a state of its own, and what is measured of it."""

import contextlib
import time
from collections.abc import Iterator

import jax
import ml_collections

from amr_jax import costs

OUT_OF_MEMORY = "out of memory"


class Program:
    """The training loop's own dispatch of one step, compiled, on a batch in device memory.

    Attributes:
      problem: OUT_OF_MEMORY, and from then on nothing more is run or measured; or None.
      compile_s: seconds that compiling took; None where that ran out of memory.
      memory_bytes: of the step at its peak, the compiler's figure (`costs.peak_bytes`).
      device_bytes: the same as the device's allocator saw it; None where it keeps no books, or
        where something else in this process had needed more.
      step_s: seconds of each timed step.

    Args:
      config: resolved, see `pretrain.resolve`.
    """

    def __init__(self, config: ml_collections.ConfigDict):
        self.problem: str | None = None
        self.compile_s: float | None = None
        self.memory_bytes: int | None = None
        self.device_bytes: int | None = None
        self.step_s: list[float] = []
        with self._out_of_memory_noted():
            dispatch, self._state, self._batch = costs.training_step(config)
            start = time.perf_counter()
            self._compiled = dispatch.lower(self._state, {}, self._batch).compile()
            self.compile_s = time.perf_counter() - start
            memory = self._compiled.memory_analysis()
            self.memory_bytes = costs.peak_bytes(memory)
            self._own_bytes = memory.argument_size_in_bytes

    def warm_up(self) -> None:
        """The first step, which is not timed; notes what the device's allocator says of it."""
        device = jax.devices()[0]
        before = device.memory_stats()
        self._step()
        after = device.memory_stats()
        if before and not self.problem and after["peak_bytes_in_use"] > before["peak_bytes_in_use"]:
            others = before["bytes_in_use"] - self._own_bytes
            self.device_bytes = after["peak_bytes_in_use"] - others

    def time_step(self) -> None:
        """One step, timed until the device is done."""
        start = time.perf_counter()
        self._step()
        if not self.problem:
            self.step_s.append(time.perf_counter() - start)

    def _step(self) -> None:
        if self.problem:
            return
        with self._out_of_memory_noted():
            # The step donates its state, so the new one takes its place.
            self._state, metrics = self._compiled(self._state, {}, self._batch)
            jax.block_until_ready((self._state, metrics))

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
            self._state = self._batch = self._compiled = None
