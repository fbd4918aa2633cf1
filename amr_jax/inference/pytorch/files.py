"""Weights in files: of PyTorch, `.safetensors` or `.npz`. Reading them needs no PyTorch."""

import io
import os
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy

from amr_jax.data.readers import archives, bounded, pickles
from amr_jax.errors import BadFile, UserError
from amr_jax.inference.pytorch import choice, torch_files
from amr_jax.run import workdir as workdirs

# Of files to write. A file to read may have any name: its content shows what it is.
SUFFIXES = (".pth", ".pt", ".safetensors", ".npz")

_EXPECTED = "weights in a file of PyTorch, .safetensors or .npz"
# First bytes of files that people download instead of the weights, or unpack too late.
_OTHERS = {
    b"version https://git-lfs": ("a pointer of Git LFS", "Fetch the file itself: git lfs pull."),
    b"<": ("a web page, or another text", "Download the file again; a browser shows what it is."),
    b"\x1f\x8b": ("a file compressed by gzip", "Decompress it: gunzip FILE."),
    b"\x89HDF": ("an HDF5 file", "Save the weights as .npz, under the published names."),
}
_NO_CHECKSUMS = (
    "Fetch it again. If it was saved without checksums (torch.serialization.set_crc32_options), "
    "save it again with PyTorch's defaults."
)
_TAR = (257, b"ustar")  # place and text of a mark in a tar archive
_SAFETENSORS = {
    "F64": np.dtype("<f8"), "F32": np.dtype("<f4"), "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16), "I64": np.dtype("<i8"), "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"), "I8": np.dtype("i1"), "U8": np.dtype("u1"), "BOOL": np.dtype("?"),
}  # fmt: skip


def read(path: os.PathLike | str, anchor: str, key: str | None = None) -> choice.Weights:
    """Reads the weights of one model, on the host; code in the file is never run.

    Args:
      path: a file of `torch.save` (.pth, .pt, .bin, .ckpt, .pth.tar), `.safetensors`, or `.npz`.
      anchor, key: which weights of the file, see `choice.choose`.

    Raises:
      BadFile: the file is absent, damaged or of another kind, or has no such weights.
    """
    path = Path(os.path.expanduser(path))
    try:
        data = path.read_bytes()
    except OSError as error:
        found = "nothing" if isinstance(error, FileNotFoundError) else error.strerror
        raise BadFile(path, found or str(error), "a file of weights") from error
    return choice.choose(_content(data, path), anchor, key, path)


def _content(data: bytes, path: Path) -> Any:
    """The dicts, lists and arrays in a file of any form."""
    # First: such a file begins with a number, whose bytes may be those of any other form.
    if data[8:9] == b"{" and int.from_bytes(data[:8], "little") <= len(data) - 8:
        return _in_safetensors(data, path)
    if data.startswith(b"PK"):
        return _in_archive(data, path)
    if data.startswith(b"\x80"):
        is_old = torch_files.MAGIC in data[:32]
        return torch_files.read_old(data, path) if is_old else pickles.load(data, path)
    for first, (found, hint) in _OTHERS.items():
        if data.lstrip().startswith(first):
            raise BadFile(path, found, _EXPECTED, hint=hint)
    place, mark = _TAR
    if data[place:].startswith(mark):
        hint = "Unpack it, and import the file of weights in it: tar -xf FILE."
        raise BadFile(path, "a tar archive", _EXPECTED, hint=hint)
    if path.suffix == ".safetensors":
        return _in_safetensors(data, path)
    if not data:
        raise BadFile(path, "an empty file", _EXPECTED, hint="Fetch it again.")
    raise BadFile(path, f"a damaged file, or another kind ({data[:8]!r} …)", _EXPECTED)


def _in_archive(data: bytes, path: Path) -> Any:
    """The content of a zip archive, verified by the checksums of its members."""
    try:
        members = archives.read_members(io.BytesIO(data), path, _EXPECTED)
    except BadFile as error:
        hint = _NO_CHECKSUMS if "CRC" in error.found else error.hint
        raise BadFile(path, error.found, error.expected, hint=hint) from error
    if any(name.rpartition("/")[2] == "data.pkl" for name in members):
        return torch_files.read_zip(members, path)
    others = [name for name in members if not name.endswith(".npy")]
    if others:
        hint = "Unpack it, and import the file of weights in it."
        raise BadFile(path, f"an archive of {', '.join(others[:3])}", _EXPECTED, hint=hint)
    return bounded.load_npz(io.BytesIO(data), path)


def _in_safetensors(data: bytes, path: Path) -> dict[str, np.ndarray]:
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > len(data) - 8:
        found = f"a damaged file (it ends before its header of {size:,} bytes does)"
        raise BadFile(path, found, _EXPECTED, hint="Fetch it again.")
    bounded.load_json(data[8 : 8 + size], path, "a header in JSON")  # refuses a name twice
    try:
        tensors = safetensors.deserialize(data)
    except (safetensors.SafetensorError, ValueError) as error:
        raise BadFile(
            path, f"a damaged file ({error})", _EXPECTED, hint="Fetch it again."
        ) from error
    arrays = {}
    for name, tensor in tensors:
        kind, shape = tensor["dtype"], tensor["shape"]
        if kind not in _SAFETENSORS:
            raise BadFile(path, f"{name!r} of {kind}", f"one of {', '.join(_SAFETENSORS)}")
        arrays[name] = np.frombuffer(tensor["data"], _SAFETENSORS[kind]).reshape(shape)
    return arrays


def write(path: os.PathLike | str, state: Mapping[str, np.ndarray]) -> None:
    """Writes a state dict, atomically.

    Args:
      path: `.pth` or `.pt` ({'model': state}, which published scripts load), `.safetensors`, or
        `.npz`.
      state: name -> array.

    Raises:
      UserError: another suffix; PyTorch is not installed; the file cannot be written.
    """
    path = Path(os.path.expanduser(path))
    if path.suffix not in SUFFIXES:
        raise UserError(f"{path}: expected a file name that ends in {', '.join(SUFFIXES)}.")
    buffer = io.BytesIO()
    if path.suffix == ".npz":
        np.savez(buffer, **state)
    elif path.suffix == ".safetensors":
        arrays = {name: np.ascontiguousarray(value) for name, value in state.items()}
        buffer.write(safetensors.numpy.save(arrays))
    else:
        torch = _torch(path)
        tensors = {key: torch.from_numpy(np.array(value)) for key, value in state.items()}
        torch.save({"model": tensors}, buffer)
    workdirs.write(path, buffer.getvalue())


def _torch(path: Path) -> ModuleType:
    try:
        import torch  # an extra, which nothing else needs
    except ImportError as error:
        raise UserError(
            f"{path}: writing {path.suffix} needs PyTorch ({error}): pip install 'amr_jax[torch]' "
            "(the CPU build suffices), or write .safetensors or .npz."
        ) from error
    return torch
