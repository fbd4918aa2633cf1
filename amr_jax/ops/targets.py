"""What the decoder is asked to predict: patches of joints or of motion, normalised or not.

Every function works on arrays with any leading axes; the last three of a clip are (T, V, C).
"""

import jax
import jax.numpy as jnp

TARGETS = ("joint", "motion")
NORMALISATIONS = ("none", "patch", "timestamps", "patch_timestamps")
_VARIANCE_FLOOR = 1e-6  # m²; of the published code


def patchify(clips: jax.Array, patch_len: int) -> jax.Array:
    """Cuts every joint's trajectory into patches of `patch_len` consecutive frames.

    Args:
      clips: (..., T, V, C); T must be divisible by `patch_len`.

    Returns:
      (..., T/l, V, l·C), the values of a patch in (frame, channel) order.
    """
    *lead, frames, joints, channels = clips.shape
    patches = clips.reshape(*lead, frames // patch_len, patch_len, joints, channels)
    patches = jnp.moveaxis(patches, -3, -2)
    return patches.reshape(*lead, frames // patch_len, joints, patch_len * channels)


def unpatchify(patches: jax.Array, patch_len: int) -> jax.Array:
    """The inverse of `patchify`: (..., T/l, V, l·C) -> (..., T, V, C)."""
    *lead, times, joints, values = patches.shape
    clips = patches.reshape(*lead, times, joints, patch_len, values // patch_len)
    clips = jnp.moveaxis(clips, -2, -3)
    return clips.reshape(*lead, times * patch_len, joints, values // patch_len)


def motion(clips: jax.Array) -> jax.Array:
    """Displacement to the next frame, (..., T, V, C) -> same shape; the last frame is 0."""
    step = clips[..., 1:, :, :] - clips[..., :-1, :, :]
    return jnp.concatenate([step, jnp.zeros_like(clips[..., :1, :, :])], axis=-3)


def _standardise(values: jax.Array, axis: int) -> jax.Array:
    """Minus the mean, over sqrt(unbiased variance + floor), along one axis."""
    mean = values.mean(axis, keepdims=True)
    variance = values.var(axis, keepdims=True, ddof=1)
    return (values - mean) / jnp.sqrt(variance + _VARIANCE_FLOOR)


def reconstruction_target(
    clips: jax.Array, patch_len: int, kind: str = "joint", normalisation: str = "none"
) -> jax.Array:
    """The target patches of a masked reconstruction.

    Args:
      clips: (..., T, V, C) in metres.
      patch_len: frames of a predicted patch (AMR: r·l).
      kind: `joint` (coordinates) or `motion` (displacement to the next frame).
      normalisation: `none`; `patch` (over all values of the patch); `timestamps` (each axis of each
        joint over all T frames, as NAT); `patch_timestamps` (each axis over the patch's frames).

    Returns:
      (..., T/patch_len, V, patch_len·C) float32, without gradient.
    """
    values = jax.lax.stop_gradient(clips.astype(jnp.float32))
    if kind == "motion":
        values = motion(values)
    if normalisation == "timestamps":
        values = _standardise(values, axis=-3)
    patches = patchify(values, patch_len)
    if normalisation == "patch":
        patches = _standardise(patches, axis=-1)
    elif normalisation == "patch_timestamps":
        by_frame = patches.reshape(*patches.shape[:-1], patch_len, clips.shape[-1])
        patches = _standardise(by_frame, axis=-2).reshape(patches.shape)
    return patches
