"""The product of a linear layer, with gradients of weights in float32 and fast on CPUs."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype


def keep_kernel(x: jax.Array, kernel: jax.Array, bias: Any, *, dtype: Any, **_: Any) -> tuple:
    """For `nn.Dense(promote_dtype=…)`: input and bias in `dtype`, the kernel as it is.

    `dot_general` casts the kernel, so that its gradient is not cast.
    """
    x, bias = promote_dtype(x, bias, dtype=dtype)
    return x, kernel, bias


def dot_general(
    x: jax.Array, kernel: jax.Array, dimensions: Any, precision: Any = None, **_: Any
) -> jax.Array:
    """For `nn.Dense(dot_general=…)`: x (…, D) times a float32 kernel (D, F), (…, F), as x's dtype.

    The gradient of the kernel is summed and returned in float32, over tokens and over devices, also
    where x is bfloat16: as PyTorch's autocast with DistributedDataParallel has it over devices.
    """
    rows = _times(x.reshape(-1, x.shape[-1]), kernel, precision)
    return rows.reshape(*x.shape[:-1], kernel.shape[-1])


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _times(x: jax.Array, kernel: jax.Array, precision: Any) -> jax.Array:
    return jnp.matmul(x, kernel.astype(x.dtype), precision=precision)


def _forward(x, kernel, precision):
    return _times(x, kernel, precision), (x, kernel)


def _backward(precision, kept, d_out):
    x, kernel = kept
    summed = functools.partial(jnp.matmul, precision=precision, preferred_element_type=kernel.dtype)

    def transposed_first(x, d_out):
        # A product that sums over the first axis of both runs at half the speed. The barrier keeps
        # XLA from merging the transposition, which costs little, back into it, and from computing
        # the gradient of all later blocks once more for a transposed copy.
        return summed(*jax.lax.optimization_barrier((x.T, d_out)))

    d_kernel = jax.lax.platform_dependent(
        x, d_out, cpu=transposed_first, default=lambda x, d_out: summed(x.T, d_out)
    )
    d_x = jnp.matmul(d_out, kernel.astype(d_out.dtype).T, precision=precision)
    return d_x, d_kernel


_times.defvjp(_forward, _backward)
