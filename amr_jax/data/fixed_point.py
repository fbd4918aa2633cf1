"""Joints as 16-bit fixed point, with one scale for each body and channel.

The step of the grid is a body's largest coordinate divided by 32,767. For a body within 3 m of the
origin it is 0.09 mm, so that rounding moves a joint by at most 0.05 mm, at most a tenth of the
sensors' resolution. (float16 has steps of 1 to 2 mm there.) Equal values stay equal, so that a
joint at rest stays at rest; zeros stay zeros.
"""

from typing import TypeVar

import numpy as np

Array = TypeVar("Array")  # numpy.ndarray or jax.Array

_LARGEST = np.iinfo(np.int16).max


def unit(joints: np.ndarray) -> np.ndarray:
    """The unit of each body and channel of a sequence (T, M, V, C): (M, 1, C) float32."""
    largest = np.abs(joints).max(axis=(0, 2))[:, None]
    return (largest / _LARGEST).astype(np.float32)


def encode(joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Encodes one body, (T, V, C) float32.

    Returns:
      codes: (T, V, C) int16, from -32,767 to 32,767.
      step: (C,) float32, the unit of each channel; 0 where the channel is zero throughout, or so
        small (1e-34) that the step would be a subnormal number.
    """
    step = unit(joints[:, None])[0, 0]
    step[step < np.finfo(np.float32).tiny] = 0
    codes = np.rint(joints / np.where(step > 0, step, 1)).astype(np.int16)
    return codes, step


def encode_bodies(frames: np.ndarray, length: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Encodes bodies one by one.

    Args:
      frames: (F, V, C) float32, one body after the other.
      length: (B,) frames of each.

    Returns:
      codes (F, V, C) int16 and steps (B, C) float32; see `encode`.
    """
    codes = np.empty(frames.shape, np.int16)
    step = np.empty((len(length), frames.shape[-1]), np.float32)
    end = np.cumsum(length)
    for i, part in enumerate(map(slice, end - length, end)):
        codes[part], step[i] = encode(frames[part])
    return codes, step


def decode(codes: Array, step: Array) -> Array:
    """int16 (..., C), and steps that broadcast to it -> float32 (..., C) in the joints' unit."""
    return codes.astype(np.float32) * step
