"""Timing in interleaved rounds, so that drift and noise reach everything that is compared alike.

Each thing is timed once per round, and the order rotates from round to round. Two things are
compared round by round, not by figures that were taken minutes apart.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from amr_jax.benchmark import options
from amr_jax.models.settings import compute_dtype
from amr_jax.run import console
from amr_jax.studies import costs

OUT_OF_MEMORY = "out of memory"


class Timeable(Protocol):
    """What `rounds` times: `time_step` appends a measurement to the thing's own list."""

    def time_step(self) -> None: ...


def rotated(items: Sequence, round_number: int) -> list:
    """The order in one round: each round starts one item later."""
    start = round_number % len(items) if items else 0
    return [*items[start:], *items[:start]]


def rounds(things: Sequence[Timeable], num_rounds: int) -> None:
    """Times everything once per round, in rotated order."""
    for i in range(num_rounds):
        for thing in rotated(things, i):
            thing.time_step()
        console.say(f"round {i + 1}/{num_rounds}")


def warm_up_and_time(steps: Sequence["TimedStep"], num_rounds: int) -> None:
    """Runs the first steps, which are not timed, then times all in rounds."""
    # An allocator's peak never falls: in order of size, each step sets a new one.
    for step in sorted(steps, key=lambda step: step.memory_bytes or 0):
        step.warm_up()
    rounds(steps, num_rounds)


def statistics(seconds: Sequence[float]) -> dict[str, Any]:
    """Median and quartiles as entries of a JSON file; None where nothing was timed."""
    low, middle, high = map(float, np.percentile(seconds, [25, 50, 75])) if seconds else [None] * 3
    return {"step_s_median": middle, "step_s_quartiles": [low, high]}


def ratio(values: Sequence[float], base: Sequence[float]) -> float | None:
    """The median over rounds of value / base; None where one of them was not timed."""
    if not values or not base:
        return None
    return float(np.median([a / b for a, b in zip(values, base, strict=True)]))


def matmul_peak(dtype: str, sizes: Sequence[int] = (), repeats: int = 5) -> dict[str, Any]:
    """The default device's rate of matrix products: the best of several sizes and repeats.

    Args:
      dtype: compute dtype, `float32` or `bfloat16`.
      sizes: rows of the square matrices; default: 512 to 2048 on CPU, 4096 to 16384 elsewhere.
    """
    sizes = sizes or ((512, 1024, 2048) if options.on_cpu() else (4096, 8192, 16384))
    multiply, rates = jax.jit(jnp.matmul), {}
    for size in sizes:
        keys = jax.random.split(jax.random.key(0))
        a, b = (jax.random.normal(key, (size, size), compute_dtype(dtype)) for key in keys)
        seconds = []
        for _ in range(1 + repeats):  # the first one compiles
            start = time.perf_counter()
            jax.block_until_ready(multiply(a, b))
            seconds.append(time.perf_counter() - start)
        rates[size] = 2 * size**3 / min(seconds[1:])
    best = max(rates, key=rates.get)
    return {"dtype": dtype, "flops_per_s": rates[best], "matmul_size": best}


class TimedStep:
    """A training step that is timed; subclasses run it (`_run`) and say when it ran out of memory.

    Attributes:
      steps: number of steps that are timed at once.
      problem: OUT_OF_MEMORY, after which nothing more runs; else None.
      compile_s: seconds of compilation; None if nothing was compiled.
      memory_bytes: peak memory of the compiled program (`costs.peak_bytes`); None if unknown.
      device_bytes: peak memory by the device's allocator; None where it keeps no statistics, or
        where something else in this process needed more.
      losses: losses of the steps of `warm_up`.
      step_s: seconds per step, one entry per round.
    """

    def __init__(self, steps: int):
        self.steps = steps
        self.problem: str | None = None
        self.compile_s: float | None = None
        self.memory_bytes: int | None = None
        self.device_bytes: int | None = None
        self.losses: list[float] = []
        self.step_s: list[float] = []

    def warm_up(self) -> None:
        """Runs the first steps, which are not timed."""
        raise NotImplementedError

    def time_step(self) -> None:
        """Runs and times all steps."""
        start = time.perf_counter()
        self._run()
        if not self.problem:
            self.step_s.append((time.perf_counter() - start) / self.steps)

    def report(self) -> dict[str, Any]:
        """What was measured, for a JSON file."""
        return {
            "problem": self.problem,
            **statistics(self.step_s),
            "memory_bytes": self.memory_bytes,
            "device_bytes": self.device_bytes,
            "compile_s": self.compile_s,
            "losses": self.losses,
            "step_s": self.step_s,
        }

    def _run(self) -> list:
        """Runs all steps, waits for the device, and returns their results."""
        raise NotImplementedError

    def _out_of_memory(self) -> None:
        """Records the problem; partial times would not compare with those of other steps."""
        self.problem, self.step_s = OUT_OF_MEMORY, []


class Program(TimedStep):
    """The training loop's own dispatch, compiled, on batches in device memory.

    Args:
      config: resolved, see `pretrain.resolve`.
      steps: steps per dispatch.
      dispatches: dispatches that are timed together, without waiting in between.
      make: (config, steps) → dispatch, state, batch.
    """

    def __init__(
        self,
        config: ml_collections.ConfigDict,
        steps: int = 1,
        dispatches: int = 1,
        make: Callable | None = None,
    ):
        super().__init__(steps * dispatches)
        with self._out_of_memory_noted():
            dispatch, self._state, batch = (make or costs.training_step)(config, self.steps)
            self._batches = _split(batch, steps, dispatches)
            start = time.perf_counter()
            self._compiled = dispatch.lower(self._state, {}, self._batches[0]).compile()
            self.compile_s = time.perf_counter() - start
            memory = self._compiled.memory_analysis()
            self.memory_bytes = costs.peak_bytes(memory)
            self._own_bytes = memory.argument_size_in_bytes

    def warm_up(self) -> None:
        """Runs the first steps; reads losses and the allocator's peak."""
        device = jax.devices()[0]
        before = device.memory_stats()
        measured = self._run()
        self.losses = [float(loss) for part in measured for loss in np.ravel(part.get("loss", []))]
        after = device.memory_stats()
        if before and not self.problem and after["peak_bytes_in_use"] > before["peak_bytes_in_use"]:
            others = before["bytes_in_use"] - self._own_bytes
            self.device_bytes = after["peak_bytes_in_use"] - others

    def _run(self) -> list[dict]:
        if self.problem:
            return []
        measured = []
        with self._out_of_memory_noted():
            for batch in self._batches:
                # The dispatch donates its state: the new state replaces it.
                self._state, metrics = self._compiled(self._state, {}, batch)
                measured.append(metrics)
            jax.block_until_ready((self._state, measured))
        return [] if self.problem else measured

    @contextlib.contextmanager
    def _out_of_memory_noted(self) -> Iterator[None]:
        """Turns an out-of-memory error into `problem`, and releases the arrays."""
        try:
            yield
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            self._out_of_memory()
            self._state = self._batches = self._compiled = None


def _split(batch: Any, steps: int, count: int) -> list:
    """A batch for `steps` · `count` steps as `count` batches for `steps` each."""
    if count == 1:
        return [batch]
    starts = range(0, steps * count, steps)
    return [jax.tree.map(lambda x, i=i: x[i : i + steps], batch) for i in starts]
