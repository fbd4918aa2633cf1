"""Views of a clip: temporal crop and resize, rotation, mirror, streams. Callers vmap over clips.

A clip is (L, V, C) or (L, M, V, C): padded to L frames, of which the first `length` are real. Start
and length may be traced. Every `random_*` function, with the key first, wraps a deterministic one.
All agree with the field's published feeders.
"""

import jax
import jax.numpy as jnp
import numpy as np

from amr_jax.errors import UserError
from amr_jax.ops import presence
from amr_jax.ops.targets import motion


def crop_resize(clip: jax.Array, start, length, num_frames: int) -> jax.Array:
    """Frames `start` … `start + length − 1`, resampled linearly to `num_frames`.

    Half-pixel centres: output i stands at (i + 1/2)·length/num_frames − 1/2, clamped to the crop.
    Positions are computed in integers and therefore exact: a crop of `num_frames` frames is
    returned unchanged, and no frame outside the crop is read.

    Args:
      clip: (L, ...).
      start, length: integers, frames; `start + length` at most L.

    Returns:
      (num_frames, ...), of the clip's dtype.
    """
    return frames_of_crops(clip, start, length, num_frames, jnp.arange(num_frames, dtype=jnp.int32))


def frames_of_crops(clip: jax.Array, start, length, num_frames, places: jax.Array) -> jax.Array:
    """Frames `places` (F,) int32 of `crop_resize`, (F, ...).

    With `start`, `length` and `num_frames` (F,), each frame may be of a crop of its own.
    """
    length = jnp.asarray(length, jnp.int32)
    steps = 2 * places + 1
    numerator = jnp.maximum(steps * length - num_frames, 0)
    low = numerator // (2 * num_frames)
    high = jnp.clip(low + 1, 0, jnp.maximum(length - 1, 0))
    fraction = (numerator % (2 * num_frames)).astype(clip.dtype) / (2 * num_frames)
    fraction = fraction.reshape(len(places), *[1] * (clip.ndim - 1))
    before, after = clip[start + low], clip[start + high]
    return before + fraction * (after - before)


def centre_crop_resize(clip: jax.Array, length, num_frames: int, fraction: float) -> jax.Array:
    """The central `fraction` of the real frames, resampled to `num_frames`; for evaluation.

    Drops int((1 − fraction)·length/2) frames at each end.
    """
    # A table computed in double precision: a traced product in float32 can fall on the other side
    # of an integer, and crop one frame more than published code.
    lengths = np.arange(clip.shape[0] + 1)
    start = jnp.asarray(((1 - fraction) * lengths / 2).astype(np.int32))[length]
    return crop_resize(clip, start, length - 2 * start, num_frames)


def crop_length(length, fraction, min_frames: int) -> jax.Array:
    """min(max(floor(length·fraction), min_frames), length), in frames."""
    wanted = jnp.floor(length * fraction).astype(jnp.int32)
    return jnp.minimum(jnp.maximum(wanted, min_frames), length)


def interval_within(
    start, length, fraction: jax.Array, place: jax.Array, min_frames: int
) -> tuple[jax.Array, jax.Array]:
    """Intervals within the `length` frames from `start` on; numbers, or arrays of one shape.

    Args:
      start, length: int32, may be traced.
      fraction: of `length`; see `crop_length`.
      place: in [0, 1): which of all places the interval has.

    Returns:
      Starts and lengths of the intervals, int32.
    """
    cropped = crop_length(length, fraction, min_frames)
    latest = length - cropped
    return start + jnp.minimum((place * (latest + 1)).astype(jnp.int32), latest), cropped


def random_crop_resize(
    key: jax.Array,
    clip: jax.Array,
    length,
    num_frames: int,
    min_fraction: float,
    max_fraction: float,
    min_frames: int,
) -> jax.Array:
    """A crop of random length and start, resampled to `num_frames`; see `crop_length`."""
    key_fraction, key_start = jax.random.split(key)
    fraction = jax.random.uniform(key_fraction, minval=min_fraction, maxval=max_fraction)
    cropped = crop_length(length, fraction, min_frames)
    start = jax.random.randint(key_start, (), 0, length - cropped + 1)
    return crop_resize(clip, start, cropped, num_frames)


