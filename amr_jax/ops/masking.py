"""Which patches stay visible.

`draw` and `draw_hidden` are for a batch; everything else is for one body. Ids number the patches of
a body as time · V + joint.
"""

import jax
import jax.numpy as jnp

MASKINGS = ("random", "motion_aware")


def num_visible(num_patches: int, mask_ratio: float, explicit: int | None = None) -> int:
    """How many patches of a body stay visible.

    Args:
      num_patches: N.
      mask_ratio: share of patches that is hidden.
      explicit: overrides the ratio unless None or 0. Published code keeps `int(750 * (1 - 0.9))`,
        which is 74 in floating point: runs for parity ask for 74 here.

    Returns:
      `explicit`, or round(N·(1 − ratio)): 75 by default.
    """
    return explicit or round(num_patches * (1 - mask_ratio))


def draw(
    key: jax.Array, patches: jax.Array, num_visible: int, kind: str = "random", tau: float = 0.75
) -> jax.Array:
    """Visible patches of every body: (B, T_e, V, l·C) -> (B, num_visible) int32.

    A body's ids depend on the key, its place in the batch and (`motion_aware`) its motion, never on
    how the batch is spread over devices.
    """
    keys = jax.random.split(key, patches.shape[0])
    if kind == "motion_aware":
        return jax.vmap(lambda k, p: motion_aware_mask(k, p, num_visible, tau))(keys, patches)
    num_patches = patches.shape[1] * patches.shape[2]
    return jax.vmap(lambda k: random_mask(k, num_patches, num_visible))(keys)


def draw_hidden(key: jax.Array, ids_keep: jax.Array, num_patches: int, num_drawn: int) -> jax.Array:
    """Some of the hidden patches, uniformly: visible ids (B, K) -> (B, num_drawn) int32."""

    def one(key, ids):
        noise = jax.random.uniform(key, (num_patches,))
        # Noise lies in [0, 1): a visible patch is never among the smallest.
        return _smallest(jnp.where(is_masked(ids, num_patches), noise, 2.0), num_drawn)

    return jax.vmap(one)(jax.random.split(key, len(ids_keep)), ids_keep)


def random_mask(key: jax.Array, num_patches: int, num_visible: int) -> jax.Array:
    """Uniformly random visible patches: (num_visible,) int32, each id once."""
    return _smallest(jax.random.uniform(key, (num_patches,)), num_visible)


def motion_aware_mask(
    key: jax.Array, patches: jax.Array, num_visible: int, tau: float
) -> jax.Array:
    """Random visible patches, drawn so that moving patches tend to be hidden (MAMP).

    Args:
      patches: (T_e, V, l·C) of one body, T_e at least 2.
      tau: temperature; the field uses 0.75 to 0.80.

    Returns:
      (num_visible,) int32, each id once.
    """
    log_p = motion_log_probability(patches, tau)
    # Gumbel noise on log p draws patches to *hide*, without replacement and in proportion to p.
    return _smallest(log_p + jax.random.gumbel(key, log_p.shape), num_visible)


def motion_log_probability(patches: jax.Array, tau: float) -> jax.Array:
    """log p of hiding each patch: (T_e, V, l·C) -> (T_e·V,), a log-softmax over patches.

    The logit is the patch's mean absolute change since the previous patch of its joint (the first
    patch copies the second), over `tau` times the largest one of the body.
    """
    change = jnp.abs(patches[1:] - patches[:-1]).mean(-1)
    intensity = jnp.concatenate([change[:1], change]).reshape(-1)
    return jax.nn.log_softmax(intensity / (intensity.max() * tau + 1e-10))


def is_masked(ids_keep: jax.Array, num_patches: int) -> jax.Array:
    """(K,) visible ids -> (N,) bool, True where a patch is hidden."""
    # Compared rather than scattered: partitions over any mesh axis without communication.
    return jnp.all(jnp.arange(num_patches)[:, None] != ids_keep[None, :], axis=-1)


def _smallest(noise: jax.Array, count: int) -> jax.Array:
    # argsort, not top_k: over a sharded batch on CPU, top_k gathers the whole batch.
    return jnp.argsort(noise)[:count].astype(jnp.int32)
