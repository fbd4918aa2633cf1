"""Text files of numbers: lines of values with white space between them, in bounded memory."""

from collections.abc import Sequence

import numpy as np

from amr_jax.data.readers.text import without_mark
from amr_jax.errors import BadFile

_MAX_LINES = 2**20  # files of the data sets have some ten thousand

# Characters of a text that needs no cleaning. Cleaning writes other white space as blanks and other
# bytes as question marks: NumPy takes some of them for white space, which would shorten a number.
_USUAL = b"0123456789.-eE \n"
_CLEAN = bytes(
    ord(" ") if c in b"\t\v\f\r" else c if c == ord("\n") or 32 <= c < 127 else ord("?")
    for c in range(256)
)
_LARGEST = float(np.finfo(np.float32).max)


_MAY_PRECEDE_MINUS = np.isin(np.arange(256), np.frombuffer(b" \neE", np.uint8))


class NumberText:
    """The lines of a text, counted from 0; lines end in LF or CRLF.

    Methods raise `BadFile`, with the line, where the text is not as expected.

    Attributes:
      lines: the values of each line, with single blanks between them.
      num_values: how many there are in each line.

    Args:
      data: the whole file.
      path: how errors call it.
      max_line: limit for a line, in bytes.
    """

    def __init__(self, data: bytes, path: object, max_line: int):
        self.path = path
        text = without_mark(data, path).rstrip()
        text = text.replace(b"\r\n", b"\n") if b"\r" in text else text
        if (num_lines := text.count(b"\n") + 1) > _MAX_LINES:
            raise BadFile(path, f"{num_lines:,} lines", f"at most {_MAX_LINES:,}")
        chars, ends, lengths = _characters(text)
        at = int(lengths.argmax())
        if lengths[at] > max_line:
            found = f"a line of {lengths[at]:,} bytes"
            raise BadFile(path, found, f"at most {max_line:,}", line=at + 1)
        blank = chars <= ord(" ")
        if text.translate(None, _USUAL) or (blank[1:] & blank[:-1]).any():
            lines = (b" ".join(line.split()) for line in text.translate(_CLEAN).split(b"\n"))
            text = b"\n".join(lines)
            chars, ends, _ = _characters(text)
            self.lines = text.decode("ascii").split("\n")
            self.num_values = [line.count(" ") + bool(line) for line in self.lines]
        else:
            self.lines = text.decode("ascii").split("\n")
            self.num_values = np.diff(np.searchsorted(np.flatnonzero(blank), ends)).tolist()
        self._chars, self._ends = chars, ends

    def check_signs(self) -> None:
        """Refuses values of two numbers, such as 1.52.5 or 1-2, also where no value is read.

        A blank at the wrong place keeps the count of values, and moves all that lie between.

        Raises:
          BadFile: names the line.
        """
        blanks = np.flatnonzero(self._chars <= ord(" "))
        points = np.flatnonzero(self._chars == ord("."))
        value = np.searchsorted(blanks, points)
        odd = points[1:][value[1:] == value[:-1]]
        minus = np.flatnonzero(self._chars == ord("-"))
        odd = np.concatenate([odd, minus[~_MAY_PRECEDE_MINUS[self._chars[minus - 1]]]])
        if odd.size:
            first = odd.min()
            number = np.searchsorted(blanks, first)
            begin, end = blanks[number - 1] + 1, blanks[number]
            found = repr(self._chars[begin:end].tobytes().decode("ascii")[:40])
            at = int(np.searchsorted(self._ends, first)) - 1
            raise self.bad(at, "numbers with blanks between them", found)

    def value(self, at: int, count: int, expected: str) -> str:
        """The first value of line `at`, which must have `count` values."""
        if at >= len(self.lines) or self.num_values[at] != count:
            raise self.bad(at, expected)
        return self.lines[at].partition(" ")[0]

    def whole(self, at: int, count: int, expected: str) -> int:
        """The first value of line `at`, which must be a whole number from 0 with 20 digits at most.

        `count` and `expected` as in `value`.
        """
        value = self.value(at, count, expected)
        if not value.isdecimal() or len(value) > 20:
            raise self.bad(at, expected)
        return int(value)

    def metres(self, rows: Sequence[int], num_columns: int) -> np.ndarray:
        """(len(rows), num_columns) float32: the first values of these lines, all finite."""
        if not rows:
            return np.zeros((0, num_columns), np.float32)
        lines = list(map(self.lines.__getitem__, rows))
        try:
            found = np.loadtxt(
                lines, delimiter=" ", comments=None, usecols=range(num_columns), ndmin=2
            )
        except ValueError:
            found = np.array(np.nan)
        with np.errstate(over="ignore"):
            found = found.astype(np.float32)
        if not np.isfinite(found).all():
            raise self._bad_metres(rows, num_columns)
        return found

    def _bad_metres(self, rows: Sequence[int], num_columns: int) -> BadFile:
        for at in rows:
            for column, value in enumerate(self.lines[at].split(" ")[:num_columns]):
                if not _is_finite(value):
                    expected = f"a finite number, in metres, in column {column + 1}"
                    return self.bad(at, expected, repr(value[:40]))
        return BadFile(self.path, "values that cannot be read", "finite numbers, in metres")

    def bad(self, at: int, expected: str, found: str | None = None) -> BadFile:
        """The error for a line; `found` defaults to its beginning."""
        if at >= len(self.lines) or self.lines == [""]:
            found = "the file's end"
        elif found is None:
            line, count = self.lines[at], self.num_values[at]
            found = repr(line[:40]) if count == 1 else f"{count} values in {line[:40]!r}"
        return BadFile(self.path, found, expected, line=at + 1)


def _characters(text: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(characters between two line ends, places of the line ends, lengths of the lines)."""
    chars = np.frombuffer(b"\n" + text + b"\n", np.uint8)
    ends = np.flatnonzero(chars == ord("\n"))  # the first line begins after ends[0]
    return chars, ends, np.diff(ends) - 1


def _is_finite(value: str) -> bool:
    try:  # "1_0" is a number in Python only
        return abs(float(value)) <= _LARGEST and "_" not in value
    except ValueError:
        return False
