"""Which patches stay visible. The id of a patch is time · V + joint."""

import jax
import jax.numpy as jnp

from amr_jax.ops import presence


def draw(
    key: jax.Array,
    patches: jax.Array,
    present: jax.Array,
    num_visible: int,
    kind: str,
    tau: float,
    joints: jax.Array | None = None,
) -> jax.Array:
    """Draws the visible patches of every body.

    The ids of a body depend on the key, its place in the batch and (`motion_aware`) its motion, not
    on how the batch is spread over devices.

    Args:
      patches: (B, T_e, V, l, C).
      present: (B, T_e, V, l, 1), see `presence`; `random` draws absent patches like others.
      num_visible: N_v.
      kind: `random`, or `motion_aware` with the temperature `tau`.
      joints: (B, V) bool, the joints of which patches are drawn; None: all.

    Returns:
      (B, N_v) int32.
    """
    keys, times = jax.random.split(key, patches.shape[0]), patches.shape[1]
    missing = None if joints is None else ~of_all_times(joints, times)
    if kind == "motion_aware":
        return jax.vmap(lambda *body, missing: motion_aware_mask(*body, num_visible, tau, missing))(
            keys, patches, present, missing=missing
        )
    num_patches = times * patches.shape[2]
    return jax.vmap(lambda k, missing: random_mask(k, num_patches, num_visible, missing))(
        keys, missing
    )


def draw_hidden(
    key: jax.Array,
    ids_keep: jax.Array,
    num_patches: int,
    num_drawn: int,
    joints: jax.Array | None = None,
) -> jax.Array:
    """Draws hidden patches uniformly: visible ids (B, N_v) -> (B, num_drawn) int32.

    `joints` as in `draw`.
    """
    hidden = is_hidden(ids_keep, num_patches)
    if joints is not None:
        hidden &= of_all_times(joints, num_patches // joints.shape[1])

    def one(key, hidden):
        return _smallest(jax.random.uniform(key, (num_patches,)), num_drawn, ~hidden)

    return jax.vmap(one)(jax.random.split(key, len(ids_keep)), hidden)


def of_all_times(joints: jax.Array, num_times: int) -> jax.Array:
    """What holds for joints, (B, V), for patches of all times, (B, num_times · V)."""
    return jnp.tile(joints, (1, num_times))


def random_mask(
    key: jax.Array, num_patches: int, num_visible: int, missing: jax.Array | None = None
) -> jax.Array:
    """Uniformly random visible patches of one body: (num_visible,) int32, each id once.

    Patches that are `missing`, (num_patches,) bool, are not drawn.
    """
    return _smallest(jax.random.uniform(key, (num_patches,)), num_visible, missing)


def random_hidden(key: jax.Array, budget: jax.Array, among: jax.Array) -> jax.Array:
    """Hides patches of one body uniformly at random: bool, of the shape of `among`.

    Args:
      budget: the number of patches to hide, may be traced; at most those of `among`.
      among: (T_e, V) bool, the patches that may be hidden.
    """
    noise = jnp.where(among, jax.random.uniform(key, among.shape), jnp.inf)
    rank = jnp.argsort(jnp.argsort(noise.reshape(-1)))
    return (rank < budget).reshape(among.shape)


def motion_aware_mask(
    key: jax.Array,
    patches: jax.Array,
    present: jax.Array,
    num_visible: int,
    tau: float,
    missing: jax.Array | None = None,
) -> jax.Array:
    """Random visible patches of one body, drawn so that moving patches tend to be hidden (MAMP).

    Args:
      patches: (T_e, V, l, C), T_e at least 2.
      present: (T_e, V, l, 1).
      tau: temperature; published code uses 0.75 to 0.80.
      missing: (T_e · V,) bool, patches that are not drawn; None: none of them.

    Returns:
      (num_visible,) int32, each id once.
    """
    log_p = motion_log_probability(patches, present, tau)
    # Gumbel noise on log p draws patches to *hide*, without replacement and in proportion to p.
    return _smallest(log_p + jax.random.gumbel(key, log_p.shape), num_visible, missing)


def motion_log_probability(patches: jax.Array, present: jax.Array, tau: float) -> jax.Array:
    """log p of hiding each patch of one body: (T_e, V, l, C) -> (T_e · V,), a log-softmax.

    The logit is the patch's mean absolute change since the previous patch of its joint, over `tau`
    times the largest change of the body. A change counts in frames that are present in both
    patches. A patch without such frames, as the first one, copies the next patch's change. Where
    that is unknown, too, the logit is 0, as of a patch at rest: a patch that the body is not in
    can be hidden as well as visible. (If it were never hidden, it would take the place of a patch
    that shows the body; if it were always, the encoder would first meet absence in evaluation.)
    """
    both = present[1:] & present[:-1]
    change = presence.mean(jnp.abs(patches[1:] - patches[:-1]), both, (-2, -1))
    none = jnp.zeros_like(change[:1])
    known = jnp.concatenate([none > 0, both.any((-2, -1))])
    since, until = jnp.concatenate([none, change]), jnp.concatenate([change, none])
    intensity = jnp.where(known, since, until).reshape(-1)
    return jax.nn.log_softmax(intensity / (intensity.max() * tau + 1e-10))


def is_hidden(ids_keep: jax.Array, num_patches: int) -> jax.Array:
    """Visible ids (..., N_v) -> (..., N) bool, True where a patch is hidden."""
    # Compared rather than scattered: partitions over any mesh axis without communication.
    return jnp.all(jnp.arange(num_patches)[:, None] != ids_keep[..., None, :], axis=-1)


def _smallest(noise: jax.Array, count: int, but: jax.Array | None) -> jax.Array:
    """Places of the smallest values, those left out that `but` tells."""
    noise = noise if but is None else jnp.where(but, jnp.inf, noise)
    # argsort, not top_k: over a sharded batch on CPU, top_k gathers the whole batch.
    return jnp.argsort(noise)[:count].astype(jnp.int32)
