"""BVH motion capture: a skeleton (HIERARCHY) and angles per frame (MOTION); joints by kinematics.

Positions come in the file's unit, often centimetres. The root's position channels are added to its
offset; those of other joints replace theirs, as in exports of animation programs. End sites are no
joints. Own code, because the libraries for it do without forward kinematics (bvh), are no longer
kept, or read from paths only and without naming what is wrong in a file (bvhio).
"""

import dataclasses
import re

import numpy as np

from amr_jax.data.readers import files, keypoints
from amr_jax.data.readers.keypoints import Clip
from amr_jax.data.readers.number_text import NumberText
from amr_jax.skeleton.layouts import Layout

_MAX_LINE, _MAX_JOINTS = 2**16, 512
_CHANNEL = re.compile(r"([xyz])(position|rotation)", re.IGNORECASE)
# How names say left, and its mirror image: LeftArm, left_arm, LArm, L_Arm, lArm, arm_L, arm.l.
_LEFT = re.compile(r"(left)|(?<![a-z])l(?=_|[A-Z])|(?<=[_.])l$", re.IGNORECASE)


@dataclasses.dataclass
class _Joint:
    name: str
    parent: int  # -1: the root
    offset: np.ndarray | None = None
    channels: list[tuple[int, bool]] | None = None  # (axis, whether it is a rotation)


def clips(raw: files.RawFile) -> list[Clip]:
    """The one clip of a file, in its unit."""
    text = _text(raw)
    joints, at = _hierarchy(text)
    numbers = _motion(text, at, sum(len(joint.channels) for joint in joints))
    places = _places(joints, numbers.astype(np.float64))
    return [Clip(places[:, None], None, joints=tuple(joint.name for joint in joints))]


def layout(raw: files.RawFile) -> Layout:
    """The skeleton of a file, centred at its root."""
    joints, _ = _hierarchy(_text(raw))
    index = {joint.name: i for i, joint in enumerate(joints)}
    pairs = ((i, index.get(_mirrored(name))) for name, i in index.items())
    return Layout(
        name=raw.name.rpartition(".")[0] or "bvh",
        joints=tuple(index),
        bones=tuple((i, joint.parent) for i, joint in enumerate(joints) if joint.parent >= 0),
        left_right=tuple((left, right) for left, right in pairs if right is not None),
        parts={"body": tuple(range(len(joints)))},
        centre=0,
    )


def _mirrored(name: str) -> str:
    """The name with right in place of left; '' if it does not say left."""

    def right(match: re.Match) -> str:
        word = "right" if match[1] else "r"
        return (
            word.upper() if match[0].isupper() else word.title() if match[0][0].isupper() else word
        )

    found = _LEFT.search(name)
    return name[: found.start()] + right(found) + name[found.end() :] if found else ""


def _text(raw: files.RawFile) -> NumberText:
    return NumberText(raw.read(keypoints.MAX_BYTES), raw, _MAX_LINE)


def _hierarchy(text: NumberText) -> tuple[list[_Joint], int]:
    """The joints, parents first, and the line of MOTION."""
    joints: list[_Joint] = []
    open_joints: list[int] = []  # of each open bracket; -1: an end site
    latest, end_site = -1, False
    for at, line in enumerate(text.lines):
        words = line.split(" ")
        match words:
            case [""] | ["HIERARCHY"]:
                continue
            case ["MOTION"]:
                break
            case ["ROOT" | "JOINT", _, *_]:
                if (words[0] == "ROOT") != (not joints) or (joints and not open_joints):
                    raise text.bad(at, "one ROOT, and JOINTs inside its brackets")
                name = line.partition(" ")[2]
                if len(joints) == _MAX_JOINTS or name in {joint.name for joint in joints}:
                    raise text.bad(at, f"at most {_MAX_JOINTS} joints, with different names")
                joints.append(_Joint(name, open_joints[-1] if open_joints else -1))
                latest, end_site = len(joints) - 1, False
            case ["End", "Site"]:
                end_site = True
            case ["{"]:
                open_joints.append(-1 if end_site else latest)
            case ["}"] if open_joints:
                end_site = False
                open_joints.pop()
            case ["OFFSET", *_] if open_joints:
                if open_joints[-1] >= 0:
                    joints[open_joints[-1]].offset = _numbers(text, at, words[1:])
            case ["CHANNELS", *_] if open_joints and open_joints[-1] >= 0:
                joints[open_joints[-1]].channels = _channels(text, at, words[1:])
            case _:
                raise text.bad(
                    at, "HIERARCHY: ROOT, JOINT, End Site, OFFSET, CHANNELS or a bracket"
                )
    else:
        raise text.bad(len(text.lines), "MOTION")
    for joint in joints:
        if joint.offset is None or joint.channels is None:
            raise text.bad(at, f"OFFSET and CHANNELS of {joint.name} before MOTION")
    if not joints or open_joints:
        raise text.bad(at, "ROOT with its joints, and a closing bracket for each, before MOTION")
    return joints, at


