"""The text of a `.skeleton` file of NTU RGB+D (datasets.md) → its bodies.

It is read twice over only if it has to be: `_parse_fast` takes it apart in arrays and gives up on
whatever looks unusual; `_parse_carefully` goes line by line, accepts what is unusual but harmless,
and says in which line the trouble is.
"""

import dataclasses
from typing import NoReturn

import numpy as np

from amr_jax.errors import BadFile
from amr_jax.readers import decimals

NUM_JOINTS = 25

_BODY_VALUES = 10  # bodyID, clippedEdges, hand states, lean, trackingState
_JOINT_VALUES = 12  # x y z, depth x y, colour x y, orientation w x y z, trackingState
_BODY_LINES = 2 + NUM_JOINTS

_LARGEST = float(np.finfo(np.float32).max)

# Kinds of characters, and which of them may follow each other in a text without surprises.
_NUM_KINDS = 8
_SPACE, _LINE, _POINT, _DIGIT, _MINUS, _EXPONENT, _RETURN, _OTHER = range(_NUM_KINDS)
_KIND = bytearray([_OTHER]) * 256
for _kind, _chars in enumerate((b" ", b"\n", b".", b"0123456789", b"-", b"eE", b"\r")):
    for _char in _chars:
        _KIND[_char] = _kind
_FOLLOWERS = {
    _SPACE: (_DIGIT, _MINUS, _POINT),
    _LINE: (_DIGIT, _MINUS, _POINT),
    _POINT: (_DIGIT,),
    _DIGIT: (_DIGIT, _POINT, _EXPONENT, _SPACE, _LINE, _RETURN),
    _MINUS: (_DIGIT, _POINT),
    _EXPONENT: (_DIGIT, _MINUS),
    _RETURN: (_LINE,),
}
_USUAL_PAIRS = bytes(_NUM_KINDS * a + b for a, after in _FOLLOWERS.items() for b in after)


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

    Coordinates must be finite numbers. The other columns must be there, but may hold 'nan' or 'inf'
    (the sensor could not map a joint into its image): nothing here reads them.

    Raises:
      BadFile: with the line, for any content that is not in the format.
    """
    return _parse_fast(data, path) or _parse_carefully(data, path)


def _parse_fast(data: bytes, path: str) -> Recording | None:
    """The recording, or None where the text has anything unusual about it, wrong or not."""
    # A margin in front for `decimals`, whose last line break also opens the first line.
    text = b"\n" * decimals.WINDOW + data.rstrip() + b"\n"
    kinds = np.frombuffer(text.translate(_KIND), np.uint8)
    pairs = kinds[decimals.WINDOW - 1 : -1] * np.uint8(_NUM_KINDS) + kinds[decimals.WINDOW :]
    if pairs.tobytes().translate(None, _USUAL_PAIRS):
        return None
    breaks = np.flatnonzero(kinds <= _LINE)[decimals.WINDOW - 1 :]
    start, end = breaks[:-1] + 1, breaks[1:]  # of every value
    line_break = np.flatnonzero(kinds[breaks] == _LINE)
    num_values = np.diff(line_break)  # of every line
    first = line_break[:-1]  # number of every line's first value
    try:
        num_frames, frame, ids, line = _walk(text, start[first].tolist(), end[first].tolist())
    except (IndexError, ValueError):  # ends early; a count that is none
        return None
    joint_lines = line[:, None] + np.arange(2, _BODY_LINES)
    regular = (
        len(start) == 1 + num_frames + len(line) * (_BODY_VALUES + 1 + NUM_JOINTS * _JOINT_VALUES)
        and (num_values[line] == _BODY_VALUES).all()
        and (num_values[joint_lines] == _JOINT_VALUES).all()
    )
    if not regular:
        return None
    value = (first[joint_lines][..., None] + np.arange(3)).ravel()
    try:
        xyz = decimals.parse(text, start[value], end[value])
    except ValueError:
        return None
    return _recording(path, num_frames, frame, ids, xyz)


def _walk(text: bytes, start: list[int], end: list[int]):
    """Follows the counts from line to line; start, end: of the first value of every line.

    Returns:
      (number of frames; of every body in every frame: its frame, its id, the number of its line)
    """
    num_frames, at = int(text[start[0] : end[0]]), 1
    frame, ids, line = [], [], []
    for number in range(num_frames):
        num_bodies, at = int(text[start[at] : end[at]]), at + 1
        for _ in range(num_bodies):
            if int(text[start[at + 1] : end[at + 1]]) != NUM_JOINTS:
                raise ValueError
            frame.append(number)
            ids.append(_body_id(text[start[at] : end[at]]))
            line.append(at)
            at += _BODY_LINES
        if num_bodies < 0:
            raise ValueError
    if at != len(start) or num_frames < 0:
        raise ValueError
    return num_frames, np.array(frame, np.int64), ids, np.array(line, np.int64)


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
        self.lines, self.path, self.number = data.split(b"\n"), path, 0

    def values(self, count: int, expected: str) -> list[bytes]:
        """The values of the next line, of which there must be `count`."""
        self.number += 1
        line = self.lines[self.number - 1] if self.number <= len(self.lines) else b""
        values = line.split()
        if len(values) != count:
            rest = any(line.strip() for line in self.lines[self.number - 1 :])
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
    for line in lines.lines[lines.number :]:
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
