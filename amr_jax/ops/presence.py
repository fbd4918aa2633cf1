"""Presence: the frames of a clip in which a body is there; in an image, in which a joint was found.

What is absent is zero, and a jump to these zeros is no motion. Presence, (..., T, V) bool, travels
with a clip (..., T, V, C), so that statistics and losses run over present values only.
"""

import jax
import jax.numpy as jnp

Axes = int | tuple[int, ...] | None


def of_clip(clip: jax.Array, confidence: bool) -> jax.Array:
    """The presence of a clip as it was loaded: (..., V, C) -> (..., V), or (..., 1) for all joints.

    In space a body has all its joints or is absent, all zero. In an image each joint was found or
    not; one that was not is zero, or has confidence 0, the last channel. (`normalise.found` tells
    the same of a sequence as captured. `data.records` keeps found joints off the origin.)
    """
    if confidence:
        return clip[..., -1] > 0
    found = clip.any(axis=-1)
    return found.any(axis=-1, keepdims=True) if clip.shape[-1] == 3 else found


def of_motion(present: jax.Array, stride: int) -> jax.Array:
    """Where displacements over `stride` frames are known: here and where they go, (..., T, V).

    The last frames have none, and `targets.motion` is 0 there by definition, not by measurement.
    They count where the body is present, as in published code.
    """
    return present & jnp.concatenate([present[..., stride:, :], present[..., -stride:, :]], axis=-2)


def of_stream(present: jax.Array, stream: str, parents: tuple[int, ...]) -> jax.Array:
    """The presence of `augment.to_stream`'s values, (..., T, V).

    A bone is there if its joint and its parent are; motion if this frame and the next one are.
    """
    if stream == "bone":
        return present & present[..., jnp.array(parents)]
    return of_motion(present, 1) if stream == "motion" else present


def of_view(present: jax.Array, stream: str, parents: tuple[int, ...]) -> jax.Array:
    """`of_stream` for the view of a clip, (T, V) or (T, M, V)."""
    return jnp.moveaxis(of_stream(jnp.moveaxis(present, 0, -2), stream, parents), -2, 0)


def mean(
    values: jax.Array, present: jax.Array, axis: Axes = None, keepdims: bool = False
) -> jax.Array:
    """The mean of present values over `axis` (None: all); 0 where there are none.

    Args:
      values: any shape.
      present: bool, broadcastable to it.
    """
    present = jnp.broadcast_to(present, values.shape)
    count = present.sum(axis, keepdims=keepdims)
    return values.sum(axis, keepdims=keepdims, where=present) / jnp.maximum(count, 1)


def variance(
    values: jax.Array, present: jax.Array, axis: Axes, keepdims: bool = False, ddof: int = 0
) -> jax.Array:
    """The variance of present values over `axis`; 0 where there are fewer than two.

    Args:
      values, present: as in `mean`.
      ddof: 1 for the unbiased variance.
    """
    squares = jnp.square(values - mean(values, present, axis, keepdims=True))
    present = jnp.broadcast_to(present, values.shape)
    count = present.sum(axis, keepdims=keepdims) - ddof
    return squares.sum(axis, keepdims=keepdims, where=present) / jnp.maximum(count, 1)
