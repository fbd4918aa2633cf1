"""Plain NumPy files, `.npy` and `.npz`: one sequence each."""

import io
import math
import zipfile

import numpy as np

from amr_jax.errors import BadFile
from amr_jax.readers import files

# In a `.npz` with several arrays, the one that is read.
KEY = "joints"

_EXPECTED = "numbers of shape (T, M, V, C), or (T, V, C) for one body"


def read(raw: files.RawFile) -> np.ndarray:
    """The sequence in a file: (T, M, V, C) float32, whatever kind of numbers it was saved as.

    A `.npz` holds one array, or several of which one is called 'joints'. No pickle is read, and
    nothing larger than the file is set aside for what it claims to hold.

    Raises:
      BadFile: no such file, damaged, pickled objects, another number of axes, nothing in it, or
        numbers that are not finite in float32.
    """
    data = raw.read()
    array = from_npy(_member(raw, data) if raw.name.lower().endswith(".npz") else data, raw)
    if array.dtype.kind not in "fiu":
        raise BadFile(raw, f"an array of {array.dtype}", _EXPECTED)
    if array.ndim == 3:
        array = array[:, None]
    if array.ndim != 4 or 0 in array.shape:
        raise BadFile(raw, f"an array of shape {array.shape}", _EXPECTED)
    with np.errstate(over="ignore"):
        joints = array.astype(np.float32)
    wrong = np.argwhere(~np.isfinite(joints))
    if wrong.size:
        place = tuple(map(int, wrong[0]))
        raise BadFile(raw, f"{array[place]} at (t, m, v, c) = {place}", "a finite number")
    return joints


def _member(raw: files.RawFile, data: bytes) -> bytes:
    """The `.npy` inside a `.npz`."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {m.filename.removesuffix(".npy"): m for m in archive.infolist()}
            names = list(members)
            if KEY not in members and len(members) != 1:
                found = f"the arrays {', '.join(names) or '(none)'}"
                raise BadFile(raw, found, f"one array, or one called {KEY!r}")
            member = members[KEY if KEY in members else names[0]]
            if member.file_size > files.MAX_BYTES:
                raise BadFile(raw, f"{member.file_size:,} bytes", f"at most {files.MAX_BYTES:,}")
            with archive.open(member) as file:  # unpacks no more than is asked for
                return file.read(member.file_size)
    except BadFile:
        raise
    except Exception as error:  # whatever zipfile and its decompressors raise
        reason = str(error) or type(error).__name__
        raise BadFile(raw, f"no complete .npz ({reason})", "arrays as np.savez writes them") from (
            error
        )


def from_npy(data: bytes, path: object) -> np.ndarray:
    """The array of a `.npy`: numbers or text.

    What its header claims is held against the bytes that are there; `np.load` would set it aside.

    Args:
      data: the whole file.
      path: what to call it in an error.

    Raises:
      BadFile: no such file, cut short, or Python objects.
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
    if dtype.hasobject:
        raise BadFile(path, "an array of Python objects", "an array of numbers or text")
    content = data[stream.tell() :]
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(content):
        found = f"{len(content):,} bytes of numbers"
        expected = f"{shape} {dtype}, as its header says"
        raise BadFile(path, found, expected, hint="The file was cut short, or never completed.")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran_order else "C")
