"""How far a training step is from what the device can do.

The device is measured, not looked up: the rate of a large matrix product in the compute dtype, and
the rate at which memory is read and written. A step's floating-point operations and bytes come from
the compiler. It would need so long for either alone; the longer of the two is its roof, and its
share of the time measured says how much of that time is explained.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from amr_jax.benchmark import options
from amr_jax.models.settings import compute_dtype

# A step's backward pass has two products for each of the forward pass: PaLM's count of "model
# FLOPs", recomputation and attention left out.
FORWARD_AND_BACKWARD = 3

_REPEATS = 5


@dataclasses.dataclass(frozen=True)
class Peaks:
    """What the device was seen to do.

    Attributes:
      dtype: of the products.
      flops_per_s: of the fastest product of square matrices; `matmul_size`: their rows.
      bytes_per_s: read and written, `copy_bytes` in all, scaling an array in its place.
    """

    dtype: str
    flops_per_s: float
    matmul_size: int
    bytes_per_s: float
    copy_bytes: int


@dataclasses.dataclass(frozen=True)
class Roof:
    """The least time that a step can take.

    Attributes:
      compute_s, memory_s: for its operations alone, for its bytes alone.
    """

    compute_s: float
    memory_s: float

    @property
    def bound(self) -> str:
        """Which of the two takes longer."""
        return "compute" if self.compute_s >= self.memory_s else "memory"

    def share(self, step_s: float) -> float:
        """Of the time measured. Over 1 where caches serve what counts as memory's bytes."""
        return max(self.compute_s, self.memory_s) / step_s


def roof(flops: float, bytes_accessed: float, peaks: Peaks) -> Roof:
    """Of a step with so many floating-point operations and bytes."""
    return Roof(flops / peaks.flops_per_s, bytes_accessed / peaks.bytes_per_s)


def model_flops_utilisation(forward_flops: float, step_s: float, peaks: Peaks) -> float:
    """MFU: share of the peak that the linear layers, forward and backward, use.

    Args:
      forward_flops: of the linear layers in a forward pass of the batch (`costs.linear_flops`).
      step_s: seconds of a step.
    """
    return FORWARD_AND_BACKWARD * forward_flops / step_s / peaks.flops_per_s


def measure(dtype: str, sizes: Sequence[int] | None = None, copy_bytes: int | None = None) -> Peaks:
    """Measures the default device: the best of several sizes, each the best of several times.

    Args:
      dtype: compute dtype, `float32` or `bfloat16`.
      sizes: rows of the square matrices; default: 512 to 2048 on CPU, 4096 to 16384 elsewhere.
      copy_bytes: read and written; default 512 MiB on CPU, 4 GiB elsewhere: far more than caches.
    """
    on_cpu = options.on_cpu()
    sizes = sizes or ((512, 1024, 2048) if on_cpu else (4096, 8192, 16384))
    copy_bytes = copy_bytes or (2**29 if on_cpu else 2**32)
    rates = {size: 2 * size**3 / _matmul_seconds(size, dtype) for size in sizes}
    best = max(rates, key=rates.get)
    return Peaks(dtype, rates[best], best, copy_bytes / _scale_seconds(copy_bytes), copy_bytes)


def _matmul_seconds(size: int, dtype: str) -> float:
    keys = jax.random.split(jax.random.key(0))
    a, b = (jax.random.normal(key, (size, size), compute_dtype(dtype)) for key in keys)
    return _best_seconds(jax.jit(jnp.matmul), lambda _: (a, b), None)


def _scale_seconds(copy_bytes: int) -> float:
    # In its place, for the memory of a new array would have to be fetched from the system first.
    scale = jax.jit(lambda x: x * jnp.float32(0.5), donate_argnums=0)
    ones = jnp.ones(copy_bytes // 2 // 4, jnp.float32)
    return _best_seconds(scale, lambda x: (x,), ones)


def _best_seconds(function: Callable, arguments: Callable, first: jax.Array | None) -> float:
    """Shortest of `_REPEATS` calls, the compiling one not among them.

    Args:
      arguments: of a call, from the result of the one before; `first`: before the first one.
    """
    seconds, result = [], first
    for _ in range(1 + _REPEATS):
        given = arguments(result)
        start = time.perf_counter()
        result = jax.block_until_ready(function(*given))
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])
