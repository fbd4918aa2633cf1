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
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from amr_jax.config import base, settings
from amr_jax.data.readers import scores
from amr_jax.errors import BadFile
from amr_jax.evaluation import packing
from amr_jax.inference.apply import Input, Model
from amr_jax.models import heads
from amr_jax.models.encoder import Encoder, build_encoder
from amr_jax.models.settings import construct
from amr_jax.ops.body_frame import BodyFrame
from amr_jax.run import workdir
from amr_jax.skeleton import layouts

NAME = "model.safetensors"
VERSION = 1

# Fields of `Input` since 0.3.0; not written at their defaults, so that 0.2.0 reads the file.
_LATER = ("scores", "body_frame")

_KEY = "amr_jax"  # the JSON text in the header
_STATISTICS = "batch_stats"
_DTYPE = "F32"  # every tensor's, in the words of safetensors
_MAX_HEADER = 2**22  # bytes; the header of a model of a hundred blocks is a hundredth of it
# Bounds of what a model allocates when it runs, which the file's tensors do not bound.
_MAX_SIZE = 2**20  # any number in the encoder's settings
_MAX_PATCHES = 2**16  # patches of a clip
_MAX_VALUES = 2**26  # values of a padded sequence


def write(path: os.PathLike | str, model: Model) -> None:
    """Writes a model; a file that is there is replaced only when the new one is complete.

    Raises:
      UserError: the file cannot be written.
    """
    flat = _flat(model.variables)
    tensors = {name: np.ascontiguousarray(flat[name], np.float32) for name in sorted(flat)}
    text = _describe(model)
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
    model = _model(path, text, number_of_tensors=len(tensors))
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
    if version != VERSION:
        raise BadFile(
            path,
            f"version {version!r} of the format",
            f"version {VERSION}",
            hint="Read it with the version of amr_jax that wrote it (in its header).",
        )
    return text


def _describe(model: Model) -> dict[str, Any]:
    """The JSON text without its digest; `_model` is the inverse."""
    head = None
    if model.head is not None:
        (kind,) = (name for name, cls in heads.HEADS.items() if type(model.head) is cls)
        head = {"kind": kind, "settings": _settings(model.head)}
    later = {key: getattr(Input, key) for key in _LATER}  # the defaults
    size = dataclasses.asdict(model.input)
    text = {
        "version": VERSION,
        "encoder": _settings(model.encoder),
        "dtype": jnp.dtype(model.encoder.dtype).name,
        "head": head,
        "input": {key: value for key, value in size.items() if value != later.get(key, ...)},
        "bodies": model.bodies,
        "class_names": model.class_names,
        "provenance": dict(model.provenance),
    }
    return json.loads(json.dumps(text))  # tuples become lists, as in the file


def _settings(module: nn.Module) -> dict[str, Any]:
    left_out = {"parent", "name", "dtype", "attention_kernel", "patch_init"}
    fields = {field.name: field.default for field in dataclasses.fields(module)}
    # Fields with a default are later than 0.2.0, which reads files without them.
    return {
        name: getattr(module, name)
        for name, default in fields.items()
        if name not in left_out and getattr(module, name) != default
    }


def _model(path: Path, text: Mapping[str, Any], number_of_tensors: int) -> Model:
    """The model that the text describes, without variables."""
    try:
        size = {k: tuple(v) if isinstance(v, list) else v for k, v in text["input"].items()}
        size, kind = Input(**size), text["head"]
        model = Model(
            encoder=_encoder(text, number_of_tensors),
            head=None
            if kind is None
            else construct(heads.HEADS[kind["kind"]], "head", kind["settings"]),
            input=size,
            bodies=text["bodies"],
            class_names=tuple(text["class_names"]),
            variables={},
            provenance=dict(text["provenance"]),
        )
        _check(model)
    except (KeyError, TypeError, ValueError, AttributeError) as error:  # UserError is one
        raise BadFile(
            path, f"a description that does not fit ({error})", "one that the format allows"
        ) from error
    return model


def _check(model: Model) -> None:
    """Raises `ValueError` for values out of range, or that need unreasonably much memory."""
    size, num_joints = model.input, model.encoder.num_joints
    centre = size.centre if isinstance(size.centre, tuple) else (size.centre,)
    values = model.sequence_shape
    for what, is_right in {
        f"sequences of {values}": all(type(n) is int and n > 0 for n in values)
        and math.prod(values) <= _MAX_VALUES,
        f"{model.encoder.num_patches} patches": model.encoder.num_patches <= _MAX_PATCHES,
        f"joints {size.joints}": len(size.joints) == num_joints
        and all(isinstance(name, str) for name in (size.layout, *size.joints)),
        f"parents {size.parents}": len(size.parents) == num_joints
        and all(type(n) is int and 0 <= n < num_joints for n in size.parents),
        f"channels {size.channels!r}": size.channels in layouts.CHANNELS
        and len(size.channels) == model.encoder.channels
        and size.channels.endswith("c") == model.encoder.confidence,
        f"centre {size.centre!r}": size.centre is None
        or (size.centre != () and all(type(n) is int and 0 <= n < num_joints for n in centre)),
        f"test_fraction {size.test_fraction!r}": 0 < size.test_fraction <= 1,
        f"stream {size.stream!r}": size.stream in base.STREAMS,
        f"body_frame {size.body_frame!r}": size.body_frame == "none"
        or (
            size.body_frame in base.BODY_FRAMES
            and size.channels == "xyz"
            and BodyFrame.of(size.body_frame, size.joints) is not None
        ),
        f"scale {size.scale!r}": 0 < size.scale < math.inf,
        f"scores {size.scores!r}": scores.fit(size.scores, size.channels),
        f"bodies {model.bodies!r}": model.bodies in packing.COUNTED,
        f"class names {model.class_names}": len(model.class_names)
        == (model.head.num_classes if model.head else 0)
        and all(isinstance(name, str) for name in model.class_names),
    }.items():
        _require(is_right, what)


def _encoder(text: Mapping[str, Any], number_of_tensors: int) -> Encoder:
    sizes = text["encoder"]
    # Each block has tensors of its own: this bounds the number of blocks before they are made.
    _require(sizes["depth"] <= number_of_tensors, f"{sizes['depth']} blocks")
    for name, value in sizes.items():  # the check of divisors counts up to them
        _require(not isinstance(value, int) or value <= _MAX_SIZE, f"{name} = {value}")
    sizes = settings.defaults(base.ENCODER).to_dict() | sizes
    settings.check({"encoder": sizes}, {"encoder": base.ENCODER})
    return build_encoder(sizes, text["dtype"], attention_kernel="xla")


def _require(holds: bool, found: str) -> None:
    if not holds:
        raise ValueError(found)


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
