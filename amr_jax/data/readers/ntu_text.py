"""The text of a `.skeleton` file of NTU RGB+D → its bodies (format: docs/formats.md)."""

import dataclasses

import numpy as np

from amr_jax.data.readers.number_text import NumberText
from amr_jax.errors import BadFile

NUM_JOINTS = 25

_BODY_VALUES = 10  # bodyID, clippedEdges, hand states, lean, trackingState
_JOINT_VALUES = 12  # x y z, depth x y, colour x y, orientation w x y z, trackingState

_MAX_LINE = 2**12  # bytes; twelve values take about 120

_ONCE = "every body once in a frame"
_TWICE = (
    "Published scripts append the second one, which moves all later frames of this body; "
    "--on_bad_file=skip leaves the file out."
)


@dataclasses.dataclass(frozen=True)
class Body:
    """What was tracked under one bodyID.

    Attributes:
      body_id: exact; it does not fit a float64.
      frames: (n,) int64, the frames of the file that contain it, from 0, ascending.
      joints: (n, 25, 3) float32, metres in the camera's frame.
    """

    body_id: int
    frames: np.ndarray
    joints: np.ndarray


@dataclasses.dataclass(frozen=True)
class Recording:
    """One file: its bodies in the order of their first frames, `num_frames` as announced."""

    path: str
    num_frames: int
    bodies: list[Body]


def parse(data: bytes, path: str) -> Recording:
    """Parses the text of a `.skeleton` file.

    Counts, ids and coordinates are checked: coordinates are finite, and no frame has an id twice.
    The other columns must be there but are not read: in some files they hold 'nan', where the
    sensor could not map a joint into its image.

    Raises:
      BadFile: names the line that is wrong.
    """
    text = NumberText(data, path, _MAX_LINE)
    num_frames, at = text.whole(0, 1, "the number of frames"), 1
    frames, ids, rows = [], [], []
    for frame in range(num_frames):
        where = f"frame {frame + 1} of {num_frames}"
        first = len(ids)
        num_bodies = text.whole(at, 1, f"the number of bodies in {where}")
        at += 1
        for body in range(num_bodies):
            who = f"body {body + 1} of {num_bodies} in {where}"
            body_id = _body_id(text, at, who)
            if body_id in ids[first:]:
                raise BadFile(path, f"bodyID {body_id} twice in {where}", _ONCE, at + 1, _TWICE)
            frames.append(frame)
            ids.append(body_id)
            rows += range(at + 2, at + 2 + NUM_JOINTS)
            at += 2 + NUM_JOINTS
    if at < len(text.lines):
        raise text.bad(at, f"the end of the file after its {num_frames} frames")
    joints = text.metres(rows, 3).reshape(-1, NUM_JOINTS, 3)
    text.check_signs()
    members: dict[int, list[int]] = {}
    for row, body_id in enumerate(ids):
        members.setdefault(body_id, []).append(row)
    times = np.array(frames, np.int64)
    bodies = [Body(body_id, times[rows], joints[rows]) for body_id, rows in members.items()]
    return Recording(path, num_frames, bodies)


def _body_id(text: NumberText, at: int, who: str) -> int:
    """The id of the body whose lines begin `at`, after a check of all its lines."""
    expected = f"{_BODY_VALUES} values of {who}, the first a bodyID in whole numbers"
    body_id = text.whole(at, _BODY_VALUES, expected)
    expected = f"{NUM_JOINTS}, the number of joints of {who}"
    if text.whole(at + 1, 1, expected) != NUM_JOINTS:
        raise text.bad(at + 1, expected)
    if text.num_values[at + 2 : at + 2 + NUM_JOINTS] != [_JOINT_VALUES] * NUM_JOINTS:
        for joint in range(NUM_JOINTS):
            expected = f"the {_JOINT_VALUES} values of joint {joint + 1} of {who}"
            text.value(at + 2 + joint, _JOINT_VALUES, expected)
    return body_id
