"""Seeded damage to files, as by disks, downloads, editors and attackers.

A mutation is a function of a random generator and the valid files of one format. The same generator
gives the same mutant on any machine.
"""

import dataclasses
import re
from collections.abc import Callable, Sequence

import numpy as np

# Replacements for a number; pieces to insert between two bytes.
_TOKENS = (
    b"1e999", b"-1e999", b"-0", b"0", b"nan", b"NaN", b"inf", b"-Infinity", b"null", b"true",
    b"2147483648", b"-2147483649", b"1000000000", b"999999999999", b"1e9", b"1e39", b"1e-400",
    b"9" * 400, b"1_0", b"0x10", b"1.5.2", b"--1", b"+1", b"1e", b".", b"", b'"1"', b"[]",
    "\u0661\u0662".encode(), "\uff11".encode(), "\u00b2".encode("latin-1"),
    "\u2212".encode() + b"1", b"{}",
)  # fmt: skip
_BETWEEN = (
    b"\n", b"\n\n", b"\r\n", b"\r", b"\t", b" ", b"\x00", b"\xff", b"\x85", b"\xa0", b"\x1c", b",",
    b'"', b"#", b"\\", b"\x1a", b"\xef\xbb\xbf", "\u2028".encode(), b"-", b"e5", b"\xed\xa0\x80",
)  # fmt: skip
_NUMBER = re.compile(rb"[-+]?\d[\d.eE+-]*")
_CODECS = ("utf-8-sig", "utf-16", "utf-16-be", "utf-32", "cp037")


@dataclasses.dataclass(frozen=True)
class Mutant:
    """A damaged file.

    Attributes:
      data: its bytes.
      first: index of the original that it begins like.
      last: index of the original that it ends like.
      rule: requirement for its data, if it is read: 'rest', unchanged outside of the damage;
        'same', unchanged; 'sane', well-formed, because the mutation changed the content.
      how: name of the mutation.
    """

    data: bytes
    first: int
    last: int
    rule: str
    how: str


# (generator, valid file) -> damaged file, rule.
Change = Callable[[np.random.Generator, bytes], tuple[bytes, str]]


def make(
    rng: np.random.Generator,
    originals: Sequence[bytes],
    special: Sequence[Change] = (),
    is_text: bool = False,
) -> Mutant:
    """One mutant of one of `originals`, never equal to it.

    Args:
      rng: source of all choices.
      originals: valid files of the format.
      special: mutations for this format; a third of the mutants use these.
      is_text: whether to change line ends and encodings too.
    """
    general = [flip, insert, delete, truncate, repeat, swap, zero, token, token, several]
    general += [line_ends, encoding] if is_text else []
    while True:
        first = last = int(rng.integers(len(originals)))
        if special and rng.random() < 1 / 3:
            change = special[rng.integers(len(special))]
        elif rng.random() < 0.08:
            change, last = None, int(rng.integers(len(originals)))
        else:
            change = general[rng.integers(len(general))]
        if change is None:
            data, rule = splice(rng, originals[first], originals[last]), "rest"
        else:
            data, rule = change(rng, originals[first])
        if data not in (originals[first], originals[last]):
            how = change.__name__ if change else "splice"
            return Mutant(data, first, last, rule, how)


def kept(mutant: Mutant, originals: Sequence[bytes]) -> tuple[int, int]:
    """Number of bytes shared with the start of the first original, and with the end of the last.

    Their sum is at most the length of the mutant and of either original.
    """
    first, last = originals[mutant.first], originals[mutant.last]
    head = _common(mutant.data, first)
    room = min(len(mutant.data), len(first), len(last)) - head
    return head, _common(mutant.data[::-1], last[::-1], max(room, 0))


def _common(one: bytes, other: bytes, most: int | None = None) -> int:
    length = min(len(one), len(other)) if most is None else most
    a, b = (np.frombuffer(data[:length], np.uint8) for data in (one, other))
    different = np.flatnonzero(a != b)
    return int(different[0]) if different.size else length


def _place(rng: np.random.Generator, data: bytes) -> int:
    return int(rng.integers(len(data) + 1))


