"""The text of a `.skeleton` file of NTU RGB+D → its bodies (format: docs/formats.md)."""

import dataclasses

import numpy as np

from amr_jax.errors import BadFile

NUM_JOINTS = 25

_BODY_VALUES = 10  # bodyID, clippedEdges, hand states, lean, trackingState
_JOINT_VALUES = 12  # x y z, depth x y, colour x y, orientation w x y z, trackingState

# Limits of memory. Files of the data sets have some ten thousand lines of about 120 bytes.
_MAX_LINES = 2**20
_MAX_LINE = 2**12  # bytes

_LARGEST = float(np.finfo(np.float32).max)

# Characters of a text that needs no cleaning, and those that cleaning keeps. NumPy takes some
# control characters for white space, which would shorten a damaged number.
_USUAL = b"0123456789.-eE \n"
_VISIBLE = bytes(c if c in b"\t\n\v\f\r" or 32 <= c < 127 else ord("?") for c in range(256))


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

    Counts, ids and coordinates are checked, coordinates to be finite. The other columns must be
    there but are not read: in some files they hold 'nan', where the sensor could not map a joint
    into its image.

    Raises:
      BadFile: names the line that is wrong.
    """
    text = _Text(data, path)
    num_frames, at = text.count(0, "the number of frames"), 1
    frames, ids, starts, rows = [], [], [], []
    for frame in range(num_frames):
        where = f"frame {frame + 1} of {num_frames}"
        num_bodies = text.count(at, f"the number of bodies in {where}")
        at += 1
        for body in range(num_bodies):
            who = f"body {body + 1} of {num_bodies} in {where}"
            frames.append(frame)
            ids.append(text.body_id(at, who))
            starts.append(at + 2)
            rows += text.joints(at + 2, who)
            at += 2 + NUM_JOINTS
    if at < len(text.lines):
        raise text.bad(at, f"the end of the file after its {num_frames} frames")
    joints = text.coordinates(rows, starts)
    members: dict[int, list[int]] = {}
    for row, body_id in enumerate(ids):
        members.setdefault(body_id, []).append(row)
    times = np.array(frames, np.int64)
    bodies = [Body(body_id, times[rows], joints[rows]) for body_id, rows in members.items()]
    return Recording(path, num_frames, bodies)


class _Text:
    """The lines of a text, from 0; methods raise `BadFile` for a line that is not as expected.

    Attributes:
      lines: the values of each line, with single blanks between them.
      num_values: how many there are.
    """

    def __init__(self, data: bytes, path: str):
        self.path = path
        text = data.rstrip().replace(b"\r\n", b"\n") if b"\r" in data else data.rstrip()
        chars = np.frombuffer(b"\n" + text + b"\n", np.uint8)
        ends = np.flatnonzero(chars == ord("\n"))  # of lines; the first line begins after ends[0]
        if len(ends) > _MAX_LINES:
            raise BadFile(path, f"{len(ends):,} lines", f"fewer than {_MAX_LINES:,}")
        lengths = np.diff(ends) - 1
        at = int(lengths.argmax())
        if lengths[at] > _MAX_LINE:
            found = f"a line of {lengths[at]:,} bytes"
            raise BadFile(path, found, f"at most {_MAX_LINE:,}", line=at + 1)
        blank = chars <= ord(" ")
        if text.translate(None, _USUAL) or (blank[1:] & blank[:-1]).any():
            lines = text.translate(_VISIBLE).decode("ascii").split("\n")
            self.lines = [" ".join(line.split()) for line in lines]
            self.num_values = [len(line.split()) for line in lines]
        else:
            self.lines = text.decode("ascii").split("\n")
            self.num_values = np.diff(np.searchsorted(np.flatnonzero(blank), ends)).tolist()

    def value(self, at: int, count: int, expected: str) -> str:
        """The first value of a line that has `count` values."""
        if at >= len(self.lines) or self.num_values[at] != count:
            raise self.bad(at, expected)
        return self.lines[at].partition(" ")[0]

    def count(self, at: int, expected: str) -> int:
        """The only value of a line, a count."""
        value = self.value(at, 1, expected)
        if not value.isdecimal() or len(value) > 12:
            raise self.bad(at, expected)
        return int(value)

    def body_id(self, at: int, who: str) -> int:
        """The id of a body, from the two lines before its joints."""
        value = self.value(at, _BODY_VALUES, f"the {_BODY_VALUES} values of {who}")
        if not value.isdecimal() or len(value) > 20:  # an unsigned 64-bit number
            raise self.bad(at, f"the bodyID of {who}, a whole number, first")
        expected = f"{NUM_JOINTS}, the number of joints of {who}"
        if self.count(at + 1, expected) != NUM_JOINTS:
            raise self.bad(at + 1, expected)
        return int(value)

    def joints(self, at: int, who: str) -> list[str]:
        """The lines of 25 joints."""
        if self.num_values[at : at + NUM_JOINTS] != [_JOINT_VALUES] * NUM_JOINTS:
            for joint in range(NUM_JOINTS):
                expected = f"the {_JOINT_VALUES} values of joint {joint + 1} of {who}"
                self.value(at + joint, _JOINT_VALUES, expected)
        return self.lines[at : at + NUM_JOINTS]

    def coordinates(self, rows: list[str], starts: list[int]) -> np.ndarray:
        """x, y, z (n, 25, 3) float32 from the `rows` of joints; bodies begin at lines `starts`."""
        if not rows:
            return np.zeros((0, NUM_JOINTS, 3), np.float32)
        try:
            xyz = np.loadtxt(rows, delimiter=" ", comments=None, usecols=(0, 1, 2))
        except ValueError:
            xyz = np.array(np.nan)
        with np.errstate(over="ignore"):
            xyz = xyz.astype(np.float32)
        if not np.isfinite(xyz).all():
            raise self.bad_coordinate(rows, starts)
        return xyz.reshape(-1, NUM_JOINTS, 3)

    def bad_coordinate(self, rows: list[str], starts: list[int]) -> BadFile:
        """The error for the first coordinate that is no finite number."""
        for index, row in enumerate(rows):
            body, joint = divmod(index, NUM_JOINTS)
            for axis, value in zip("xyz", row.split(" "), strict=False):
                if not _is_finite(value):
                    expected = f"a finite number of metres, {axis} of joint {joint + 1}"
                    return self.bad(starts[body] + joint, expected, repr(value[:40]))
        return BadFile(self.path, "coordinates that cannot be read", "finite numbers")

    def bad(self, at: int, expected: str, found: str | None = None) -> BadFile:
        """The error for a line; `found` defaults to its beginning."""
        if at >= len(self.lines) or self.lines == [""]:
            found = "the file's end"
        elif found is None:
            line, count = self.lines[at], self.num_values[at]
            found = repr(line[:40]) if count == 1 else f"{count} values in {line[:40]!r}"
        return BadFile(self.path, found, expected, line=at + 1)


def _is_finite(value: str) -> bool:
    try:  # "1_0" is a number in Python only
        return abs(float(value)) <= _LARGEST and "_" not in value
    except ValueError:
        return False