def crops_with_presence(
    clip: jax.Array, start, length, num_frames, places: jax.Array, confidence: bool
) -> tuple[jax.Array, jax.Array]:
    """`frames_of_crops` of a clip (L, …, V, C), and their presence, (F, …, V) bool.

    A value is present if all those that it was made from with a weight above 0 are.
    """
    crops = start, length, num_frames, places
    view = frames_of_crops(clip, *crops)
    absent = frames_of_crops(1.0 - presence.of_clip(clip, confidence), *crops)
    # An interpolation: 0 if nothing is absent.
    return view, jnp.broadcast_to(absent == 0, view.shape[:-1])


def rotation_matrix(angles: jax.Array) -> jax.Array:
    """R = Rz·Ry·Rx for angles (3,) about x, y, z in radians -> (3, 3).

    Angles are clockwise seen from the tip of the axis, as in the field's published feeders.
    """
    (cx, cy, cz), (sx, sy, sz) = jnp.cos(angles), jnp.sin(angles)
    one, zero = jnp.ones_like(cx), jnp.zeros_like(cx)
    rx = jnp.stack([one, zero, zero, zero, cx, sx, zero, -sx, cx]).reshape(3, 3)
    ry = jnp.stack([cy, zero, -sy, zero, one, zero, sy, zero, cy]).reshape(3, 3)
    rz = jnp.stack([cz, sz, zero, -sz, cz, zero, zero, zero, one]).reshape(3, 3)
    exact = jax.lax.Precision.HIGHEST
    return jnp.matmul(jnp.matmul(rz, ry, precision=exact), rx, precision=exact)


def rotate(clip: jax.Array, angles: jax.Array, confidence: bool = False) -> jax.Array:
    """Rotates every joint (a column vector) about the origin; an absent body stays zero.

    Args:
      clip: (..., C); with two coordinates, x and y, only the angle about z applies.
      angles: (3,), see `rotation_matrix`.
      confidence: whether the last channel is a confidence, which is returned unchanged.
    """
    places, rest = split(clip, confidence)
    matrix = rotation_matrix(angles if places.shape[-1] == 3 else angles * jnp.array([0, 0, 1]))
    matrix = matrix[: places.shape[-1], : places.shape[-1]]
    # Accelerators would otherwise round the coordinates to 8 or 11 bits before multiplying.
    turned = jnp.einsum("ij,...j->...i", matrix, places, precision=jax.lax.Precision.HIGHEST)
    return jnp.concatenate([turned, rest], axis=-1) if confidence else turned


def split(clip: jax.Array, confidence: bool) -> tuple[jax.Array, jax.Array]:
    """Coordinates (..., 2 or 3), and the confidence (..., 1) or nothing (..., 0)."""
    count = clip.shape[-1] - confidence
    if count not in (2, 3):
        raise UserError(
            f"clips of shape {clip.shape}; expected joints of 2 or 3 coordinates"
            f"{' and their confidence' if confidence else ''}."
        )
    return clip[..., :count], clip[..., count:]


def random_rotate(
    key: jax.Array,
    clip: jax.Array,
    max_angles: tuple[float, float, float],
    confidence: bool = False,
) -> jax.Array:
    """One rotation of the whole clip, the angles about x, y, z uniform in ± `max_angles`.

    Clips with two coordinates rotate about z only; the config's check refuses other angles.
    """
    bound = jnp.array(max_angles, jnp.float32)
    angles = jax.random.uniform(key, (3,), minval=-bound, maxval=bound)
    return rotate(clip, angles, confidence)


def random_shift(
    key: jax.Array, clip: jax.Array, max_shift: float, confidence: bool = False
) -> jax.Array:
    """One translation of the whole clip, along each axis uniform in ± `max_shift` metres."""
    places, rest = split(clip, confidence)
    shape = places.shape[-1:]
    shift = jax.random.uniform(key, shape, clip.dtype, minval=-max_shift, maxval=max_shift)
    return jnp.concatenate([places + shift, rest], axis=-1) if confidence else places + shift


