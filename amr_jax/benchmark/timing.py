"""Timing in interleaved rounds, so that drift and noise affect all measurements equally.

Each thing is timed once per round, and the order rotates from round to round. Two things are
compared round by round, not by figures that were taken minutes apart.
"""

import argparse
import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Optional

import jax
import ml_collections
import numpy as np

from amr_jax.benchmark import interface
from amr_jax.run import cli, console
from amr_jax.studies import costs

OUT_OF_MEMORY = "out of memory"


class Unavailable(Exception):
    """A step cannot be built on this machine; the message says why, in a few words."""


# Columns of a table of steps.
TIME = {
    "ms": lambda e: e["problem"] or interface.number("step_s_median", ",.1f", 1e-3)(e),
    "quartiles": interface.quartiles("step_s_quartiles", ",.1f", 1e-3),
    "CPU ms": interface.number("cpu_s_median", ",.1f", 1e-3),
}
MEMORY = {
    "memory GB": interface.number("memory_bytes", ".2f", 1e9),
    "device GB": interface.number("device_bytes", ".2f", 1e9),
}


def rounds(things: Sequence[Any], num_rounds: int) -> None:
    """Calls `time_step()` of everything once per round; each round starts one thing later."""
    for i in range(num_rounds):
        start = i % len(things)
        for thing in (*things[start:], *things[:start]):
            thing.time_step()
        console.say(f"round {i + 1}/{num_rounds}")


def statistics(seconds: Sequence[float]) -> dict[str, Any]:
    """Median and quartiles as entries of a JSON file; None where nothing was timed."""
    low, middle, high = map(float, np.percentile(seconds, [25, 50, 75])) if seconds else [None] * 3
    return {"step_s_median": middle, "step_s_quartiles": [low, high]}


def ratio(values: Sequence[float], base: Sequence[float]) -> float | None:
    """The median over rounds of value / base; None where one of them was not timed."""
    if not values or not base:
        return None
    return float(np.median([a / b for a, b in zip(values, base, strict=True)]))


def quartiles_of_ratio(values: Sequence[float], base: Sequence[float]) -> list[float | None]:
    """The quartiles over rounds of value / base; see `ratio`."""
    if not values or not base:
        return [None, None]
    found = [a / b for a, b in zip(values, base, strict=True)]
    return [float(x) for x in np.percentile(found, [25, 75])]


class Ready(NamedTuple):
    """Training steps that are ready to run.

    Attributes:
      run: runs the steps and waits for the device.
      warm_up: runs them for the first time; returns the peak memory by the device's allocator, None
        where it keeps no statistics, or where something else in this process needed more.
      memory_bytes: peak memory of the compiled program (`costs.peak_bytes`); None if unknown.
      compile_s: seconds of compilation; None if nothing was compiled.
    """

    run: Callable[[], Any]
    warm_up: Callable[[], int | None]
    memory_bytes: int | None = None
    compile_s: float | None = None


