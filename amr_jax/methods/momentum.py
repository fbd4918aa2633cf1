"""The momentum of a second encoder, an exponential moving average kept by the loop."""

import jax
import jax.numpy as jnp


def cosine(start: float, end: float, progress: jax.Array) -> jax.Array:
    """The momentum m of average ← m · average + (1 − m) · encoder, along half a cosine.

    Args:
      start, end: m at the first and at the last step.
      progress: share of the training that is done, 0 to 1.
    """
    return end - (end - start) * 0.5 * (1 + jnp.cos(jnp.pi * progress))
