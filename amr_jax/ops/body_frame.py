"""The body frame: a sequence turned so that its first actor stands upright and faces the viewer.

Clips keep the camera's axes otherwise: the same performance seen by two cameras has two different
sets of coordinates, and a camera that looks down tilts everybody. After the turn, x points to the
actor's right, y up the trunk and z from the viewer through the actor, as x, y and z of a Kinect
camera do where a person faces it.

As `normalise`, for NumPy arrays or JAX arrays, traced or not.
"""

import dataclasses
from collections.abc import Sequence
from typing import TypeVar

Array = TypeVar("Array")  # numpy.ndarray or jax.Array

# The frames that directions are taken from: the median of the first three in which the actor is; or
# the mean of all. `yaw` turns about the vertical y alone, by the former.
# (`config.base.BODY_FRAMES` names them for the setting.)
_FIRST_FRAMES = 3
_SHORTEST = 1e-3  # metres: a direction of less is none


@dataclasses.dataclass(frozen=True)
class BodyFrame:
    """How to turn sequences.

    Attributes:
      kind: `first`, `mean` or `yaw`.
      left_shoulder, right_shoulder, left_hip, right_hip: these joints, 0-based.
    """

    kind: str
    left_shoulder: int
    right_shoulder: int
    left_hip: int
    right_hip: int

    @classmethod
    def of(cls, kind: str, joints: Sequence[str]) -> "BodyFrame | None":
        """The body frame for joints of these names; None if a shoulder or a hip is not named."""
        names = ("left shoulder", "right shoulder", "left hip", "right hip")
        return cls(kind, *map(joints.index, names)) if set(names) <= set(joints) else None


def turn(joints: Array, how: BodyFrame) -> Array:
    """Turns all bodies of a sequence by the first actor's rotation; absent bodies stay zero.

    A sequence whose first actor has no direction (all joints in one point) stays as it is.

    Args:
      joints: (T, M, V, 3), its origin on the actor (`normalise.move_origin`).
      how: see `BodyFrame`.
    """
    axes = rotation(joints, how).astype(joints.dtype)
    # Not a matrix product: accelerators would round its factors to 8 or 11 bits.
    return (joints[..., None, :] * axes).sum(axis=-1)


def rotation(joints: Array, how: BodyFrame) -> Array:
    """The rotation (3, 3) of `turn`, for column vectors: rows are the actor's axes x, y, z."""
    xp = joints.__array_namespace__()
    actor = joints[:, joints.any(axis=(0, 2, 3)).argmax()]
    here = actor.any(axis=(1, 2))
    left_shoulder, right_shoulder = actor[:, how.left_shoulder], actor[:, how.right_shoulder]
    left_hip, right_hip = actor[:, how.left_hip], actor[:, how.right_hip]
    up = (left_shoulder + right_shoulder - left_hip - right_hip) / 2  # (T, 3)
    right = right_shoulder - left_shoulder + right_hip - left_hip
    if how.kind == "mean":
        count = xp.maximum(here.sum(), 1).astype(joints.dtype)
        up, right = up.sum(axis=0) / count, right.sum(axis=0) / count
    else:
        up, right = (_first_median(x, here) for x in (up, right))
    if how.kind == "yaw":
        up = xp.asarray([0, 1, 0], dtype=joints.dtype)
    y = up / xp.maximum(_norm(up), _SHORTEST)
    right = right - (right * y).sum() * y
    x = right / xp.maximum(_norm(right), _SHORTEST)
    axes = xp.stack([x, y, xp.cross(x, y)])
    defined = (_norm(up) > _SHORTEST) & (_norm(right) > _SHORTEST)
    return xp.where(defined, axes, xp.eye(3, dtype=joints.dtype))


def _norm(vector: Array) -> Array:
    xp = vector.__array_namespace__()
    return xp.sqrt(xp.square(vector).sum())


def _first_median(vectors: Array, here: Array) -> Array:
    """The median of (T, 3) over the first frames that are `here`, (T,) bool."""
    xp = vectors.__array_namespace__()
    # Repeat the last of them where there are fewer than three.
    order = xp.argsort(~here, stable=True)[:_FIRST_FRAMES]
    last = xp.clip(here.sum() - 1, 0, len(order) - 1)
    chosen = order[xp.minimum(xp.arange(_FIRST_FRAMES), last)]
    return xp.median(vectors[chosen], axis=0)
