"""Patches: the values of one joint in consecutive frames.

A patch keeps its frames and its channels on two axes, so that a weight or a mask given for each
frame broadcasts over the channels.
"""

import jax
import jax.numpy as jnp


def patchify(clips: jax.Array, patch_len: int) -> jax.Array:
    """Cuts every joint's trajectory into patches of `patch_len` consecutive frames.

    Args:
      clips: (..., T, V, C).
      patch_len: l, frames; divides T.

    Returns:
      (..., T/l, V, l, C).
    """
    *lead, frames, joints, channels = clips.shape
    patches = clips.reshape(*lead, frames // patch_len, patch_len, joints, channels)
    return jnp.moveaxis(patches, -3, -2)


def joined(patches: jax.Array) -> jax.Array:
    """The inverse of `patchify`: (..., T/l, V, l, C) -> (..., T, V, C)."""
    clips = jnp.moveaxis(patches, -3, -2)
    *lead, times, frames, joints, channels = clips.shape
    return clips.reshape(*lead, times * frames, joints, channels)


def flatten(patches: jax.Array) -> jax.Array:
    """Patches as rows, (..., T/l, V, l, C) -> (..., T/l · V, l · C).

    Rows are ordered by time and joint, the values of a row by frame and channel.
    """
    *lead, times, joints, frames, channels = patches.shape
    return patches.reshape(*lead, times * joints, frames * channels)
