"""Plain NumPy files, `.npy` and `.npz`: one sequence each."""

import functools
import io
import math
import os
from collections.abc import Callable
from typing import BinaryIO

import numpy as np

from amr_jax.data.readers import files, members
from amr_jax.errors import BadFile

# In a `.npz` with several arrays, those that are read.
KEY, CONFIDENCE = "joints", "confidence"
_SUFFIX = ".npy"  # of a member

_EXPECTED = "numbers of shape (T, M, V, C), or (T, V, C) for one body"


def read(raw: files.RawFile) -> tuple[np.ndarray, np.ndarray | None]:
    """The sequence in a file: (T, M, V, C) float32, whatever kind of numbers it was saved as.

    A `.npz` holds one array, or several of which one is called 'joints'. No pickle is read, and
    nothing larger than the file is set aside for what it claims to hold.

    Returns:
      The joints; and where an array 'confidence' stands beside them, that, (T, M, V).

    Raises:
      BadFile: no such file, damaged, pickled objects, another number of axes, nothing in it, or
        numbers that are not finite in float32.
    """
    data, confidence = raw.read(), None
    if raw.name.lower().endswith(".npz"):
        choose = functools.partial(_wanted, raw)
        array, *beside = read_npz(io.BytesIO(data), raw, choose, files.MAX_BYTES).values()
        confidence = beside[0] if beside else None
    else:
        array = from_npy(data, raw)
    if array.dtype.kind not in "fiu":
        raise BadFile(raw, f"an array of {array.dtype}", _EXPECTED)
    if array.ndim == 3:
        array = array[:, None]
        confidence = None if confidence is None else confidence[:, None]
    if array.ndim != 4 or 0 in array.shape:
        raise BadFile(raw, f"an array of shape {array.shape}", _EXPECTED)
    with np.errstate(over="ignore", invalid="ignore"):  # told below, as an error
        joints = array.astype(np.float32)
    wrong = np.argwhere(~np.isfinite(joints))
    if wrong.size:
        place = tuple(map(int, wrong[0]))
        raise BadFile(raw, f"{array[place]} at (t, m, v, c) = {place}", "a finite number")
    return joints, confidence


def _wanted(raw: files.RawFile, names: list[str]) -> list[str]:
    """The joints among the arrays of a `.npz`, and their confidences."""
    if KEY in names:
        return [KEY, CONFIDENCE] if CONFIDENCE in names else [KEY]
    if len(names) != 1:
        found = f"the arrays {', '.join(names) or '(none)'}"
        raise BadFile(raw, found, f"one array, or one called {KEY!r}")
    return names


def read_npz(
    file: BinaryIO | os.PathLike,
    path: object,
    wanted: Callable[[list[str]], list[str]] = list,
    max_bytes: float = math.inf,
) -> dict[str, np.ndarray]:
    """Arrays of a `.npz`, by name; verified, see `members`.

    Args:
      file: where it is.
      path: what to call it in an error.
      wanted: of all names those that are read, e.g. all.
      max_bytes: that all of these together may have.

    Raises:
      BadFile: no `.npz`, damaged, a name twice, Python objects, or too large.
    """

    def chosen(names: list[str]) -> list[str]:
        arrays = {}
        for name in names:
            if (array := name.removesuffix(_SUFFIX)) in arrays:
                raise BadFile(path, f"several arrays called {array!r}", "every name once")
            arrays[array] = name
        return [arrays[array] for array in wanted(list(arrays))]

    expected = "arrays by name, as np.savez writes them"
    return {
        name.removesuffix(_SUFFIX): from_npy(data, f"{path}!{name}")
        for name, data in members.read(file, path, expected, chosen, max_bytes).items()
    }


def from_npy(data: bytes, path: object) -> np.ndarray:
    """The array of a `.npy`: numbers or text.

    What its header claims is held against the bytes that are there; `np.load` would set it aside.

    Args:
      data: the whole file.
      path: what to call it in an error.

    Raises:
      BadFile: no such file, cut short, Python objects, or text that is none.
    """
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, fortran_order, dtype = header(stream)
    except Exception as error:  # whatever NumPy makes of a damaged header
        raise BadFile(path, "no header of a .npy file", "an array as np.save writes it") from error
    if dtype.hasobject or dtype.itemsize == 0:
        found = "an array of Python objects" if dtype.hasobject else f"an array of {dtype}"
        raise BadFile(path, found, "an array of numbers or text")
    content = data[stream.tell() :]
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(content):
        found = f"{len(content):,} bytes of numbers"
        expected = f"{shape} {dtype}, as its header says"
        raise BadFile(path, found, expected, hint="The file was cut short, or never completed.")
    if dtype.kind == "U":
        _check_characters(content, dtype, path)
    try:
        return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran_order else "C")
    except ValueError as error:  # more axes than NumPy has, or longer ones, of no numbers at all
        raise BadFile(path, f"an array of shape {shape}", "one that NumPy can have") from error


def _check_characters(content: bytes, dtype: np.dtype, path: object) -> None:
    """Python makes no text of numbers that are no characters, and nobody else of half a pair."""
    codes = np.frombuffer(content, np.dtype(np.uint32).newbyteorder(dtype.byteorder))
    wrong = codes[(codes > 0x10FFFF) | ((codes >= 0xD800) & (codes < 0xE000))]
    if wrong.size:
        raise BadFile(path, f"the character {wrong[0]:#x} in a text", "Unicode")