def compiled(
    config: ml_collections.ConfigDict,
    steps: int = 1,
    dispatches: int = 1,
    make: Callable = costs.training_step,
) -> Ready:
    """The training loop's own dispatch, compiled, on a batch in device memory.

    Args:
      config: resolved, see `pretrain.resolve`.
      steps: steps that are timed together.
      dispatches: the dispatches that they are split into, without waiting in between.
      make: (config, steps per dispatch) → dispatch, state, batch.
    """
    dispatch, state, batch = make(config, steps // dispatches)
    start = time.perf_counter()
    program = dispatch.lower(state, {}, batch).compile()
    compile_s = time.perf_counter() - start
    memory = program.memory_analysis()

    def run() -> None:
        nonlocal state
        for _ in range(dispatches):
            # The dispatch donates its state: the new state replaces it.
            state, metrics = program(state, {}, batch)
        jax.block_until_ready((state, metrics))

    def warm_up() -> int | None:
        device = jax.devices()[0]
        before = device.memory_stats()
        run()
        after = device.memory_stats()
        if not before or after["peak_bytes_in_use"] <= before["peak_bytes_in_use"]:
            return None
        others = before["bytes_in_use"] - memory.argument_size_in_bytes
        return after["peak_bytes_in_use"] - others

    return Ready(run, warm_up, costs.peak_bytes(memory), compile_s)


@dataclasses.dataclass(eq=False)
class Variant:
    """A training step to time: a row of the table.

    Attributes:
      name: of the row.
      config: resolved.
      sequences: per step, on average where the batch is of packed bodies.
      build: (config, steps) → the steps to time.
      base: the variant that this one is compared with; None: with itself.
      framework: 'jax' or 'torch'.
      problem: OUT_OF_MEMORY or why the step is `Unavailable`, after which nothing more runs; else
        None.
      step_s: seconds per step, one entry per round.
      cpu_s: processor time of the same steps, of all threads of this process, in seconds per step.
      memory_bytes, device_bytes, compile_s: see `Ready`; None if unknown.
    """

    name: str
    config: ml_collections.ConfigDict
    sequences: float
    build: Callable[[ml_collections.ConfigDict, int], Ready] = compiled
    base: Optional["Variant"] = None
    framework: str = "jax"
    problem: str | None = None
    step_s: list[float] = dataclasses.field(default_factory=list)
    cpu_s: list[float] = dataclasses.field(default_factory=list)
    memory_bytes: int | None = None
    device_bytes: int | None = None
    compile_s: float | None = None

    @property
    def bodies(self) -> int:
        """Bodies per step, absent ones included where they are computed."""
        return self.config.batch_size * costs.SLOTS[self.config.input.bodies]

    def compile(self, steps: int) -> None:
        """Makes `steps` steps ready to run."""

        def build() -> None:
            self._steps, self._ready = steps, self.build(self.config, steps)
            self.memory_bytes, self.compile_s = self._ready.memory_bytes, self._ready.compile_s

        self._attempt(build)

    def warm_up(self) -> None:
        """Runs the steps for the first time, which is not timed."""
        self.device_bytes = self._attempt(lambda: self._ready.warm_up())

    def time_step(self) -> None:
        """Runs and times all steps."""
        start, cpu_start = time.perf_counter(), time.process_time()
        self._attempt(lambda: self._ready.run())
        if not self.problem:
            self.step_s.append((time.perf_counter() - start) / self._steps)
            self.cpu_s.append((time.process_time() - cpu_start) / self._steps)

    def _attempt(self, action: Callable[[], Any]) -> Any:
        """The result of `action`; None if it is impossible on this machine, now or before."""
        if self.problem:
            return None
        try:
            return action()
        except Unavailable as error:
            problem = str(error)
        except RuntimeError as error:  # the base of JAX's and of PyTorch's errors
            if "RESOURCE_EXHAUSTED" not in str(error) and "out of memory" not in str(error):
                raise
            problem = OUT_OF_MEMORY
        # Partial times would not compare with those of other steps.
        self.problem, self.step_s, self.cpu_s, self._ready = problem, [], [], None
        return None

    def entry(self) -> dict[str, Any]:
        """What was measured, for tables and JSON; ratios are of the time per sequence, and memory.

        They are None where one of the two was not measured.
        """
        base = self.base or self
        slower = ratio(self.step_s, base.step_s)
        has_memory = self.memory_bytes and base.memory_bytes
        return {
            "name": self.name,
            "framework": self.framework,
            "method": self.config.method,
            "attention": self.config.attention_kernel,
            "bodies": self.bodies,
            "sequences": self.sequences,
            "problem": self.problem,
            **statistics(self.step_s),
            "step_s": self.step_s,
            "cpu_s_median": float(np.median(self.cpu_s)) if self.cpu_s else None,
            "cpu_s": self.cpu_s,
            "ratio": slower and slower * base.sequences / self.sequences,
            "memory_bytes": self.memory_bytes,
            "memory_ratio": self.memory_bytes / base.memory_bytes if has_memory else None,
            "device_bytes": self.device_bytes,
            "compile_s": self.compile_s,
        }


def measure(variants: Sequence[Variant], steps: int, num_rounds: int) -> None:
    """Compiles all variants, then times them in rounds, `steps` steps at once."""
    config = variants[0].config
    encoder = config.encoder
    console.say(
        f"{jax.devices()[0].device_kind}, {config.dtype}: {variants[0].sequences:.3g} sequences, "
        f"{variants[0].bodies} bodies per step, {steps} steps at once; T {encoder.num_frames}, "
        f"V {encoder.num_joints}, width {encoder.width}, {encoder.depth} blocks; "
        f"{interface.usable_cores()} CPU threads"
    )
    for variant in variants:
        variant.compile(steps)
        seconds = variant.compile_s
        took = variant.problem or (f"compiled in {seconds:.0f} s" if seconds else "ready")
        console.say(f"{variant.name}, {variant.config.attention_kernel}: {took}")
    # An allocator's peak never falls: in order of size, each step sets a new one.
    for variant in sorted(variants, key=lambda variant: variant.memory_bytes or 0):
        variant.warm_up()
    rounds(variants, num_rounds)


def add_flags(parser: cli.Parser) -> None:
    """The flags of all sub-commands that time training steps."""
    parser.add("sequences", cli.at_least(1), None, "per step (default 8 on a CPU, else 128)")
    parser.add("rounds", cli.at_least(1), 10, "times that each is timed")
    parser.add("dtype", str, "auto", "compute dtype", choices=("auto", "float32", "bfloat16"))
    interface.add_override(parser)


def sequences(flags: argparse.Namespace) -> int:
    """Sequences per step."""
    return flags.sequences or (8 if jax.default_backend() == "cpu" else 128)
