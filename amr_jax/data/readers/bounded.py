"""Parses JSON and NumPy files in memory bounded by their size, and refuses what is ambiguous."""

import io
import json
import math
import os
from collections.abc import Callable
from typing import BinaryIO

import numpy as np

from amr_jax.data.readers import archives
from amr_jax.errors import BadFile

_NPY = ".npy"  # suffix of an array in a `.npz`
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class _DoubleKey(ValueError):
    """A key that occurs twice in one JSON object; `json` would keep the last value."""


def load_json(data: bytes, path: object, expected: str, lists: bool = False) -> dict | list:
    """Parses a JSON object, or also a list.

    Args:
      data: the whole file, in UTF-8, UTF-16 or UTF-32.
      path: how errors call the file.
      expected: what the file should be, e.g. 'one JSON object'.
      lists: whether it may be a list.

    Raises:
      BadFile: not JSON, not an object, a key twice, a number or a nesting that Python refuses.
    """
    try:
        content = json.loads(data, object_pairs_hook=_unique_keys)
    except json.JSONDecodeError as error:
        found = f"no JSON ({error.msg}, column {error.colno})"
        raise BadFile(path, found, expected, error.lineno) from error
    except UnicodeDecodeError as error:
        raise BadFile(path, "bytes that are not text", f"{expected} in UTF-8") from error
    except _DoubleKey as error:
        raise BadFile(path, f"the key {str(error)!r} twice", "every key once") from error
    except (ValueError, RecursionError) as error:  # thousands of digits; deep nesting
        raise BadFile(path, f"no JSON that can be read ({error})", expected) from error
    if not isinstance(content, (dict, list) if lists else dict):
        raise BadFile(path, f"a JSON {type(content).__name__}", "a JSON object")
    return content


def _unique_keys(pairs: list[tuple[str, object]]) -> dict:
    content = dict(pairs)
    if len(content) < len(pairs):
        seen: set[str] = set()
        raise _DoubleKey(next(key for key, _ in pairs if key in seen or seen.add(key)))
    return content


def load_npz(
    file: BinaryIO | os.PathLike,
    path: object,
    wanted: Callable[[list[str]], list[str]] = list,
    max_bytes: float = math.inf,
) -> dict[str, np.ndarray]:
    """Reads arrays of numbers or text from a `.npz`, and verifies their checksums.

    Args:
      file: the archive.
      path: how errors call it.
      wanted: selects the arrays to read from the names of all.
      max_bytes: limit for these arrays together, decompressed.

    Returns:
      name -> array, in the order of `wanted`.

    Raises:
      BadFile: no `.npz`, damaged, a name twice, arrays of Python objects, or too large.
    """

    def members(names: list[str]) -> list[str]:
        arrays = {}
        for name in names:
            if (array := name.removesuffix(_NPY)) in arrays:
                raise BadFile(path, f"several arrays called {array!r}", "every name once")
            arrays[array] = name
        return [arrays[array] for array in wanted(list(arrays))]

    expected = "named arrays as written by np.savez"
    contents = archives.read_members(file, path, expected, members, max_bytes)
    return {
        name.removesuffix(_NPY): load_npy(data, f"{path}!{name}") for name, data in contents.items()
    }


def load_npy(data: bytes, path: object) -> np.ndarray:
    """Reads an array of numbers or text from the content of a `.npy`.

    `np.load` allocates what a header claims; here the claim is compared with the data first.

    Args:
      data: the whole file.
      path: how errors call it.

    Raises:
      BadFile: no `.npy`, truncated, Python objects, or invalid characters in a text.
    """
    stream = io.BytesIO(data)
    try:
        shape, is_fortran, dtype = _HEADERS[np.lib.format.read_magic(stream)](stream)
    except Exception as error:  # NumPy raises various errors on damaged headers
        raise BadFile(path, "no header of a .npy file", "an array as np.save writes it") from error
    if dtype.hasobject or dtype.itemsize == 0:
        found = "an array of Python objects" if dtype.hasobject else f"an array of {dtype}"
        raise BadFile(path, found, "an array of numbers or text")
    content = memoryview(data)[stream.tell() :]
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(content):
        raise BadFile(
            path,
            f"{len(content):,} bytes of numbers",
            f"{shape} {dtype}, as its header claims",
            hint="The file was truncated or never completed.",
        )
    if dtype.kind == "U":
        _check_characters(np.frombuffer(content, f"{dtype.byteorder}u4"), path)
    try:
        return np.frombuffer(content, dtype).reshape(shape, order="F" if is_fortran else "C")
    except (ValueError, OverflowError) as error:  # an empty array with too many or too long axes
        raise BadFile(path, f"an array of shape {shape}", "a shape that NumPy supports") from error


def _check_characters(codes: np.ndarray, path: object) -> None:
    """Refuses code points outside of Unicode, and surrogates, which cannot be encoded."""
    wrong = codes[(codes > 0x10FFFF) | ((codes >= 0xD800) & (codes < 0xE000))]
    if wrong.size:
        raise BadFile(path, f"the character {wrong[0]:#x} in a text", "Unicode")
