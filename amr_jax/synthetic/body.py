"""An articulated person: bones of constant length, posed by forward kinematics.

Each person has a coordinate system in metres: x to their left, y up, z forward, the origin on the
ground between the feet. `Pose` holds trunk, head, hands and feet for every frame; `Person.joints`
computes the 25 joints of `layouts.NTU_25`. An action sets the positions of wrists and ankles; arms
and legs follow from the closed solution for a chain of two bones.
"""

import dataclasses

import numpy as np

from amr_jax.skeleton import layouts

SIDES = ("left", "right")
OUTWARD = np.array([1.0, -1.0])  # the x direction away from the trunk, per side
HANGING = np.array([0.13, -0.96, 0.07])  # an idle hand, in the axes of `Pose.hand`


def rotation(yaw: np.ndarray, pitch: np.ndarray, roll: np.ndarray) -> np.ndarray:
    """Ry(yaw)·Rx(pitch)·Rz(roll) for angles (T,) in radians: (T, 3, 3).

    Positive: turn left, bend forward, lean to the right.
    """
    (cy, sy), (cp, sp), (cr, sr) = ((np.cos(a), np.sin(a)) for a in (yaw, pitch, roll))
    rows = [
        [cy * cr + sy * sp * sr, sy * sp * cr - cy * sr, sy * cp],
        [cp * sr, cp * cr, -sp],
        [cy * sp * sr - sy * cr, sy * sr + cy * sp * cr, cy * cp],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def _turn(matrices: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    return np.einsum("...ij,...j->...i", matrices, vectors)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def two_bones(start: np.ndarray, goal: np.ndarray, upper: float, lower: float, pole: np.ndarray):
    """Directions of two bones from `start` to `goal`, bent towards `pole`.

    For a goal out of reach, the chain ends as close as the bones allow.

    Args:
      start, goal, pole: (..., 3).
      upper, lower: lengths of the bones.

    Returns:
      Unit directions of the upper and the lower bone, and the normal of their plane: (..., 3) each.
    """
    way = goal - start
    distance = np.clip(
        np.linalg.norm(way, axis=-1, keepdims=True),
        1.02 * abs(upper - lower) + 0.05 * upper,
        0.999 * (upper + lower),
    )
    along = _unit(way)
    across = _unit(pole - np.sum(pole * along, axis=-1, keepdims=True) * along)
    cosine = (upper**2 + distance**2 - lower**2) / (2 * upper * distance)
    first = cosine * along + np.sqrt(np.maximum(1 - cosine**2, 0)) * across
    second = (distance * along - upper * first) / lower
    return first, second, np.cross(along, across)


class Pose:
    """The posture of a person in T frames. Lengths are in metres unless stated otherwise.

    Attributes:
      travel: (T, 3) displacement of the whole person over the ground.
      yaw: (T,) turn of the whole person.
      pelvis: (T, 3) displacement of the pelvis over the planted feet (down is negative y).
      bend, lean, twist: (T,) angles of the chest from upright, distributed along the spine.
      head: (T, 3) yaw, pitch and roll of the head relative to the chest.
      hand: (T, 2, 3) wrists from their shoulders, (outward, up, forward) of the chest, in arm
        lengths.
      pole: (T, 2, 3) direction of the elbows, same axes.
      foot: (T, 2, 3) displacement of the ankles, along the person's (left, up, forward).
      toe: (T, 2) angle of the toes, positive downwards.
    """

    def __init__(self, num_frames: int):
        self.travel, self.pelvis, self.head = np.zeros((3, num_frames, 3))
        self.yaw, self.bend, self.lean, self.twist = np.zeros((4, num_frames))
        self.hand = np.tile(HANGING, (num_frames, 2, 1))
        self.pole = np.tile([0.4, -0.5, -0.9], (num_frames, 2, 1))
        self.foot = np.zeros((num_frames, 2, 3))
        self.toe = np.zeros((num_frames, 2))

    def reach(self, side: int, target, weight: np.ndarray, pole=None, arc: float = 0.15) -> None:
        """Moves one wrist from its position towards `target`, (3,) or (T, 3), by `weight` (T,).

        Args:
          side: LEFT or RIGHT.
          target: in the axes of `hand`.
          weight: 0 leaves the wrist, 1 puts it on the target.
          pole: direction of the elbow meanwhile; None keeps it.
          arc: how far the path bends forward, in arm lengths.
        """
        weight = weight[:, None]
        self.hand[:, side] += weight * (np.asarray(target) - self.hand[:, side])
        self.hand[:, side, 2] += arc * (4 * weight * (1 - weight))[:, 0]
        if pole is not None:
            self.pole[:, side] += weight * (np.asarray(pole) - self.pole[:, side])


@dataclasses.dataclass(frozen=True)
class Person:
    """The body of one subject: lengths of bones in metres, the same on both sides."""

    lower_spine: float  # base to middle
    upper_spine: float  # middle to the shoulders' height
    neck: float
    head: float
    shoulder: float
    upper_arm: float
    forearm: float
    hand: float
    finger: float  # hand to tip
    hip: float
    thigh: float
    shank: float
    foot: float
    ankle_height: float

    @staticmethod
    def random(rng: np.random.Generator) -> "Person":
        """A person of 1.50 to 1.92 m; every bone deviates up to 6 % from average proportions."""
        shares = {
            "lower_spine": 0.177, "upper_spine": 0.131, "neck": 0.045, "head": 0.085,
            "shoulder": 0.096, "upper_arm": 0.158, "forearm": 0.143, "hand": 0.044,
            "finger": 0.045, "hip": 0.046, "thigh": 0.232, "shank": 0.232, "foot": 0.065,
            "ankle_height": 0.048,
        }  # fmt: skip
        height = rng.uniform(1.50, 1.92)
        return Person(**{k: height * v * rng.uniform(0.94, 1.06) for k, v in shares.items()})

    @property
    def arm(self) -> float:
        """Length of an arm from shoulder to wrist."""
        return self.upper_arm + self.forearm

    def joints(self, pose: Pose) -> np.ndarray:
        """The joints (T, 25, 3) of this person in `pose`, metres, in the person's frame."""
        where: dict[str, np.ndarray] = {}
        chest = self._trunk(pose, where)
        self._arms(pose, chest, where)
        self._legs(pose, where)
        return np.stack([where[joint] for joint in layouts.NTU_25.joints], axis=1)

    def _trunk(self, pose: Pose, where: dict[str, np.ndarray]) -> np.ndarray:
        """Adds spine, head, shoulders and hips; returns the chest's rotation (T, 3, 3)."""
        hips = rotation(pose.yaw, 0.3 * pose.bend, 0.3 * pose.lean)
        spine = rotation(pose.yaw + 0.4 * pose.twist, 0.65 * pose.bend, 0.65 * pose.lean)
        chest = rotation(pose.yaw + pose.twist, pose.bend, pose.lean)
        head = chest @ rotation(*pose.head.T)
        leg = self.ankle_height + 0.985 * (self.thigh + self.shank) + 0.4 * self.hip
        still = np.zeros_like(pose.yaw)
        standing = pose.pelvis + np.array([0.0, leg, 0.0])
        base = pose.travel + _turn(rotation(pose.yaw, still, still), standing)

        where["spine base"] = base
        where["spine middle"] = base + self.lower_spine * spine[:, :, 1]
        where["spine shoulder"] = where["spine middle"] + self.upper_spine * chest[:, :, 1]
        where["neck"] = where["spine shoulder"] + self.neck * chest[:, :, 1]
        # The centre of the head lies in front of the neck, so that turning the head moves it.
        where["head"] = where["neck"] + self.head * _turn(head, _unit(np.array([0, 0.9, 0.45])))
        for side, outward in zip(SIDES, OUTWARD, strict=True):
            shoulder, hip = np.array([outward, -0.22, 0.0]), np.array([outward, -0.4, 0.0])
            where[f"{side} shoulder"] = where["spine shoulder"] + self.shoulder * _turn(
                chest, _unit(shoulder)
            )
            where[f"{side} hip"] = base + self.hip * _turn(hips, _unit(hip))
        return chest

    def _arms(self, pose: Pose, chest: np.ndarray, where: dict[str, np.ndarray]) -> None:
        for i, side in enumerate(SIDES):
            mirror = np.array([OUTWARD[i], 1.0, 1.0])
            shoulder = where[f"{side} shoulder"]
            goal = shoulder + _turn(chest, self.arm * mirror * pose.hand[:, i])
            pole = _turn(chest, mirror * pose.pole[:, i])
            upper, fore, normal = two_bones(shoulder, goal, self.upper_arm, self.forearm, pole)
            thumb = _unit(fore - OUTWARD[i] * 1.2 * normal)
            where[f"{side} elbow"] = shoulder + self.upper_arm * upper
            where[f"{side} wrist"] = where[f"{side} elbow"] + self.forearm * fore
            where[f"{side} hand"] = where[f"{side} wrist"] + self.hand * fore
            where[f"{side} hand tip"] = where[f"{side} hand"] + self.finger * fore
            where[f"{side} thumb"] = where[f"{side} hand"] + 0.7 * self.finger * thumb

    def _legs(self, pose: Pose, where: dict[str, np.ndarray]) -> None:
        still = np.zeros_like(pose.yaw)
        heading = rotation(pose.yaw, still, still)
        for i, side in enumerate(SIDES):
            stance = np.array([OUTWARD[i] * 1.1 * self.hip, self.ankle_height, 0.0])
            ankle = pose.travel + _turn(heading, stance + pose.foot[:, i])
            hip = where[f"{side} hip"]
            pole = _turn(heading, np.array([0.1 * OUTWARD[i], 0.3, 1.0]))
            thigh, shank, _ = two_bones(hip, ankle, self.thigh, self.shank, pole)
            toes = rotation(pose.yaw + 0.2 * OUTWARD[i], 0.35 + pose.toe[:, i], still)[:, :, 2]
            where[f"{side} knee"] = hip + self.thigh * thigh
            where[f"{side} ankle"] = where[f"{side} knee"] + self.shank * shank
            where[f"{side} foot"] = where[f"{side} ankle"] + self.foot * toes
