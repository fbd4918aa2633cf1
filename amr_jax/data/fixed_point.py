"""Joints in 16 bits: fixed point, with a scale for each body and channel.

A step of the grid is a body's largest coordinate divided by 32,767: for a body within 3 m of the
origin 0.09 mm, so that a joint moves by 0.05 mm at most, a tenth or less of what the sensors tell
apart. (float16 would be 1 to 2 mm coarse there.) What does not move keeps one value and does not
start to; zeros stay zeros.
"""

import jax
import jax.numpy as jnp
import numpy as np

from amr_jax.data.records import Bodies

_LARGEST = np.iinfo(np.int16).max


def encode(joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One body (T, V, C) float32 -> int16 (T, V, C), and the length of a step of each channel.

    Returns:
      codes: -32,767 to 32,767.
      step: (C,) float32, the unit of the channel; 0 where it is zero throughout, or so small
        (1e-34) that its steps would be no normal numbers.
    """
    step = (np.abs(joints).max(axis=(0, 1)) / _LARGEST).astype(np.float32)
    step[step < np.finfo(np.float32).tiny] = 0
    codes = np.rint(joints / np.where(step > 0, step, 1)).astype(np.int16)
    return codes, step


def encode_bodies(bodies: Bodies) -> tuple[np.ndarray, np.ndarray]:
    """All bodies of a split: (F, V, C) int16, and steps (B, C) float32; see `encode`."""
    codes = np.empty(bodies.frames.shape, np.int16)
    step = np.empty((len(bodies.offset), codes.shape[-1]), np.float32)
    for i, (offset, length) in enumerate(zip(bodies.offset, bodies.length, strict=True)):
        part = slice(offset, offset + length)
        codes[part], step[i] = encode(bodies.frames[part])
    return codes, step


def decode(codes: jax.Array, step: jax.Array) -> jax.Array:
    """int16 (..., C) and steps that broadcast to it -> float32 (..., C), in the joints' unit."""
    return codes.astype(jnp.float32) * step
