"""Writes and reads a trained model as one file, `model.safetensors`.

The tensors are the parameters and running statistics in float32, named by their path in the tree:
'encoder/block_0/attn/qkv/kernel', 'head/dense/bias', 'batch_stats/head/norm/mean'. A JSON text in
the header, under 'amr_jax', holds everything else: architecture, classes, joints, how a clip
becomes the encoder's input, where the model comes from, and a digest of all this and the tensors.

A file may come from anywhere. Reading it runs no code of the file, checks sizes against the size of
the file before it allocates memory, and refuses everything that does not fit.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy
from flax.traverse_util import flatten_dict, unflatten_dict

from amr_jax.errors import BadFile
from amr_jax.inference import model_text
from amr_jax.inference.apply import Model
from amr_jax.run import workdir

NAME = "model.safetensors"

_KEY = "amr_jax"  # the JSON text in the header
_STATISTICS = "batch_stats"
_DTYPE = "F32"  # every tensor's, in the words of safetensors
_MAX_HEADER = 2**22  # bytes; the header of a model of a hundred blocks is a hundredth of it


def write(path: os.PathLike | str, model: Model) -> None:
    """Writes a model; a file that is there is replaced only when the new one is complete.

    Raises:
      UserError: the file cannot be written.
    """
    flat = _flat(model.variables)
    tensors = {name: np.ascontiguousarray(flat[name], np.float32) for name in sorted(flat)}
    text = model_text.of(model)
    text["digest"] = _digest(text, tensors)
    content = safetensors.numpy.save(tensors, {_KEY: json.dumps(text)})
    workdir.write(path, content)


def read(path: os.PathLike | str) -> Model:
    """Reads a model.

    Raises:
      BadFile: the file is absent, not safetensors, truncated, changed, of another version of the
        format, or its tensors are not those of its description.
    """
    path = Path(os.path.expanduser(path))
    _check_header_size(path)
    try:
        with safetensors.safe_open(path, "np") as file:
            text = _text(path, file.metadata() or {})
            tensors = _tensors(path, file)
    except (safetensors.SafetensorError, OSError) as error:
        raise _damaged(path, str(error)) from error
    # First of all checks of the content, so that damage in transfer is reported as such.
    if text.pop("digest", None) != _digest(text, tensors):
        raise _damaged(path, "its content has changed since it was written")
    try:
        model = model_text.read(text, number_of_tensors=len(tensors))
    except (KeyError, TypeError, ValueError, AttributeError) as error:  # UserError is one
        found = f"a description that does not fit ({error})"
        raise BadFile(path, found, "one that the format allows") from error
    _check_tensors(path, tensors, model)
    return dataclasses.replace(model, variables=_tree(tensors))


def is_one(path: os.PathLike | str) -> bool:
    """Whether a file is safetensors with the header of this module, whatever else is in it."""
    try:
        with safetensors.safe_open(os.path.expanduser(path), "np") as file:
            return _KEY in (file.metadata() or {})
    except (safetensors.SafetensorError, OSError):
        return False


def _damaged(path: Path, reason: str) -> BadFile:
    return BadFile(
        path, f"a damaged file ({reason})", "a model as written by amr_jax", hint="Fetch it again."
    )


def _check_header_size(path: Path) -> None:
    """Refuses a header that is larger than the file, or unreasonably large, before it is parsed."""
    try:
        with open(path, "rb") as file:
            size = int.from_bytes(file.read(8), "little")
            available = os.fstat(file.fileno()).st_size - 8
    except OSError as error:
        raise BadFile(path, error.strerror or str(error), "a file that can be read") from error
    if available < 0 or size > available:
        raise _damaged(path, f"it ends before its header of {size:,} bytes does")
    if size > _MAX_HEADER:
        raise BadFile(path, f"a header of {size:,} bytes", f"at most {_MAX_HEADER:,}")


def _text(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    """The JSON text, if it has the version of this module."""
    if _KEY not in metadata:
        found = f"no {_KEY!r} in the header"
        raise BadFile(path, found, f"a {NAME} of `amr_jax.evaluate` or `amr_jax.export`")
    try:
        text = json.loads(metadata[_KEY])
        json.dumps(text, ensure_ascii=False).encode()  # JSON may hold half of a surrogate pair
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"no JSON under {_KEY!r} in its header") from error
    version = text.get("version") if isinstance(text, dict) else None
    if version != model_text.VERSION:
        raise BadFile(
            path,
            f"version {version!r} of the format",
            f"version {model_text.VERSION}",
            hint="Read it with the version of amr_jax that wrote it (in its header).",
        )
    return text


def _tensors(path: Path, file: safetensors.safe_open) -> dict[str, np.ndarray]:
    """All tensors; together they are no larger than the file."""
    for name in file.keys():  # noqa: SIM118
        view = file.get_slice(name)
        if view.get_dtype() != _DTYPE:
            found = f"{tuple(view.get_shape())} {view.get_dtype()}"
            raise BadFile(path, f"tensor {name!r}: {found}", f"{_DTYPE} in all tensors")
    return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def _check_tensors(path: Path, tensors: Mapping[str, np.ndarray], model: Model) -> None:
    """Compares names and shapes with those of the model, and looks for values not finite."""
    found = {name: f"{tensor.shape} {_DTYPE}" for name, tensor in tensors.items()}
    expected = {name: f"{leaf.shape} {_DTYPE}" for name, leaf in _shapes(path, model).items()}
    for name in sorted(expected.keys() | found.keys()):
        if found.get(name) != expected.get(name):
            raise BadFile(
                path,
                f"tensor {name!r}: {found.get(name, 'absent')}",
                expected.get(name, "no such tensor"),
            )
        if not np.isfinite(tensors[name]).all():
            raise BadFile(
                path, f"tensor {name!r} with numbers that are not finite", "finite numbers"
            )


def _shapes(path: Path, model: Model) -> dict[str, jax.ShapeDtypeStruct]:
    """Names and shapes of the model's tensors; computes nothing and allocates no array."""
    encoder, head, key = model.encoder, model.head, jax.random.key(0)

    def init(clips):
        variables = {"encoder": encoder.init(key, clips)}
        if head is not None:
            tokens = encoder.apply(variables["encoder"], clips)
            variables["head"] = head.init(key, head.of_body(tokens))
        return {
            kind: {part: trees[kind] for part, trees in variables.items() if kind in trees}
            for kind in ("params", _STATISTICS)
        }

    shape = (1, encoder.num_frames, encoder.num_joints, encoder.channels)
    try:
        return _flat(jax.eval_shape(init, jax.ShapeDtypeStruct(shape, jnp.float32)))
    except Exception as error:  # JAX and Flax raise many kinds for sizes that do not fit together
        raise BadFile(
            path, f"settings of no model ({type(error).__name__})", "sizes that fit together"
        ) from error


def _flat(variables: Mapping[str, Any]) -> dict[str, Any]:
    """`Model.variables` by the names in the file."""
    return flatten_dict({**variables["params"], _STATISTICS: variables[_STATISTICS]}, sep="/")


def _tree(tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The inverse of `_flat`."""
    tree = unflatten_dict(dict(tensors), sep="/")
    statistics = tree.pop(_STATISTICS, {})
    return {"params": tree, _STATISTICS: statistics}


def _digest(text: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> str:
    """A digest of everything that the model's outputs depend on."""
    digest = hashlib.sha256(json.dumps(text, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].data)
    return digest.hexdigest()
