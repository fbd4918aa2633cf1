"""PKU-MMD, phases I and II: long videos, and labels with the frames of actions (docs/formats.md).

A label's line `action_id,start_frame,end_frame,confidence` selects the frames [start, end), counted
from 0. The data set's document does not define where counting starts; published code cuts this way
(MAMP, data/pku_v1/pku_gendata.py). Unlike there, a label that reaches out of its video is an error.
"""

import dataclasses
import re

import numpy as np

from amr_jax.data.readers import files, findings, text
from amr_jax.data.readers.files import LeftOut
from amr_jax.data.readers.number_text import NumberText
from amr_jax.errors import BadFile

NUM_ACTIONS = 51
NUM_BODIES = 2
NUM_JOINTS = 25
_NUMBERS_PER_LINE = NUM_BODIES * NUM_JOINTS * 3

_MAX_LINE = 2**14  # bytes, a hundred per number

_VIDEO = re.compile(r"[A-Z0-9]+-[LMR]")  # 0002-L in phase I, A01N01-L in phase II


@dataclasses.dataclass(frozen=True)
class Video:
    """The two files of one video of phase 1 or 2."""

    name: str
    skeleton: files.RawFile
    label: files.RawFile
    phase: int = 1

    def __str__(self) -> str:
        return str(self.skeleton)


@dataclasses.dataclass(frozen=True)
class Instance:
    """One line of a label file: `action` 1..51 during the frames [start, end)."""

    line: int
    action: int
    start: int
    end: int


def read_video(raw: files.RawFile) -> np.ndarray:
    """Reads the skeletons of a whole video.

    Returns:
      (T, 2, 25, 3) float32 in metres, zeros for an absent body.

    Raises:
      BadFile: no line, or a line without 150 finite numbers.
    """
    lines = NumberText(raw.read(), raw, _MAX_LINE)
    rows = [at for at, count in enumerate(lines.num_values) if count]  # lines may be empty
    for at in rows or (0,):
        lines.value(at, _NUMBERS_PER_LINE, f"{_NUMBERS_PER_LINE} numbers per line")
    numbers = lines.metres(rows, _NUMBERS_PER_LINE)
    return numbers.reshape(-1, NUM_BODIES, NUM_JOINTS, 3)


def read_labels(raw: files.RawFile) -> list[Instance]:
    """Reads the instances of a label file; `sequences` checks whether they fit the video.

    Raises:
      BadFile: a line that is not `action_id,start_frame,end_frame,confidence` in whole numbers (the
        confidence may be absent), or an action id outside of 1..51.
    """
    instances = []
    for number, line in enumerate(_lines(raw), start=1):
        if not line.strip():
            continue
        values = line.split(",")
        try:
            numbers = [float(value) for value in values]
            action, start, end = map(int, numbers[:3])
            whole = [action, start, end] == numbers[:3] and len(values) in (3, 4)
            whole = whole and "_" not in line  # "1_0" is a number in Python only
        except (ValueError, OverflowError):
            whole = False
        if not whole:
            expected = "action_id,start_frame,end_frame,confidence in whole numbers"
            raise BadFile(raw, repr(line[:60]), expected, number)
        if not 1 <= action <= NUM_ACTIONS:
            raise BadFile(raw, f"action id {action}", f"1 to {NUM_ACTIONS}", number)
        instances.append(Instance(number, action, start, end))
    return instances


@dataclasses.dataclass(frozen=True)
class Split:
    """The names of videos in a split file -> the line that names them first."""

    training: dict[str, int]
    others: dict[str, int]


def read_split(raw: files.RawFile) -> Split:
    """Reads the names of videos from a split file; published code tests on all but the training.

    Format: a heading such as 'Training videos:', then names, separated by commas, on one or more
    lines; then the same for validation.

    Raises:
      BadFile: no heading for training first, no names under it, an invalid name, or one under both.
    """
    filled = [(number, line) for number, line in enumerate(_lines(raw), start=1) if line.strip()]
    if not filled or "train" not in filled[0][1].lower():
        found = repr(filled[0][1][:60]) if filled else "an empty file"
        raise BadFile(raw, found, "a heading such as 'Training videos:' first", 1)
    split = Split({}, {})
    for number, line in filled:
        heading, names = _heading(line)
        if heading:
            here, there = split.training, split.others
            if "train" not in heading.lower():
                here, there = there, here
        for value in filter(None, re.split(r"[\s,;]+", names)):
            name = value.upper().removesuffix(".TXT")
            if not _VIDEO.fullmatch(name):
                raise BadFile(raw, repr(value[:40]), "a video such as 0002-L or A01N01-L", number)
            if name in there:
                found = f"{name}, which line {there[name]} names for the other part"
                raise BadFile(raw, found, "every video either for training or not", number)
            here.setdefault(name, number)
    if not split.training:
        raise BadFile(raw, "no name under the heading", "names separated by commas", 2)
    return split


def _heading(line: str) -> tuple[str, str]:
    """(heading or '', names) of a line of a split file."""
    heading, colon, names = line.partition(":")
    if colon or re.search("train|valid|test", line, re.IGNORECASE):
        return heading, names
    return "", line


def _lines(raw: files.RawFile) -> list[str]:
    return text.without_mark(raw.read(), raw).decode("latin-1").splitlines()


def sequences(video: Video) -> list[dict | LeftOut]:
    """Reads every labelled instance of a video, in the order of the labels.

    Returns:
      For each instance joints (T, 2, 25, 3) float32, without frames that hold nobody; name
      ('<video>_<number of the instance>'), video, phase, label 0..50, start and end (frames
      [start, end)), and `findings`, if there are any; or `LeftOut` if it has no
      frame or no body, or if it reaches out of the video (then with the error). One `LeftOut` for
      a video without any instance.

    Raises:
      BadFile: as `read_video` and `read_labels`.
    """
    instances = read_labels(video.label)
    joints = read_video(video.skeleton)
    if not instances:
        return [LeftOut(video.name, str(video.label), "no action in its label file")]
    return [_sequence(video, joints, number, instance) for number, instance in enumerate(instances)]


def _sequence(video: Video, joints: np.ndarray, number: int, instance: Instance) -> dict | LeftOut:
    name = f"{video.name}_{number:03d}"
    start, end = instance.start, instance.end
    if start < 0 or max(start, end) > len(joints):
        bad = BadFile(
            video.label,
            f"frames {start} to {end}",
            f"frames within 0 to {len(joints)}, the length of {video.skeleton}",
            instance.line,
            hint="--on_bad_file=skip leaves such instances out.",
        )
        return LeftOut(name, str(video.label), f"out of its video: {bad}", bad)
    if start >= end:
        return LeftOut(name, str(video.label), f"no frame in [{start}, {end})")
    if not joints[start:end].any():
        return LeftOut(name, str(video.label), f"no body in the frames [{start}, {end})")
    counts: dict[str, int] = {}
    return {
        "joints": findings.without_empty_frames(joints[start:end], "xyz", counts),
        "name": name,
        "video": video.name,
        "phase": video.phase,
        "label": instance.action - 1,
        "start": start,
        "end": end,
        **findings.told(counts),
    }
