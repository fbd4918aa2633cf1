"""Reconstruction targets: patches of joints or of their motion, normalised or not."""

import jax
import jax.numpy as jnp

from amr_jax.ops import presence
from amr_jax.ops.patches import patchify

_VARIANCE_FLOOR = 1e-6  # square metres; the value of the published code


def motion(clips: jax.Array, axis: int) -> jax.Array:
    """Displacement to the next frame along the axis of time; the last frame is 0."""
    last = jax.lax.slice_in_dim(clips, clips.shape[axis] - 1, None, axis=axis)
    return jnp.diff(clips, axis=axis, append=last)


def reconstruction_target(
    clips: jax.Array, present: jax.Array, patch_len: int, kind: str, normalisation: str
) -> tuple[jax.Array, jax.Array]:
    """The target patches of a masked reconstruction.

    Args:
      clips: (..., T, V, C) in metres.
      present: (..., T, V), see `presence`.
      patch_len: frames of a predicted patch (AMR: r·l).
      kind: `joint` (coordinates) or `motion` (displacement to the next frame).
      normalisation: `none`; `patch`, over all values of a patch; `timestamps`, each channel of each
        joint over all T frames (NAT); `patch_timestamps`, each channel over the frames of a patch.
        What is not known counts in none of them.

    Returns:
      The targets, (..., T/patch_len, V, patch_len, C) float32, without gradient; and where they are
      known, (..., T/patch_len, V, patch_len, 1) bool: at joints that are present, for `motion` also
      in the next frame. The targets are 0 elsewhere.
    """
    values = jax.lax.stop_gradient(clips.astype(jnp.float32))
    if kind == "motion":
        values, present = motion(values, axis=-3), presence.of_motion(present)
    known = present[..., None]
    if normalisation == "timestamps":
        values = _standardise(values, known, axis=-3)
    values, known = patchify(values, patch_len), patchify(known, patch_len)
    if normalisation == "patch":
        values = _standardise(values, known, axis=(-2, -1))
    elif normalisation == "patch_timestamps":
        values = _standardise(values, known, axis=-2)
    return jnp.where(known, values, 0), known


def _standardise(values: jax.Array, known: jax.Array, axis: int | tuple[int, int]) -> jax.Array:
    """Subtracts the mean and divides by sqrt(unbiased variance + floor), over `axis`."""
    mean = presence.mean(values, known, axis, keepdims=True)
    variance = presence.variance(values, known, axis, keepdims=True, ddof=1)
    return (values - mean) / jnp.sqrt(variance + _VARIANCE_FLOOR)
