"""Plain NumPy files, `.npy` and `.npz`: one sequence each."""

import io
import math
import zipfile

import numpy as np

from amr_jax.errors import BadFile
from amr_jax.readers import files

# In a `.npz` with several arrays, those that are read.
KEY, CONFIDENCE = "joints", "confidence"

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
        data, beside = _members(raw, data)
        confidence = None if beside is None else from_npy(beside, f"{raw}, {CONFIDENCE}")
    array = from_npy(data, raw)
    if array.dtype.kind not in "fiu":
        raise BadFile(raw, f"an array of {array.dtype}", _EXPECTED)
    if array.ndim == 3:
        array = array[:, None]
        confidence = None if confidence is None else confidence[:, None]
    if array.ndim != 4 or 0 in array.shape:
        raise BadFile(raw, f"an array of shape {array.shape}", _EXPECTED)
    with np.errstate(over="ignore"):
        joints = array.astype(np.float32)
    wrong = np.argwhere(~np.isfinite(joints))
    if wrong.size:
        place = tuple(map(int, wrong[0]))
        raise BadFile(raw, f"{array[place]} at (t, m, v, c) = {place}", "a finite number")
    return joints, confidence


def _members(raw: files.RawFile, data: bytes) -> tuple[bytes, bytes | None]:
    """The `.npy` inside a `.npz`, and that of the confidences."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {m.filename.removesuffix(".npy"): m for m in archive.infolist()}
            names = list(members)
            if KEY not in members and len(members) != 1:
                found = f"the arrays {', '.join(names) or '(none)'}"
                raise BadFile(raw, found, f"one array, or one called {KEY!r}")
            joints = _unpacked(raw, archive, members[KEY if KEY in members else names[0]])
            beside = members.get(CONFIDENCE) if KEY in members else None
            return joints, None if beside is None else _unpacked(raw, archive, beside)
    except BadFile:
        raise
    except Exception as error:  # whatever zipfile and its decompressors raise
        reason = str(error) or type(error).__name__
        raise BadFile(raw, f"no complete .npz ({reason})", "arrays as np.savez writes them") from (
            error
        )


def _unpacked(raw: files.RawFile, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    if member.file_size > files.MAX_BYTES:
        raise BadFile(raw, f"{member.file_size:,} bytes", f"at most {files.MAX_BYTES:,}")
    with archive.open(member) as file:  # unpacks no more than is asked for
        return file.read(member.file_size)


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
