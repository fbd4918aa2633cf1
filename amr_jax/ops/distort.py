"""Distortions of a clip, for methods that compare views: bone lengths, noise, shear, lost joints.

A clip is (T, V, C) or (T, M, V, C), of joints: before `augment.to_stream`. Every `random_*`
function, with the key first, wraps a deterministic one; bodies of a clip share its numbers but for
noise. What is absent, all zero, stays zero; a confidence stays as it is. `augment` has crops,
rotation and mirror.
"""

import jax
import jax.numpy as jnp
import numpy as np

from amr_jax.ops import augment, presence


def scale_bones(
    clip: jax.Array, factors: jax.Array, parents: tuple[int, ...], confidence: bool
) -> jax.Array:
    """Scales the lengths of bones and rebuilds all joints from the root, which stays.

    A bone is scaled in the frames in which both of its ends are known; what hangs on another one
    moves with that bone's parent.

    Args:
      clip: (T, V, C) or (T, M, V, C).
      factors: (V,), or with more axes before, as the clip's: of the bone from each joint to its
        parent; the root's changes nothing.
      parents: parent of every joint, of the root the root itself, as `Layout.parents`.
      confidence: whether the last channel is a confidence.
    """
    places, rest = augment.split(clip, confidence)
    here = _known(clip, confidence)
    scaled = presence.of_stream(here, "bone", parents)[..., None]
    change = jnp.where(scaled, augment.bone(places, parents) * (factors[..., None] - 1), 0)
    # A joint moves by the changes of all bones between the root and itself.
    path = jnp.asarray(_paths(parents), clip.dtype)
    shift = jnp.einsum("vu,...uc->...vc", path, change, precision=jax.lax.Precision.HIGHEST)
    return jnp.concatenate([jnp.where(here[..., None], places + shift, places), rest], axis=-1)


def random_scale_bones(
    key: jax.Array,
    clip: jax.Array,
    probability: float,
    low: float,
    high: float,
    parts: tuple[tuple[int, ...], ...],
    parents: tuple[int, ...],
    confidence: bool,
) -> jax.Array:
    """`scale_bones` by one factor for each part, uniform in [low, high], or the clip unchanged.

    Args:
      parts: joints of each; the bones of joints that are in none keep their lengths.
    """
    key, own = jax.random.split(key)
    drawn = jax.random.uniform(own, (len(parts),), clip.dtype, low, high)
    place = np.full(len(parents), len(parts))  # of a joint's factor; the last one is 1
    for i, joints in enumerate(parts):
        place[list(joints)] = i
    factors = jnp.append(drawn, 1)[place]
    return _perhaps(key, probability, scale_bones(clip, factors, parents, confidence), clip)


def add_noise(clip: jax.Array, noise: jax.Array, confidence: bool) -> jax.Array:
    """Adds noise, of the shape of the coordinates, where the body (in an image: joint) is."""
    places, rest = augment.split(clip, confidence)
    here = _known(clip, confidence)[..., None]
    return jnp.concatenate([jnp.where(here, places + noise, places), rest], axis=-1)


def random_noise(
    key: jax.Array, clip: jax.Array, probability: float, sigma: float, confidence: bool
) -> jax.Array:
    """Independent normal noise of standard deviation `sigma` (metres), or the clip unchanged."""
    key, own = jax.random.split(key)
    shape = augment.split(clip, confidence)[0].shape
    noise = sigma * jax.random.normal(own, shape, clip.dtype)
    return _perhaps(key, probability, add_noise(clip, noise, confidence), clip)


def drop_axis(clip: jax.Array, axis: jax.Array, confidence: bool) -> jax.Array:
    """Sets one coordinate of all joints to zero. Noise would undo it.

    Args:
      axis: its number, may be traced; with the clip's number of axes, one for each frame, say.
    """
    places, rest = augment.split(clip, confidence)
    kept = jnp.arange(places.shape[-1]) != axis
    return jnp.concatenate([jnp.where(kept, places, 0), rest], axis=-1)


def random_drop_axis(
    key: jax.Array, clip: jax.Array, probability: float, confidence: bool
) -> jax.Array:
    """`drop_axis` of one of the coordinates, each as likely, or the clip unchanged."""
    key, own = jax.random.split(key)
    axis = jax.random.randint(own, (), 0, augment.split(clip, confidence)[0].shape[-1])
    return _perhaps(key, probability, drop_axis(clip, axis, confidence), clip)


def transform(clip: jax.Array, matrix: jax.Array, joints: jax.Array, confidence: bool) -> jax.Array:
    """Multiplies the coordinates (a column vector) of some joints by a matrix.

    Args:
      matrix: (3, 3); of two coordinates, its upper left corner applies.
      joints: (V,) bool, which ones.
    """
    places, rest = augment.split(clip, confidence)
    matrix = matrix[: places.shape[-1], : places.shape[-1]]
    moved = jnp.einsum("ij,...j->...i", matrix, places, precision=jax.lax.Precision.HIGHEST)
    return jnp.concatenate([jnp.where(joints[:, None], moved, places), rest], axis=-1)


def random_shear(key: jax.Array, clip: jax.Array, bound: float, confidence: bool) -> jax.Array:
    """Adds to each coordinate shares of the others, uniform in ± `bound` (as in CMD and USDRL)."""
    shares = jax.random.uniform(key, (3, 3), clip.dtype, -bound, bound)
    matrix = jnp.where(jnp.eye(3, dtype=bool), 1, shares)
    return transform(clip, matrix, jnp.ones(clip.shape[-2], bool), confidence)


def random_corruption(
    key: jax.Array, clip: jax.Array, num_joints: int, confidence: bool
) -> jax.Array:
    """Some joints set to zero or, as often, multiplied by a random matrix (as in USDRL).

    Args:
      num_joints: how many; which ones is drawn for the whole clip.
    """
    keys = jax.random.split(key)
    drawn = jax.random.uniform(keys[0], (clip.shape[-2] + 1,))
    chances, coin = drawn[1:], drawn[0]
    # Ranks by comparison: a sort takes longer to compile than all the rest of a view.
    joints = (chances[:, None] > chances).sum(1) < num_joints
    matrix = jax.random.uniform(keys[1], (3, 3), clip.dtype, -1, 1)
    return transform(clip, jnp.where(coin < 0.5, matrix, 0), joints, confidence)


def _known(clip: jax.Array, confidence: bool) -> jax.Array:
    """Which joints can be moved, (T, V) or (T, M, V) bool.

    Those that are present, and not zero throughout, as joints are that a data set lacks.
    """
    places, _ = augment.split(clip, confidence)
    return presence.of_clip(clip, confidence) & places.any((0, -1))


def _perhaps(key: jax.Array, probability: float, changed: jax.Array, clip: jax.Array) -> jax.Array:
    return jnp.where(jax.random.bernoulli(key, probability), changed, clip)


def _paths(parents: tuple[int, ...]) -> np.ndarray:
    """Which bones lie between the root and each joint: (V, V) bool, row by joint."""
    paths = np.zeros((len(parents),) * 2, bool)
    for joint in range(len(parents)):
        at = joint
        while not paths[joint, at]:
            paths[joint, at] = True
            at = parents[at]
    return paths
