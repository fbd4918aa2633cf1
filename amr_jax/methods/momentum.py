"""The momentum of a method's second encoder, an exponential moving average that the loop keeps."""

import jax
import jax.numpy as jnp

from amr_jax.models.settings import require


def cosine(start: float, end: float, progress: jax.Array) -> jax.Array:
    """From `start` to `end` along half a cosine.

    Args:
      start, end: share that the average keeps of itself at an update.
      progress: share of the training that is done, 0 to 1.

    Returns:
      The share to keep now: average ← share · average + (1 − share) · encoder.
    """
    return end - (end - start) * 0.5 * (1 + jnp.cos(jnp.pi * progress))


def validate(method) -> None:
    """Raises `UserError` unless `method.momentum_start` and `momentum_end` are shares."""
    for name in ("momentum_start", "momentum_end"):
        value = getattr(method, name)
        require(0 <= value <= 1, f"config.model.{name} = {value}; expected 0 to 1.")
