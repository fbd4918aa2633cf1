"""Motion energy: how much each joint moves in each window of time, and the weight that follows.

Paper, "Focal Reconstruction" and "Multi-scale Temporal Window Fusion". S is a window of n frames of
one joint, (n, C); there are T_w = T/n of them.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from amr_jax.ops import presence
from amr_jax.ops.patches import patchify


def window_energy(clips: jax.Array, present: jax.Array, window: int) -> jax.Array:
    """e_s = (1/n) Σ_i ‖S_i − mean(S)‖²: mean squared distance of a joint to its mean position.

    Args:
      clips: (..., T, V, C) in metres.
      present: (..., T, V); both means run over the frames in which the joint is present.
      window: n, frames; divides T.

    Returns:
      (..., T_w, V) in square metres. A joint that stands still, or is absent, has exactly 0.
    """
    s, here = patchify(clips, window), patchify(present[..., None], window)
    # Relative to a corner of the window: energy does not depend on the origin, and float32 keeps
    # the millimetres of a joint that is metres away from it.
    s = s - s.max(-2, keepdims=True, where=here, initial=-jnp.inf)
    return presence.variance(s, here, -2).sum(-1)


def weight(e_s: jax.Array, e_t: jax.Array, kind: str, k: float, epsilon: float) -> jax.Array:
    """w(e_s): 0 for static, towards 1 for strongly moving.

    Args:
      e_s: window energies.
      e_t: adaptive threshold, broadcastable to `e_s`. Where it is 0 nothing moves: weight 0.
      kind: `ratio` 1/(1 + k·e_t/(e_s + ε)); `power` min(1, (e_s/e_t)^k); `exponential`
        1 − exp(−k·e_s/e_t).
      k: curvature, positive.
      epsilon: ε of `ratio`, in square metres.

    Returns:
      Weights in [0, 1], of the shape of `e_s`.

    Raises:
      ValueError: unknown kind.
    """
    moves = e_t > 0
    threshold = jnp.where(moves, e_t, 1.0)
    if kind == "ratio":
        w = 1 / (1 + k * threshold / (e_s + epsilon))
    elif kind == "power":
        w = jnp.minimum(1.0, (e_s / threshold) ** k)
    elif kind == "exponential":
        w = -jnp.expm1(-k * e_s / threshold)
    else:
        raise ValueError(f"kind = {kind!r}: expected 'ratio', 'power' or 'exponential'.")
    return jnp.where(moves, w, 0.0)


def motion_weights(
    clips: jax.Array,
    present: jax.Array,
    windows: Sequence[int],
    kind: str,
    k: float,
    epsilon: float,
    energy_threshold: str,
) -> jax.Array:
    """W: the weight of every frame of every joint, averaged over window lengths.

    Args:
      clips: (..., T, V, C) in metres.
      present: (..., T, V), see `presence`.
      windows: window lengths n, in frames; each divides T and has its own threshold e_t.
      kind, k, epsilon: see `weight`; `none` gives 1 everywhere (plain mean squared error).
      energy_threshold: e_t is the mean of e_s over all windows and joints of the body (`body`), or
        over the windows of each joint (`joint`). Windows without a present frame do not count.

    Returns:
      (..., T, V) float32 in [0, 1], without gradient; 0 for a body that does not move at all, and
      in frames without it.
    """
    clips = jax.lax.stop_gradient(clips.astype(jnp.float32))
    if kind == "none":
        return present.astype(jnp.float32)
    pooled = (-2, -1) if energy_threshold == "body" else (-2,)
    total = jnp.zeros(clips.shape[:-1], jnp.float32)
    for n in windows:
        e_s = window_energy(clips, present, n)
        known = patchify(present[..., None], n).any((-2, -1))  # (..., T_w, V)
        e_t = presence.mean(e_s, known, pooled, keepdims=True)
        total += jnp.repeat(weight(e_s, e_t, kind, k, epsilon), n, axis=-2)
    return jnp.where(present, total / len(windows), 0)
