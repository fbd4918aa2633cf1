"""Semantic tube masks (SLiM): joints of one body part are hidden over a stretch of time.

Published masks hide patches independently; here a hidden cell's neighbours in time and along the
limb are mostly hidden, too, so that it cannot be interpolated. A cell is a patch: time × joint.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

TRIES = 10  # in a row without a tube that fits, after which a mask is done
SMALLEST = 4  # cells: the least area that is drawn while as many are left


class Draw(NamedTuple):
    """The random numbers of one try, all scalars.

    Attributes:
      part: its number. first, width: a run of its joints, places in the part.
      area: cells that the tube should have.
      start: in [0, 1), where the tube starts among the times at which it can.
    """

    part: jax.Array
    first: jax.Array
    width: jax.Array
    area: jax.Array
    start: jax.Array


def semantic_tubes(
    key: jax.Array,
    budget: jax.Array,
    num_times: int | jax.Array,
    parts: tuple[tuple[int, ...], ...],
    joints: jax.Array,
    most_times: int,
) -> jax.Array:
    """Hides tubes until the budget is spent, or `TRIES` tubes in a row do not fit.

    A tube fits if it hides at least one more cell, and no more than are left of the budget. The
    last cells of a budget may therefore remain visible.

    Args:
      key: of one body; vmap over bodies.
      budget: int32, may be traced: the number of cells to hide.
      num_times: T_e of this body's view, may be traced.
      parts: the joints of each body part, in an order in which neighbours are neighbours.
      joints: (V,) bool, the joints that the body's data set has. Others are not hidden, and a part
        without any is not drawn.
      most_times: of the result, at least `num_times`.

    Returns:
      (most_times, V) bool, True where hidden; False from `num_times` on.
    """
    members, sizes = _table(parts, len(joints))
    has_joints = (members & joints).any(axis=1)

    def unfinished(state):
        hidden, failures, _ = state
        return (hidden.sum() < budget) & (failures < TRIES) & has_joints.any()

    def attempt(state):
        hidden, failures, key = state
        key, own = jax.random.split(key)
        left = budget - hidden.sum()
        draw = draw_tube(own, left, sizes, has_joints)
        added = tube(draw, num_times, parts, len(joints), most_times) & joints & ~hidden
        fits = (added.sum() >= 1) & (added.sum() <= left)
        return hidden | (added & fits), jnp.where(fits, 0, failures + 1), key

    nothing = jnp.zeros((most_times, len(joints)), bool)
    return jax.lax.while_loop(unfinished, attempt, (nothing, 0, key))[0]


def draw_tube(key: jax.Array, left: jax.Array, sizes: jax.Array, has_joints: jax.Array) -> Draw:
    """The random numbers of one try.

    Part, number of joints and place of the run are uniform; the area is uniform between `SMALLEST`
    and `left`, whichever is larger. (How the number of joints is drawn is not published.)

    Args:
      left: cells left of the budget.
      sizes: (P,) int32, the number of joints of each part.
      has_joints: (P,) bool, the parts to draw from.
    """
    # All at once: every call of a random function takes long to compile.
    of_part, of_width, of_first, of_area, start = jax.random.uniform(key, (5,))

    def below(number, chance):
        return jnp.minimum((chance * number).astype(jnp.int32), number - 1)

    place = below(has_joints.sum(), of_part)
    part = jnp.argmax(jnp.cumsum(has_joints) > place)
    width = 1 + below(sizes[part], of_width)
    first = below(sizes[part] - width + 1, of_first)
    area = SMALLEST + of_area * (left - SMALLEST)
    return Draw(part, first, width, area, start)


def tube(
    draw: Draw,
    num_times: int | jax.Array,
    parts: tuple[tuple[int, ...], ...],
    num_joints: int,
    most_times: int,
) -> jax.Array:
    """The cells of a try, (most_times, V) bool: its run of joints for h = area / width times.

    h is rounded, from 1 to `num_times`; the first time is floor(start · (T_e − h + 1)).
    """
    places = jnp.asarray(_places(parts, num_joints))[draw.part]  # -1: not in this part
    run = (places >= draw.first) & (places < draw.first + draw.width)
    height = jnp.clip(jnp.round(draw.area / draw.width).astype(jnp.int32), 1, num_times)
    latest = num_times - height
    start = jnp.minimum((draw.start * (latest + 1)).astype(jnp.int32), latest)
    time = jnp.arange(most_times)
    return ((time >= start) & (time < start + height))[:, None] & run


def _places(parts: tuple[tuple[int, ...], ...], num_joints: int) -> np.ndarray:
    """The place of each joint in each part, (P, V) int32; -1 where it is not in it."""
    places = np.full((len(parts), num_joints), -1, np.int32)
    for i, part in enumerate(parts):
        places[i, list(part)] = np.arange(len(part))
    return places


def _table(parts: tuple[tuple[int, ...], ...], num_joints: int) -> tuple[jax.Array, jax.Array]:
    """Which joints each part has, (P, V) bool, and how many, (P,) int32."""
    members = _places(parts, num_joints) >= 0
    return jnp.asarray(members), jnp.asarray(members.sum(1), jnp.int32)
