"""The momentum of a second encoder, an exponential moving average kept by the loop."""

import jax
import jax.numpy as jnp

from amr_jax.models.settings import require


def cosine(start: float, end: float, progress: jax.Array) -> jax.Array:
    """The momentum m of average ← m · average + (1 − m) · encoder, along half a cosine.

    Args:
      start, end: m at the first and at the last step.
      progress: share of the training that is done, 0 to 1.
    """
    return end - (end - start) * 0.5 * (1 + jnp.cos(jnp.pi * progress))


def validate(method) -> None:
    """Raises `UserError` unless `method.momentum_start` and `momentum_end` are shares."""
    for name in ("momentum_start", "momentum_end"):
        value = getattr(method, name)
        require(0 <= value <= 1, f"config.model.{name} = {value}; expected 0 to 1.")
