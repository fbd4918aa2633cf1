"""Reconstruction targets: patches of joints or of their motion, normalised or not."""

import jax
import jax.numpy as jnp

from amr_jax.ops import presence
from amr_jax.ops.patches import joined, patchify

_VARIANCE_FLOOR = 1e-6  # square metres; the value of the published code


def motion(clips: jax.Array, axis: int, stride: int) -> jax.Array:
    """Displacement over `stride` frames along the axis of time; the last `stride` frames are 0."""
    before = jax.lax.slice_in_dim(clips, 0, clips.shape[axis] - stride, axis=axis)
    after = jax.lax.slice_in_dim(clips, stride, None, axis=axis)
    rest = jnp.zeros_like(jax.lax.slice_in_dim(clips, 0, stride, axis=axis))
    return jnp.concatenate([after - before, rest], axis)


def reconstruction_target(
    clips: jax.Array,
    present: jax.Array,
    patch_len: int,
    kind: str,
    normalisation: str,
    motion_stride: int,
) -> tuple[jax.Array, jax.Array]:
    """The target patches of a masked reconstruction.

    Args:
      clips: (..., T, V, C) in metres.
      present: (..., T, V), see `presence`.
      patch_len: frames of a predicted patch (AMR: r·l).
      kind: `joint` (coordinates) or `motion` (displacement over `motion_stride` frames).
      normalisation: `none`; `patch`, over all values of a patch; `timestamps`, each channel of each
        joint over all T frames (NAT); `patch_timestamps`, each channel over the frames of a patch;
        `body`, division by the root mean square of all values of the body, which keeps how far
        joints move relative to each other and over time. What is not known counts in none of them.

    Returns:
      The targets, (..., T/patch_len, V, patch_len, C) float32, without gradient; and where they are
      known, (..., T/patch_len, V, patch_len, 1) bool: at joints that are present, for `motion` also
      where they go. The targets are 0 elsewhere.
    """
    values = jax.lax.stop_gradient(clips.astype(jnp.float32))
    if kind == "motion":
        values = motion(values, -3, motion_stride)
        present = presence.of_motion(present, motion_stride)
    known = present[..., None]
    if normalisation == "timestamps":
        values = _standardise(values, known, axis=-3)
    elif normalisation == "body":
        square = presence.mean(jnp.square(values), known, (-3, -2, -1), keepdims=True)
        values = values / jnp.sqrt(square + _VARIANCE_FLOOR)
    values, known = patchify(values, patch_len), patchify(known, patch_len)
    if normalisation == "patch":
        values = _standardise(values, known, axis=(-2, -1))
    elif normalisation == "patch_timestamps":
        values = _standardise(values, known, axis=-2)
    return jnp.where(known, values, 0), known


def denormalised(
    x: jax.Array,
    clips: jax.Array,
    present: jax.Array,
    kind: str,
    normalisation: str,
    motion_stride: int,
) -> jax.Array:
    """Predicted patches in metres, by the statistics of the true ones, which a loss never shows.

    Args:
      x: (..., T/patch_len, V, patch_len, C), predictions of targets.
      clips, present, kind, normalisation, motion_stride: of these targets, as in
        `reconstruction_target`.

    Returns:
      (..., T, V, C): coordinates, or for `motion` displacements.
    """
    length = x.shape[-2]
    values, known = reconstruction_target(clips, present, length, kind, "none", motion_stride)
    if normalisation == "patch":
        mean, scale = _statistics(values, known, (-2, -1))
    elif normalisation == "patch_timestamps":
        mean, scale = _statistics(values, known, -2)
    elif normalisation == "none":
        mean, scale = 0.0, 1.0
    else:  # over all frames of a joint, or of the body
        values, known, x = joined(values), joined(known), joined(x)
        if normalisation == "timestamps":
            mean, scale = _statistics(values, known, -3)
        else:
            square = presence.mean(jnp.square(values), known, (-3, -2, -1), keepdims=True)
            mean, scale = 0.0, jnp.sqrt(square + _VARIANCE_FLOOR)
        return x * scale + mean
    return joined(x * scale + mean)


def _standardise(values: jax.Array, known: jax.Array, axis: int | tuple[int, int]) -> jax.Array:
    """Subtracts the mean and divides by sqrt(unbiased variance + floor), over `axis`."""
    mean, scale = _statistics(values, known, axis)
    return (values - mean) / scale


def _statistics(
    values: jax.Array, known: jax.Array, axis: int | tuple[int, int]
) -> tuple[jax.Array, jax.Array]:
    mean = presence.mean(values, known, axis, keepdims=True)
    variance = presence.variance(values, known, axis, keepdims=True, ddof=1)
    return mean, jnp.sqrt(variance + _VARIANCE_FLOOR)
