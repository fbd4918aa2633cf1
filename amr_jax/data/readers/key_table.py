"""Key points in a CSV table, in long or in wide form (docs/own_data.md).

Long: a line for each joint, `sequence,frame,person,joint,x,y,z,confidence`. Wide: a line for each
person in a frame, `sequence,frame,person,JOINT_x,JOINT_y,JOINT_z,JOINT_confidence,…` with all
joints. `sequence`, `person`, `z` and `confidence` may be absent; so may lines of frames that show
nobody and, in an image, of joints that were not found. `label`, `split` and `subject` may be
columns, with one value in each sequence. A joint has a name, or a number from 0.
"""

import csv
import dataclasses
import io
import math

import numpy as np

from amr_jax.data.readers import files, keypoints, text
from amr_jax.data.readers.keypoints import Clip, Person
from amr_jax.errors import BadFile

_MAX_BYTES = keypoints.MAX_BYTES // 2  # a line of 40 bytes takes 300 in memory
_MAX_JOINTS = 512  # each line of a wrong column would be one, and each person have them all
_TEXTS = ("label", "split", "subject")
_AXES = ("x", "y", "z", "confidence")
_EXPECTED = "frame, joint, x, y (long form), or frame and JOINT_x, JOINT_y for each joint (wide)"


@dataclasses.dataclass
class _Sequence:
    """The lines of a sequence: frame -> person -> joint -> numbers; and its texts."""

    frames: dict[int, dict[str, dict[str, tuple[float, ...]]]]
    texts: dict[str, str]


class _Table:
    """The lines of a table; `BadFile` names the line."""

    def __init__(self, raw: files.RawFile):
        # Universal line ends. `strict` refuses a quote without end, which would hold all the rest.
        lines = io.StringIO(text.decode(raw.read(_MAX_BYTES), raw), newline=None)
        self._raw, self._lines = raw, csv.reader(lines, skipinitialspace=True, strict=True)
        self.columns = [_column(cell.strip()) for cell in next(self._lines, [])]
        if twice := [name for name in self.columns if name and self.columns.count(name) > 1]:
            raise self.bad(f"the column {twice[0]!r} twice", "every column once")
        of_joint = {name[:-2]: name for name in self.columns if name.endswith("_x")}
        self.axes = tuple(
            axis
            for axis in _AXES
            if axis in self.columns or any(f"{joint}_{axis}" in self.columns for joint in of_joint)
        )
        if "joint" in self.columns:
            of_joint = {"": ""}
        if "frame" not in self.columns or self.axes[:2] != ("x", "y") or not of_joint:
            raise self.bad(f"the columns {', '.join(self.columns) or 'none'}", _EXPECTED)
        self._cells = {
            joint: [f"{joint}_{axis}" if joint else axis for axis in self.axes]
            for joint in of_joint
        }
        absent = [cell for cells in self._cells.values() for cell in cells]
        if absent := [cell for cell in absent if cell not in self.columns]:
            raise self.bad(f"no column {absent[0]!r}", "the same columns for every joint")

    def bad(self, found: str, expected: str) -> BadFile:
        return BadFile(self._raw, found, expected, max(1, self._lines.line_num))

    def sequences(self) -> dict[str, _Sequence]:
        found: dict[str, _Sequence] = {}
        for row in self._lines:
            if any(cell.strip() for cell in row):
                if len(row) != len(self.columns):
                    raise self.bad(f"{len(row)} cells", f"{len(self.columns)}, one per column")
                cells = dict(zip(self.columns, map(str.strip, row), strict=True))
                self._add(cells, found.setdefault(cells.get("sequence", ""), _Sequence({}, {})))
        return found

    def _add(self, cells: dict[str, str], sequence: _Sequence) -> None:
        frame = cells["frame"].removesuffix(".0")
        if not frame.isdecimal() or len(frame) > 9:
            raise self.bad(f"the frame {cells['frame']!r}", "a whole number from 0")
        for key in _TEXTS:
            if key in cells and sequence.texts.setdefault(key, cells[key]) != cells[key]:
                found = f"the {key} {cells[key]!r} after {sequence.texts[key]!r}"
                raise self.bad(found, f"one {key} in each sequence")
        people = sequence.frames.setdefault(int(frame), {})
        joints = people.setdefault(cells.get("person", ""), {})
        for column, names in self._cells.items():
            joint = column or cells["joint"]
            if not joint or joint in joints:
                what = f"the joint {joint!r} again in frame {frame}" if joint else "no joint"
                raise self.bad(what, "every joint of a person once in a frame")
            joints[joint] = tuple(self._number(cells[name], name) for name in names)

    def _number(self, cell: str, column: str) -> float:
        try:
            number = float(cell) if cell else math.nan
        except ValueError:
            number = math.inf
        if math.isinf(number) or "_" in cell:  # "1_0" is a number in Python only
            raise self.bad(f"{cell!r} under {column!r}", "a number, or an empty cell")
        return number


def clips(raw: files.RawFile) -> list[Clip]:
    """The clips of a table, one for each `sequence`.

    Raises:
      BadFile: names the line, or the frame, person and joint that are missing.
    """
    try:
        table = _Table(raw)
        sequences = table.sequences()
    except csv.Error as error:
        raise BadFile(raw, f"no CSV ({error})", "cells with commas") from error
    if not sequences:
        raise BadFile(raw, "no line below the names of the columns", "key points", 2)
    everything = (
        joint
        for one in sequences.values()
        for people in one.frames.values()
        for joints in people.values()
        for joint in joints
    )
    joints = list(dict.fromkeys(everything))
    numbered = all(joint.isdecimal() and len(joint) < 4 for joint in joints)
    if numbered:
        joints = [str(number) for number in range(max(map(int, joints)) + 1)]
    if len(joints) > _MAX_JOINTS:
        found = f"{len(joints):,} different joints, such as {joints[-1]!r}"
        raise BadFile(raw, found, f"at most {_MAX_JOINTS}: the column 'joint' has a joint's name")
    names = () if numbered else tuple(joints)
    return [
        _clip(one, joints, table.axes, name if len(sequences) > 1 else "", names, raw)
        for name, one in sequences.items()
    ]


def _column(cell: str) -> str:
    """A column's name; those of joints keep their case, axes do not."""
    joint, mark, axis = cell.rpartition("_")
    return f"{joint}{mark}{axis.lower()}" if joint else cell.lower()


def _clip(
    one: _Sequence,
    joints: list[str],
    axes: tuple[str, ...],
    name: str,
    names: tuple[str, ...],
    raw: files.RawFile,
) -> Clip:
    scored, width = axes[-1] == "confidence", len(axes) - (axes[-1] == "confidence")
    absent = (0.0,) * len(axes) if width == 2 else None  # in an image it was not found
    frames = {}
    for frame in one.frames:
        people = frames[frame] = []
        for person, found in one.frames[frame].items():
            numbers = [found.get(joint, absent) for joint in joints]
            if None in numbers:
                missing = f"no joint {joints[numbers.index(None)]!r} in frame {frame}"
                expected = f"all {len(joints)} joints of a person in space"
                raise BadFile(
                    raw, f"{missing}, person {person or 0}{name and f', {name}'}", expected
                )
            values = np.array(numbers)
            scores = values[:, -1] if scored else None
            people.append(Person(values[:, :width], scores, person))
    in_time = keypoints.in_time(frames)
    return keypoints.clip(in_time, raw, joints=names, name=name, texts=one.texts)
