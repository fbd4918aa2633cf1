"""Rotary position embedding: a token's time is a rotation of its query and its key (RoFormer).

The product of a query and a key then depends on the difference of their times only.
"""

import jax
import jax.numpy as jnp
import numpy as np


def angles(times: jax.Array, width: int, base: float) -> jax.Array:
    """The angles of tokens at `times`, (…, N) -> (…, N, width / 2) float32, in radians.

    Pair i of a head's features turns by base^(−2i / width) per unit of time: the first by one
    radian, the last by little more than 1 / base.

    Args:
      times: of the tokens, in patches.
      width: of a head, even.
      base: see above.
    """
    speed = float(base) ** (-np.arange(0, width, 2) / width)
    return times[..., None].astype(jnp.float32) * speed.astype(np.float32)


def turn(x: jax.Array, angles: jax.Array) -> jax.Array:
    """Turns the features i and i + width / 2 of every head, as a point in a plane, by angle i.

    Args:
      x: (…, N, heads, width), queries or keys.
      angles: (…, N, width / 2), the same for all heads.

    Returns:
      As x; computed in float32.
    """
    cos, sin = jnp.cos(angles)[..., None, :], jnp.sin(angles)[..., None, :]
    a, b = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1).astype(x.dtype)