def mirror(clip: jax.Array, mirrored: tuple[int, ...]) -> jax.Array:
    """Left and right exchanged: x (channel 0) negated, every joint in its opposite's place.

    Args:
      clip: (..., V, C).
      mirrored: for every joint the joint on the other side, as `Layout.mirrored`.
    """
    sign = jnp.ones(clip.shape[-1], clip.dtype).at[0].set(-1)
    return clip[..., jnp.array(mirrored), :] * sign


def random_mirror(key: jax.Array, clip: jax.Array, mirrored: tuple[int, ...]) -> jax.Array:
    """The clip mirrored, or unchanged, with equal probability."""
    return jnp.where(jax.random.bernoulli(key), mirror(clip, mirrored), clip)


def bone(clip: jax.Array, parents: tuple[int, ...]) -> jax.Array:
    """Displacement of every joint from its parent, (..., V, C) -> same shape; the root is 0.

    Args:
      clip: in metres.
      parents: parent of every joint, of the root the root itself, as `Layout.parents`.
    """
    return clip - clip[..., jnp.array(parents), :]


def to_stream(
    clip: jax.Array, stream: str, parents: tuple[int, ...], confidence: bool = False
) -> jax.Array:
    """The clip as a stream: its coordinates (`joint`), `bone`s or `motion`. Absent bodies remain 0.

    With `confidence` the last channel is a confidence, and returned unchanged.

    Raises:
      ValueError: `bone`, and not one parent for every joint.
    """
    if stream == "joint":
        return clip
    if stream == "bone" and len(parents) != clip.shape[-2]:
        raise ValueError(f"{len(parents)} parents for {clip.shape[-2]} joints.")
    places, rest = split(clip, confidence)
    places = bone(places, parents) if stream == "bone" else motion(places, axis=0, stride=1)
    return jnp.concatenate([places, rest], axis=-1) if confidence else places


def train_view(
    key: jax.Array,
    clip: jax.Array,
    length,
    *,
    num_frames: int,
    min_fraction: float,
    max_fraction: float,
    min_frames: int,
    max_angles: tuple[float, float, float],
    stream: str,
    parents: tuple[int, ...],
    confidence: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """The view of pre-training: random crop and resize, one random rotation, then the stream.

    Args:
      length, num_frames, min_fraction, max_fraction, min_frames: see `random_crop_resize`.
      max_angles, confidence: see `random_rotate`; zeros: no rotation.
      stream, parents: see `to_stream`; motion is from frame to frame of the view.

    Returns:
      The view, (num_frames, V, C) or (num_frames, M, V, C), and its presence without the last axis,
      as `crops_with_presence` tells it.
    """
    key_crop, key_rotation = jax.random.split(key)

    # The same crop twice, and not `crops_with_presence`: compiled differently, dispatches of other
    # lengths would round apart, and a run resumed with them would not have the same bits.
    def crop(values):
        return random_crop_resize(
            key_crop, values, length, num_frames, min_fraction, max_fraction, min_frames
        )

    view = crop(clip)
    absent = crop(1.0 - presence.of_clip(clip, confidence))  # an interpolation: 0 if nothing is
    present = presence.of_view(jnp.broadcast_to(absent == 0, view.shape[:-1]), stream, parents)
    if any(max_angles):
        view = random_rotate(key_rotation, view, max_angles, confidence)
    return to_stream(view, stream, parents, confidence), present


def test_view(
    clip: jax.Array,
    length,
    *,
    num_frames: int,
    fraction: float,
    stream: str,
    parents: tuple[int, ...],
    confidence: bool = False,  # noqa: PT028
) -> jax.Array:
    """The view of evaluation: the centre crop, resized, then the stream; no rotation."""
    view = centre_crop_resize(clip, length, num_frames, fraction)
    return to_stream(view, stream, parents, confidence)


test_view.__test__ = False  # not a test, for pytest
