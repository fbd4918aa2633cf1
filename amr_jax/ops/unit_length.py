"""Vectors of length 1, which are compared by their cosine."""

import jax
import jax.numpy as jnp

_FLOOR = 1e-6  # of a length: a zero vector stays zero, and its gradient finite


def unit_length(x: jax.Array) -> jax.Array:
    """Divides by the Euclidean length over the last axis: (..., D) -> (..., D) float32."""
    x = x.astype(jnp.float32)
    return x * jax.lax.rsqrt(jnp.square(x).sum(-1, keepdims=True) + _FLOOR**2)