def _numbers(text: NumberText, at: int, words: list[str]) -> np.ndarray:
    try:
        found = np.array([float(word) for word in words])
    except ValueError:
        found = np.array([np.nan])
    if found.shape != (3,) or not np.isfinite(found).all():
        raise text.bad(at, "OFFSET with three numbers")
    return found


def _channels(text: NumberText, at: int, words: list[str]) -> list[tuple[int, bool]]:
    """(axis, whether it is a rotation) of each channel."""
    matches = [_CHANNEL.fullmatch(word) for word in words[1:]]
    if not words or words[0] != str(len(matches)) or None in matches:
        raise text.bad(at, "CHANNELS with their number and names, such as 3 Zrotation Xrotation Y…")
    return [("xyz".index(m[1].lower()), m[2].lower() == "rotation") for m in matches]


def _motion(text: NumberText, at: int, num_channels: int) -> np.ndarray:
    """(T, channels) of the lines behind MOTION."""
    rows = [i for i in range(at + 1, len(text.lines)) if text.lines[i]]
    frames = text.lines[rows[0]] if rows else ""
    count = re.fullmatch(r"Frames: ?([0-9]{1,9})", frames)
    if not count or len(rows) < 2 or not text.lines[rows[1]].startswith("Frame Time:"):
        raise text.bad(
            rows[0] if rows else len(text.lines), "'Frames: N' and 'Frame Time: SECONDS'"
        )
    rows = rows[2:]
    if len(rows) != int(count[1]):
        found = f"{len(rows)} lines of motion"
        raise text.bad(len(text.lines) - 1, f"{int(count[1])}, as 'Frames:' says", found)
    for row in rows:
        text.value(row, num_channels, f"{num_channels} numbers, one for each channel")
    return text.metres(rows, num_channels)


def _places(joints: list[_Joint], numbers: np.ndarray) -> np.ndarray:
    """(T, V, 3): forward kinematics; rotations apply in the order of the channels, in degrees."""
    places = np.zeros((len(numbers), len(joints), 3))
    turned: list[np.ndarray] = []
    column = 0
    for i, joint in enumerate(joints):
        rotation = np.broadcast_to(np.eye(3), (len(numbers), 3, 3))
        offset = np.broadcast_to(joint.offset, (len(numbers), 3)).copy()
        moved = {axis for axis, turns in joint.channels if not turns}
        if joint.parent >= 0:
            offset[:, sorted(moved)] = 0
        for axis, turns in joint.channels:
            value = numbers[:, column]
            column += 1
            if turns:
                rotation = rotation @ _about(axis, np.radians(value))
            else:
                offset[:, axis] += value
        if joint.parent < 0:
            places[:, i] = offset
            turned.append(rotation)
            continue
        parent = turned[joint.parent]
        places[:, i] = places[:, joint.parent] + np.einsum("tij,tj->ti", parent, offset)
        turned.append(parent @ rotation)
    return places


def _about(axis: int, angles: np.ndarray) -> np.ndarray:
    """(T, 3, 3): rotations about one axis."""
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrices = np.zeros((len(angles), 3, 3))
    matrices[:, axis, axis] = 1
    matrices[:, first, first] = matrices[:, second, second] = np.cos(angles)
    matrices[:, second, first] = np.sin(angles)
    matrices[:, first, second] = -np.sin(angles)
    return matrices
