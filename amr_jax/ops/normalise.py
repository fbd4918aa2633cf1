"""Origin and size of a sequence, normalised before augmentation (docs/formats.md).

The origin moves to one joint of the first actor: of the body in the lowest slot that is occupied in
any frame. Positions in space are in metres and keep their scale; positions in an image have no
unit, and are also divided by the first actor's size.

The functions take a NumPy array or a JAX array, traced or not, and return one of the same kind.
Sequences are (T, M, V, C), bodies absent from a frame are zero there; `channels` is one of
`layouts.CHANNELS`. Confidence is neither moved nor scaled.
"""

from amr_jax.ops import body_frame
from amr_jax.ops.body_frame import Array, BodyFrame
from amr_jax.skeleton import layouts


def normalise(
    joints: Array,
    centre: int | tuple[int, ...] | None,
    channels: str,
    frame: BodyFrame | None = None,
) -> Array:
    """Moves the origin to `centre` (None: it stays), and scales positions in an image.

    With `frame`, positions in space are also turned into the first actor's body frame. All numbers
    of a joint in an image that was not found become 0.
    """
    if channels == "xyz":
        joints = joints if centre is None else move_origin(joints, centre, channels)
        return joints if frame is None else body_frame.turn(joints, frame)
    xp = joints.__array_namespace__()
    joints = xp.where(found(joints, channels)[..., None], joints, 0)
    size = body_size(joints, channels)
    if centre is not None:
        joints = move_origin(joints, centre, channels)
    return scale(joints, size, channels)


def found(joints: Array, channels: str) -> Array:
    """Which joints were found, (T, M, V) bool; before `normalise`, which may move one to (0, 0).

    In space a body has all its joints or is absent, all zero. In an image each joint was found or
    not; one that was not lies at (0, 0), whatever its confidence, or has confidence 0.
    """
    xp = joints.__array_namespace__()
    if channels == "xyz":
        return xp.broadcast_to(joints.any(axis=(2, 3))[..., None], joints.shape[:3])
    placed = joints[..., :2].any(axis=-1)
    return placed & (joints[..., 2] > 0) if channels == "xyc" else placed


def first_actor(here: Array) -> Array:
    """The slot of the first actor, a scalar, by `found`; 0 if there is nobody."""
    return here.any(axis=(0, 2)).argmax()


def move_origin(joints: Array, centre: int | tuple[int, ...], channels: str) -> Array:
    """Moves the origin to one joint of the first actor, at its first appearance.

    If this joint is never found, the origin is the mean of all joints in the actor's first frame.
    Joints that were not found become zero.

    Args:
      joints: (T, M, V, C).
      centre: a joint, 0-based; or several, whose mean is the origin where all are first seen.
      channels: see the module.
    """
    xp = joints.__array_namespace__()
    here = found(joints, channels)
    slot = first_actor(here)
    actor, seen = joints[:, slot], here[:, slot]
    centre = xp.atleast_1d(xp.asarray(centre))

    together = seen[:, centre].all(axis=1)
    of_centre = actor[together.argmax(), centre].mean(axis=0)
    frame = seen.any(axis=1).argmax()
    count = xp.maximum(seen[frame].sum(), 1).astype(joints.dtype)
    of_all = xp.where(seen[frame][:, None], actor[frame], 0).sum(axis=0) / count
    origin = xp.where(together.any(), of_centre, of_all)

    origin = xp.where(_is_coordinate(joints, channels), origin, 0)
    return xp.where(here[..., None], joints - origin, 0)


def body_size(joints: Array, channels: str) -> Array:
    """The first actor's size: root mean square distance of its joints to their mean in each frame.

    Over all joints and frames in which they were found; 1 if nobody is there, or a single point.
    A standing person measures about a quarter of their height. NumPy computes in float64.

    Args:
      joints: (T, M, V, C).
      channels: see the module.

    Returns:
      A scalar, in the unit of the joints.
    """
    xp = joints.__array_namespace__()
    here = found(joints, channels)
    slot = first_actor(here)
    here = here[:, slot, :, None]  # (T, V, 1)
    places = joints[:, slot, :, : layouts.num_coordinates(channels)].astype(float)
    count = xp.maximum(here.sum(axis=1, keepdims=True), 1)
    middle = xp.where(here, places, 0).sum(axis=1, keepdims=True) / count
    squares = xp.where(here, xp.square(places - middle), 0)
    size = xp.sqrt(squares.sum() / xp.maximum(here.sum(), 1))
    return xp.where(size > 0, size, 1)


def scale(joints: Array, size: Array, channels: str) -> Array:
    """Divides the coordinates of (..., C) by `size`."""
    xp = joints.__array_namespace__()
    return joints / xp.where(_is_coordinate(joints, channels), size, 1).astype(joints.dtype)


def _is_coordinate(joints: Array, channels: str) -> Array:
    """(C,) bool: whether a channel is a coordinate, not confidence."""
    xp = joints.__array_namespace__()
    return xp.arange(joints.shape[-1]) < layouts.num_coordinates(channels)
