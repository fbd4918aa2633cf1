"""The description of a trained model in its file: architecture, classes, joints, input.

What is read is checked: the file may come from anywhere.
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from amr_jax.config import base, settings
from amr_jax.data.readers import scores
from amr_jax.evaluation import packing
from amr_jax.inference.apply import Input, Model
from amr_jax.models import heads
from amr_jax.models.encoder import Encoder, build_encoder
from amr_jax.models.settings import construct
from amr_jax.ops.body_frame import BodyFrame
from amr_jax.skeleton import layouts

VERSION = 1

# Fields of `Input` since 0.3.0; not written at their defaults, so that 0.2.0 reads the file.
_LATER = ("scores", "body_frame")
# Fields of `Encoder` since 0.3.0, likewise.
_LATER_OF_ENCODER = ("position", "class_token", "registers", "mask_token", "mlp", "residual_dtype")
# Bounds of what a model allocates when it runs, which the file's tensors do not bound.
_MAX_SIZE = 2**20  # any number in the encoder's settings
_MAX_PATCHES = 2**16  # patches of a clip
_MAX_VALUES = 2**26  # values of a padded sequence


def of(model: Model) -> dict[str, Any]:
    """The JSON text without its digest; `read` is the inverse."""
    head = None
    if model.head is not None:
        (kind,) = (name for name, cls in heads.HEADS.items() if type(model.head) is cls)
        head = {"kind": kind, "settings": _settings(model.head)}
    later = {key: getattr(Input, key) for key in _LATER}  # the defaults
    size = dataclasses.asdict(model.input)
    text = {
        "version": VERSION,
        "encoder": {
            key: value
            for key, value in _settings(model.encoder).items()
            if key not in _LATER_OF_ENCODER or value != base.ENCODER[key].default
        },
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


def read(text: Mapping[str, Any], number_of_tensors: int) -> Model:
    """The model that a text describes, without variables.

    Raises:
      KeyError, TypeError, ValueError, AttributeError: it is not as `of` writes it, or describes
        what cannot be or is too large.
    """
    size = {k: tuple(v) if isinstance(v, list) else v for k, v in text["input"].items()}
    head = text["head"]
    model = Model(
        encoder=_encoder(text, number_of_tensors),
        head=head and construct(heads.HEADS[head["kind"]], "head", head["settings"]),
        input=Input(**size),
        bodies=text["bodies"],
        class_names=tuple(text["class_names"]),
        variables={},
        provenance=dict(text["provenance"]),
    )
    _check(model)
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