def _span(rng: np.random.Generator, data: bytes) -> tuple[int, int]:
    """A random block: small, sometimes large; half of them consist of whole lines."""
    start = _place(rng, data)
    end = min(len(data), start + int(rng.integers(1, rng.choice([8, 200, 2000]))))
    if rng.random() < 0.5:
        start = data.rfind(b"\n", 0, start) + 1
        end = data.find(b"\n", end) + 1 or len(data)
    return start, end


def flip(rng: np.random.Generator, data: bytes) -> tuple[bytes, str]:
    """Flips one bit."""
    at = int(rng.integers(len(data)))
    return data[:at] + bytes([data[at] ^ 1 << rng.integers(8)]) + data[at + 1 :], "rest"


def insert(rng: np.random.Generator, data: bytes) -> tuple[bytes, str]:
    """Inserts a few bytes, random or awkward ones."""
    at = _place(rng, data)
    piece = rng.bytes(rng.integers(1, 5))
    if rng.random() < 0.7:
        piece = _BETWEEN[rng.integers(len(_BETWEEN))]
    return data[:at] + piece + data[at:], "rest"


def delete(rng: np.random.Generator, data: bytes) -> tuple[bytes, str]:
    """Deletes a byte or a block."""
    start, end = _span(rng, data)
    if rng.random() < 0.5:
        end = start + 1
    return data[:start] + data[end:], "rest"


def truncate(rng: np.random.Generator, data: bytes) -> tuple[bytes, str]:
    """Truncates the file, sometimes at the end of a line."""
    at = _place(rng, data)
    if rng.random() < 0.3:
        at = data.rfind(b"\n", 0, at) + 1
    return data[:at], "rest"


def repeat(rng: np.random.Generator, data: bytes) -> tuple[bytes, str]:
    """Repeats a block."""
    start, end = _span(rng, data)
    return data[:end] + data[start:end] + data[end:], "rest"


def swap(rng: np.random.Generator, data: bytes) -> tuple[bytes, str]:
    """Swaps two blocks."""
    (a, b), (c, d) = sorted([_span(rng, data), _span(rng, data)])
    b = min(b, c)
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:], "rest"


def zero(rng: np.random.Generator, data: bytes) -> tuple[bytes, str]:
    """Replaces a block by zeros, as on a full disk."""
    start, end = _span(rng, data)
    return data[:start] + bytes(end - start) + data[end:], "rest"


def token(rng: np.random.Generator, data: bytes) -> tuple[bytes, str]:
    """Replaces a number by another one, or by something that is no number."""
    numbers = list(_NUMBER.finditer(data))
    if not numbers:
        return flip(rng, data)
    start, end = numbers[rng.integers(len(numbers))].span()
    if rng.random() < 0.2:
        start, end = numbers[0].span()  # often a count
    return data[:start] + _TOKENS[rng.integers(len(_TOKENS))] + data[end:], "rest"


def several(rng: np.random.Generator, data: bytes) -> tuple[bytes, str]:
    """Applies several small mutations."""
    for _ in range(rng.integers(2, 6)):
        if data:
            data, _ = (flip, insert, delete, token)[rng.integers(4)](rng, data)
    return data, "rest"


def splice(rng: np.random.Generator, one: bytes, other: bytes) -> bytes:
    """Joins the beginning of one file and the end of another."""
    return one[: _place(rng, one)] + other[_place(rng, other) :]


def line_ends(rng: np.random.Generator, data: bytes) -> tuple[bytes, str]:
    """Changes line ends, or the end of the file, as editors and mail do."""
    ways = (
        lambda: data.replace(b"\n", b"\r\n"),
        lambda: data.replace(b"\n", b"\r"),
        lambda: data.replace(b"\n", b"\n\n"),
        lambda: data.replace(b"\n", b" \n"),
        lambda: data.rstrip(b"\n"),
        lambda: data + b"\n\n\r\n",
        lambda: data + b"\x1a",
    )
    return ways[rng.integers(len(ways))](), "same"


def encoding(rng: np.random.Generator, data: bytes) -> tuple[bytes, str]:
    """Encodes the text differently."""
    return data.decode("latin-1").encode(_CODECS[rng.integers(len(_CODECS))], "replace"), "same"
