"""State dicts in files: `.pth` and `.pt` through PyTorch, `.npz` without it."""

import argparse
import io
import os
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np

from amr_jax.data.readers import archives, bounded
from amr_jax.errors import BadFile, UserError
from amr_jax.run import workdir as workdirs

SUFFIXES = (".pth", ".pt", ".npz")

# Keys under which training scripts save the state dict, beside the optimiser's state and the like.
_WRAPPERS = ("model", "state_dict")


def read(path: os.PathLike | str) -> dict[str, np.ndarray]:
    """Reads the state dict in a file: name -> array, on the host.

    Removes the wrappers {'model': …} and {'state_dict': …} of training scripts, and the prefix
    `module.` of models trained in parallel.

    Args:
      path: `.pth` or `.pt`, as `torch.save` writes it, or `.npz`, as `np.savez` does. Code in the
        file is never run.

    Raises:
      UserError: another suffix; PyTorch is not installed.
      BadFile: the file is absent or damaged, contains code, or holds no state dict.
    """
    path = Path(os.path.expanduser(path))
    _check_suffix(path)
    if not path.is_file():
        raise BadFile(path, "nothing", "a file of weights")
    content = bounded.load_npz(path, path) if path.suffix == ".npz" else _read_torch(path)
    prefix = "module."
    if content and all(key.startswith(prefix) for key in content):
        content = {key.removeprefix(prefix): value for key, value in content.items()}
    return content


def write(path: os.PathLike | str, state: Mapping[str, np.ndarray]) -> None:
    """Writes a state dict, atomically.

    Args:
      path: `.pth` or `.pt` ({'model': state}, which published scripts load), or `.npz`.
      state: name -> array.

    Raises:
      UserError: another suffix; PyTorch is not installed; the file cannot be written.
    """
    path = Path(os.path.expanduser(path))
    _check_suffix(path)
    buffer = io.BytesIO()
    if path.suffix == ".npz":
        np.savez(buffer, **state)
    else:
        torch = _torch(path)
        tensors = {key: torch.from_numpy(np.array(value)) for key, value in state.items()}
        torch.save({"model": tensors}, buffer)
    workdirs.write(path, buffer.getvalue())


def _check_suffix(path: Path) -> None:
    if path.suffix not in SUFFIXES:
        raise UserError(f"{path}: expected a file name that ends in {', '.join(SUFFIXES)}.")


def _torch(path: Path) -> ModuleType:
    try:
        import torch  # an extra, which nothing else needs
    except ImportError as error:
        raise UserError(
            f"{path}: {path.suffix} files need PyTorch ({error}): pip install 'amr_jax[torch]' "
            "(the CPU build suffices), or convert the file to .npz on a machine that has PyTorch."
        ) from error
    return torch


def _read_torch(path: Path) -> dict[str, np.ndarray]:
    torch = _torch(path)
    try:
        # Published scripts save their command line beside the weights, an argparse.Namespace, which
        # holds attributes and runs no code.
        with (
            torch.serialization.safe_globals([argparse.Namespace]),
            warnings.catch_warnings(action="ignore"),  # of files that are refused anyway
        ):
            content = torch.load(_verified(path), map_location="cpu", weights_only=True)
    except BadFile:
        raise
    except Exception as error:  # PyTorch, pickle and zipfile raise many kinds on damaged files
        # The text of PyTorch recommends the unsafe way: do not repeat it.
        code = re.search(r"GLOBAL ([\w.]+)", str(error))
        if code:
            found, hint = f"a pickle that wants to run {code[1]}", _CONVERT
        else:
            reason = error.strerror if isinstance(error, OSError) else type(error).__name__
            found, hint = f"a damaged file, or none of PyTorch's ({reason})", None
        raise BadFile(path, found, _EXPECTED, hint=hint) from error
    while name := next((name for name in _WRAPPERS if _is_mapping(content, name)), None):
        content = content[name]
    if not isinstance(content, Mapping):
        raise BadFile(path, f"a {type(content).__name__}", _EXPECTED)
    return {key: _array(path, key, value) for key, value in content.items()}


def _verified(path: Path) -> BinaryIO:
    """The file, verified by the checksums of its zip members, which PyTorch ignores.

    Files from before PyTorch 1.6 are no archives and have no checksums.
    """
    data = path.read_bytes()
    if not data.startswith(b"PK"):
        return io.BytesIO(data)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in archives.read_members(io.BytesIO(data), path, _EXPECTED).items():
            archive.writestr(name, content)
    packed.seek(0)
    return packed


_EXPECTED = "a state dict, {name: tensor}"
_CONVERT = (
    "No code was run. If you trust the file, load it where its code is installed, and save "
    "only model.state_dict()."
)


def _is_mapping(content: Any, name: str) -> bool:
    return isinstance(content, Mapping) and isinstance(content.get(name), Mapping)


def _array(path: Path, key: Any, value: Any) -> np.ndarray:
    try:
        if not isinstance(key, str):
            raise TypeError
        return value.detach().numpy()
    except (AttributeError, TypeError, RuntimeError) as error:  # no tensor, or no dtype of numpy
        kind = getattr(value, "dtype", type(value).__name__)
        expected = "only tensors, of dtypes that numpy has"
        raise BadFile(path, f"{key!r}: {kind}", expected) from error
