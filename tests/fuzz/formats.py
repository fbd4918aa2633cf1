"""The formats that are damaged: valid files of each, how it is read, where its values stand.

What "equal to the untouched rest" means is one rule for all. A reader's data are laid out as one
list of *values*, in the order in which they stand in the file, and a table says between which bytes
of the valid file each value stands, its delimiters included: a digit put beside a number makes
another number. A mutant begins like one valid file and ends like one. If it is read, the values in
the common beginning must be the first ones that are read, and those in the common end the last
ones. A value lost, moved, read twice or changed outside of the damage breaks that.

- `.skeleton`: x, y, z of every joint, of every body in its place in the file (`Recording` has them
  by body; the ids in the text say which comes when); and the file's two actors must be sound.
- PKU text: the numbers. A text that ends early at a line's end is a valid, shorter one: nothing in
  the format tells. The labels then point out of it. Of labels, lines as a whole: the fourth number
  may be absent, so that what is left of a damaged line may say something else. A split is a set of
  names up to the next heading: with damage, only sound names are asked for.
- NW-UCLA: the numbers under 'skeletons'. Layout file: all of its texts, in the order of the keys.
- `.npy`: the bytes of the numbers, in the order of the memory. A header that is another valid one
  (another shape, dtype or order for as many bytes) makes other numbers of them: nothing tells.
- pickle: the arrays, each as a whole, since a byte that is missing in one moves all that follow. It
  is a program: of one with other instructions only sound data are asked for ('sane').
- labels.csv: the cells. The first line says what they are: with damage there, 'sane'.
- zip, npz, safetensors: checksums (CRC-32 of a member, the digest of a model) cover everything, so
  a mutant that is read must say just the same; unless the mutation put the checksums right.
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
      file: what the file is called.
      originals: makes valid files, small ones.
      read: a path -> the values, a list or an array of one axis; AssertionError: unsound data.
      spans: of a valid file; None: a mutant that is read must be the same as its original.
      special: mutations that know the format.
      is_text: whether it has lines and an encoding.
      head: the first so many bytes say what the rest is; damage there asks for sound data alone.
    """

    file: str
    originals: Callable[[], list[bytes]]
    read: Callable[[Path], Sequence]
    spans: Callable[[bytes], Spans] | None = None
    special: tuple[Change, ...] = ()
    is_text: bool = False
    head: Callable[[bytes], int] = lambda data: 0


def places(pattern: bytes, data: bytes, start: int = 0) -> Spans:
    """Where a pattern is."""
    return [match.span() for match in re.compile(pattern).finditer(data, start)]


def tokens(data: bytes, pattern: bytes = rb"\S+", start: int = 0) -> Spans:
    """Where values are that what stands beside them ends: with a byte on either side."""
    return [(a - 1, b + 1) for a, b in places(pattern, data, start)]


def sound(joints: np.ndarray, num_joints: int, channels: int = 3) -> None:
    """(T, M, V, C) float32 as the documentation promises."""
    assert joints.dtype == np.float32, joints.dtype
    assert joints.ndim == 4, joints.shape
    assert joints.shape[2:] == (num_joints, channels), joints.shape
    assert min(joints.shape) > 0, joints.shape
    assert np.isfinite(joints).all(), "not finite"


def sound_text(*texts: str) -> None:
    """Texts that can be printed and written to records."""
    for text in texts:
        assert isinstance(text, str), text
        text.encode()
