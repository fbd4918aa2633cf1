"""The text of a `.skeleton` file of NTU RGB+D (datasets.md) → its bodies.

It is read twice over only if it has to be: `_parse_fast` takes it apart in arrays and gives up on
whatever looks unusual; `_parse_carefully` goes line by line, accepts what is unusual but harmless,
and says in which line the trouble is.
"""

import dataclasses
import io
from collections.abc import Callable
from typing import NoReturn

import numpy as np

from amr_jax.data.readers import decimals
from amr_jax.errors import BadFile

NUM_JOINTS = 25

_BODY_VALUES = 10  # bodyID, clippedEdges, hand states, lean, trackingState
_JOINT_VALUES = 12  # x y z, depth x y, colour x y, orientation w x y z, trackingState
_BODY_LINES = 2 + NUM_JOINTS

_MAX_FRAMES = 2**20  # ten hours
_MANY_BYTES = 2**23  # more than any file of the data sets
_MAX_LINE = 2**12  # bytes; twelve values have some 150

_LARGEST = float(np.finfo(np.float32).max)


@dataclasses.dataclass(frozen=True)
class Body:
    """What was tracked under one bodyID.

    Attributes:
      body_id: exact; it does not fit a float64.
      frames: (n,) int64, the frames of the file it is seen in, from 0, ascending.
      joints: (n, 25, 3) float32, metres in the camera's frame.
    """

    body_id: int
    frames: np.ndarray
    joints: np.ndarray


@dataclasses.dataclass(frozen=True)
class Recording:
    """One file: its bodies in the order in which they first appear, `num_frames` as announced."""

    path: str
    num_frames: int
    bodies: list[Body]


def parse(data: bytes, path: str) -> Recording:
    """Takes the text of a `.skeleton` file apart.

    Counts, ids and coordinates are checked in full, the coordinates to be finite. The other columns
    must be there and be made of numbers' characters; they may hold 'nan' or 'inf' (the sensor could
    not map a joint into its image), since nothing here reads them.

    Raises:
      BadFile: with the line, for any content that is not in the format.
    """
    return _parse_fast(data, path) or _parse_carefully(data, path)


def _parse_fast(data: bytes, path: str) -> Recording | None:
    """The recording, or None where the text has anything unusual about it, wrong or not."""
    # A margin in front for `decimals`, whose last line break also opens the first line.
    text = b"\n" * decimals.WINDOW + data.rstrip() + b"\n"
    if len(text) > _MANY_BYTES and text.count(b"\n") + text.count(b" ") > len(text) // 4:
        return None  # values of next to no digits, for each of which some arrays have a number
    if text.translate(None, b"0123456789.-eE \r\n"):
        return None
    chars = np.frombuffer(text, np.uint8)
    before = chars[:-1]
    if ((chars[1:] == ord("-")) & (before > ord(" ")) & (before < ord("E"))).any():  # as in 1-2
        return None
    breaks = np.flatnonzero((chars == ord(" ")) | (chars == ord("\n")))[decimals.WINDOW - 1 :]
    start, end = breaks[:-1] + 1, breaks[1:]  # of every value
    if (start == end).any():
        return None
    line_break = np.flatnonzero(chars[breaks] == ord("\n"))
    first = line_break[:-1]  # number of every line's first value

    def first_values(lines: np.ndarray) -> list[bytes]:
        value = first[lines]
        spans = zip(start[value].tolist(), end[value].tolist(), strict=True)
        return [text[begin:stop] for begin, stop in spans]

    try:
        followed = _follow_counts(np.diff(line_break), first_values)
        if followed is None:
            return None
        num_frames, frame, ids, joint_line = followed
        value = (first[joint_line][..., None] + np.arange(3)).ravel()
        xyz = decimals.parse(text, start[value], end[value])
    except (IndexError, ValueError):  # ends early; a count or a number that is none
        return None
    return _recording(path, num_frames, frame, ids, xyz)


def _follow_counts(num_values: np.ndarray, first_values: Callable) -> tuple | None:
    """Which line is what, by the numbers of their values, checked against the counts in the text.

    Args:
      num_values: (lines,) of every line.
      first_values: gives the first values of the lines it is asked for.

    Returns:
      (number of frames; of every body in every frame its frame (n,), its id, the lines of its
      joints (n, 25)), or None where the counts tell another story.
    """
    body_line = np.flatnonzero(num_values == _BODY_VALUES)
    joint_line = body_line[:, None] + np.arange(2, _BODY_LINES)
    is_count = num_values == 1
    if not (is_count[body_line + 1].all() and (num_values[joint_line] == _JOINT_VALUES).all()):
        return None
    if any(int(value) != NUM_JOINTS for value in first_values(body_line + 1)):
        return None
    is_count[body_line + 1] = False
    num_frames, *num_bodies = [int(value) for value in first_values(np.flatnonzero(is_count))]
    if num_frames != len(num_bodies) or min(num_bodies, default=0) < 0:
        return None
    if sum(num_bodies) != len(body_line):
        return None
    frame = np.repeat(np.arange(num_frames), num_bodies)
    # Where the counts say that the bodies stand; every other line is then a count itself.
    expected = 2 + frame + _BODY_LINES * np.arange(len(frame))
    num_lines = 1 + num_frames + _BODY_LINES * len(frame)
    if len(num_values) != num_lines or (body_line != expected).any():
        return None
    return num_frames, frame, [_body_id(value) for value in first_values(body_line)], joint_line


def _body_id(value: bytes) -> int:
    if not value.isdigit() or len(value) > 20:  # an unsigned 64-bit number
        raise ValueError
    return int(value)


def _recording(path: str, num_frames: int, frame, ids, xyz) -> Recording | None:
    """Groups what was seen by bodyID; None where a coordinate is not finite in float32."""
    with np.errstate(over="ignore"):
        joints = np.asarray(xyz, np.float64).astype(np.float32).reshape(-1, NUM_JOINTS, 3)
    if not np.isfinite(joints).all():
        return None
    rows: dict[int, list[int]] = {}
    for row, body_id in enumerate(ids):
        rows.setdefault(body_id, []).append(row)
    bodies = [Body(body_id, frame[chosen], joints[chosen]) for body_id, chosen in rows.items()]
    return Recording(path, num_frames, bodies)


class _Lines:
    """Hands out a text's lines, and complains about the one handed out last."""

    def __init__(self, data: bytes, path: str):
        self.lines, self.path, self.number = io.BytesIO(data), path, 0

    def values(self, count: int, expected: str) -> list[bytes]:
        """The values of the next line, of which there must be `count`."""
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
    recording = _recording(path, num_frames, np.array(frame, np.int64), ids, xyz)
    assert recording is not None, "every coordinate was seen to be finite"
    return recording


def _careful_body(lines: _Lines, who: str) -> int:
    """The two lines ahead of the joints of a body; its id."""
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
    """x, y, z of a joint's line."""
    values = lines.values(_JOINT_VALUES, f"the {_JOINT_VALUES} values of {which}")
    numbers = [_number(lines, value, f"a number for {which}") for value in values]
    for value, number in zip(values[:3], numbers[:3], strict=True):
        if not abs(number) <= _LARGEST:
            lines.fail_at(value, f"a finite coordinate, in metres, of {which}")
    return numbers[:3]


def _number(lines: _Lines, value: bytes, expected: str) -> float:
    if b"_" in value:  # "1_0" is a number to Python, but to nobody else
        lines.fail_at(value, expected)
    try:
        return float(value)
    except ValueError:
        lines.fail_at(value, expected)
