"""A format to damage: its valid files, its reader, and the position of every value.

"Equal to the undamaged rest" is one rule for all formats. The data of a reader form one list of
*values*, in the order of the file, and a table gives the bytes of the valid file that hold each
value, with its delimiters: a digit next to a number changes that number. A mutant begins like one
valid file and ends like one. If it is read, values in the common beginning must come first, and
values in the common end last. A value that is lost, moved, read twice or changed outside of the
damage violates this rule.

- `.skeleton`: x, y, z of every joint of every body, in the order of the file (`Recording` groups
  them by the ids in the text); the two actors must be sound.
- PKU text: the numbers. A text that ends early at the end of a line is valid and shorter, which the
  format cannot detect; labels then point out of it. Labels: whole lines, because the fourth number
  is optional, and a damaged line may be another valid one. Split: names up to the next heading;
  after damage, only sound names are required.
- NW-UCLA: the numbers under 'skeletons'. Layout file: all of its texts, in the order of the keys.
- `.npy`: the bytes of the numbers, in memory order. Another valid header (shape, dtype or order for
  as many bytes) turns them into other numbers, which the format cannot detect.
- pickle: whole arrays, because a missing byte in one moves all that follow. A pickle is a program:
  with other instructions only sound data are required ('sane').
- labels.csv: the cells. The first line defines them: with damage there, 'sane'.
- zip, npz, safetensors: checksums (CRC-32 of a member, digest of a model) cover everything, so a
  mutant that is read must give the same data, unless the mutation corrected the checksums.
"""

import dataclasses
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from tests.fuzz.mutations import Change

# (first byte, one past the last) of every value in a valid file.
Spans = Sequence[tuple[int, int]]


@dataclasses.dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
      file: name of the file.
      originals: makes small valid files.
      read: path -> the values, a list or an array of one axis; AssertionError for unsound data.
      spans: of a valid file; None if a mutant that is read must equal its original.
      special: mutations for this format.
      is_text: whether it has lines and an encoding.
      head: number of first bytes that define the rest; with damage there, only sound data are
        required.
    """

    file: str
    originals: Callable[[], list[bytes]]
    read: Callable[[Path], Sequence]
    spans: Callable[[bytes], Spans] | None = None
    special: tuple[Change, ...] = ()
    is_text: bool = False
    head: Callable[[bytes], int] = lambda data: 0


def places(pattern: bytes, data: bytes, start: int = 0) -> Spans:
    """Spans of a pattern."""
    return [match.span() for match in re.compile(pattern).finditer(data, start)]


def tokens(data: bytes, pattern: bytes = rb"\S+", start: int = 0) -> Spans:
    """Spans of values, with the delimiting byte on either side."""
    return [(a - 1, b + 1) for a, b in places(pattern, data, start)]


def sound(joints: np.ndarray, num_joints: int, channels: int = 3) -> None:
    """Asserts joints (T, M, V, C) float32, finite and not empty."""
    assert joints.dtype == np.float32, joints.dtype
    assert joints.ndim == 4, joints.shape
    assert joints.shape[2:] == (num_joints, channels), joints.shape
    assert min(joints.shape) > 0, joints.shape
    assert np.isfinite(joints).all(), "not finite"


def sound_text(*texts: str) -> None:
    """Asserts texts that can be printed and written to records."""
    for text in texts:
        assert isinstance(text, str), text
        text.encode()
