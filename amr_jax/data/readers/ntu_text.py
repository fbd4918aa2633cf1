"""The text of a `.skeleton` file of NTU RGB+D → its bodies (format: docs/formats.md).

`_parse_fast` parses usual files. For anything else, `_parse_carefully` accepts what is unusual but
valid, and reports the line of what is wrong.
"""

import dataclasses
import io
from typing import NoReturn

import numpy as np

from amr_jax.errors import BadFile

NUM_JOINTS = 25

_BODY_VALUES = 10  # bodyID, clippedEdges, hand states, lean, trackingState
_JOINT_VALUES = 12  # x y z, depth x y, colour x y, orientation w x y z, trackingState

_MAX_FRAMES = 2**20  # ten hours
_MAX_LINES = 2**20  # for the fast parser; files of the data sets have some ten thousand
_MAX_LINE = 2**12  # bytes; twelve values take about 150
_LARGEST = float(np.finfo(np.float32).max)


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

    Counts, ids and coordinates are checked, coordinates to be finite. The other columns must hold
    numbers, but may hold 'nan' or 'inf', where the sensor could not map a joint into its image:
    nothing uses them.

    Raises:
      BadFile: names the line that is wrong.
    """
    return _parse_fast(data, path) or _parse_carefully(data, path)


def _parse_fast(data: bytes, path: str) -> Recording | None:
    """The recording, or None if the text is unusual in any way; NumPy parses all joints at once."""
    text = (data.replace(b"\r\n", b"\n") if b"\r" in data else data).rstrip()
    if text.count(b"\n") > _MAX_LINES or text.translate(None, b"0123456789.-eE \n"):
        return None
    chars = np.frombuffer(b"\n" + text, np.uint8)
    blank, before = chars <= ord(" "), chars[:-1]
    glued = (chars[1:] == ord("-")) & (before > ord(" ")) & (before < ord("E"))  # as in 1-2
    if glued.any() or (blank[1:] & blank[:-1]).any():
        return None
    lines = text.split(b"\n")
    frame, ids, rows = [], [], []
    try:
        num_frames, at = _count(lines[0]), 1
        for number in range(num_frames):
            num_bodies, at = _count(lines[at]), at + 1
            for _ in range(num_bodies):
                body_id, *rest = lines[at].split(b" ")
                if len(rest) != _BODY_VALUES - 1 or _count(lines[at + 1]) != NUM_JOINTS:
                    return None
                frame.append(number)
                ids.append(_body_id(body_id))
                rows += lines[at + 2 : at + 2 + NUM_JOINTS]
                at += 2 + NUM_JOINTS
        if at != len(lines) or {row.count(b" ") for row in rows} - {_JOINT_VALUES - 1}:
            return None
        xyz = np.loadtxt(rows, comments=None, usecols=(0, 1, 2)) if rows else []
    except (IndexError, ValueError):  # ends early; a value that is no number
        return None
    return _recording(path, num_frames, frame, ids, xyz)


def _count(line: bytes) -> int:
    if not line.isdigit() or len(line) > 12:
        raise ValueError
    return int(line)


def _body_id(value: bytes) -> int:
    if not value.isdigit() or len(value) > 20:  # an unsigned 64-bit number
        raise ValueError
    return int(value)


def _recording(
    path: str, num_frames: int, frame: list[int], ids: list[int], xyz: np.ndarray | list[float]
) -> Recording | None:
    """Groups bodies by bodyID; None if a coordinate is not finite in float32."""
    with np.errstate(over="ignore"):
        joints = np.asarray(xyz, np.float64).astype(np.float32).reshape(-1, NUM_JOINTS, 3)
    if not np.isfinite(joints).all():
        return None
    frames = np.asarray(frame, np.int64)
    rows: dict[int, list[int]] = {}
    for row, body_id in enumerate(ids):
        rows.setdefault(body_id, []).append(row)
    bodies = [Body(body_id, frames[chosen], joints[chosen]) for body_id, chosen in rows.items()]
    return Recording(path, num_frames, bodies)


class _Lines:
    """The lines of a text; errors name the current one."""

    def __init__(self, data: bytes, path: str):
        self.lines, self.path, self.number = io.BytesIO(data), path, 0

    def values(self, count: int, expected: str) -> list[bytes]:
        """The values of the next line, which must be `count`."""
        self.number += 1
        line = self.lines.readline()
        if len(line) > _MAX_LINE:
            self.fail(f"a line of {len(line):,} bytes", expected)
        values = line.split()
        if len(values) != count:
            rest = line.strip() or self.lines.read().strip()
            text = repr(line[:40].decode("latin-1").strip())
            self.fail(f"{len(values)} value(s) in {text}" if rest else "the file's end", expected)
        return values

    def count(self, expected: str) -> int:
        """The next line, a count."""
        (value,) = self.values(1, expected)
        if not value.isdigit() or len(value) > 12:
            self.fail_at(value, expected)
        return int(value)

    def fail_at(self, value: bytes, expected: str) -> NoReturn:
        self.fail(repr(value[:40].decode("latin-1")), expected)

    def fail(self, found: str, expected: str) -> NoReturn:
        raise BadFile(self.path, found, expected, line=self.number)


def _parse_carefully(data: bytes, path: str) -> Recording:
    """Line by line; `BadFile` names the first line that is wrong."""
    lines = _Lines(data, path)
    num_frames = lines.count("the number of frames")
    if num_frames > _MAX_FRAMES:
        lines.fail(f"{num_frames} frames", f"at most {_MAX_FRAMES:,} frames")
    frame, ids, xyz = [], [], []
    for number in range(num_frames):
        where = f"frame {number + 1} of {num_frames}"
        num_bodies = lines.count(f"the number of bodies in {where}")
        for body in range(num_bodies):
            who = f"body {body + 1} of {num_bodies} in {where}"
            frame.append(number)
            ids.append(_careful_body(lines, who))
            for joint in range(NUM_JOINTS):
                xyz += _careful_joint(lines, f"joint {joint + 1} of {who}")
    for line in lines.lines:
        lines.number += 1
        if line.strip():
            lines.fail_at(line.strip(), f"the end of the file after its {num_frames} frames")
    recording = _recording(path, num_frames, frame, ids, xyz)
    assert recording is not None, "_careful_joint checks every coordinate"
    return recording


def _careful_body(lines: _Lines, who: str) -> int:
    """The two lines before the joints of a body; returns its id."""
    values = lines.values(_BODY_VALUES, f"the {_BODY_VALUES} values of {who}")
    try:
        body_id = _body_id(values[0])
    except ValueError:
        lines.fail_at(values[0], f"the bodyID of {who}, a whole number")
    for value in values[1:]:
        _number(lines, value, f"a number for {who}")
    count = lines.count(f"the number of joints, {NUM_JOINTS}, of {who}")
    if count != NUM_JOINTS:
        lines.fail(f"{count} joints", f"{NUM_JOINTS} joints of {who}")
    return body_id


def _careful_joint(lines: _Lines, which: str) -> list[float]:
    """The line of a joint; returns its x, y, z."""
    values = lines.values(_JOINT_VALUES, f"the {_JOINT_VALUES} values of {which}")
    numbers = [_number(lines, value, f"a number for {which}") for value in values]
    for value, number in zip(values[:3], numbers[:3], strict=True):
        if not abs(number) <= _LARGEST:
            lines.fail_at(value, f"a finite coordinate, in metres, of {which}")
    return numbers[:3]


def _number(lines: _Lines, value: bytes, expected: str) -> float:
    if b"_" in value:  # "1_0" is a number in Python only
        lines.fail_at(value, expected)
    try:
        return float(value)
    except ValueError:
        lines.fail_at(value, expected)
