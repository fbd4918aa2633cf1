"""Applies a trained model to sequences as captured: pure functions, for `predict` and `export`.

The encoder computes one body at a time (`lax.map`), not a batch of bodies, so that a sequence's
result is the same, bit for bit, in any batch and at any place in it, and absent bodies cost
nothing. A clip has hundreds of tokens, enough to keep a device busy.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from amr_jax.models.encoder import Encoder
from amr_jax.models.heads import READOUTS
from amr_jax.models.settings import matmul_precision
from amr_jax.ops import augment, normalise
from amr_jax.ops.body_frame import BodyFrame


@dataclasses.dataclass(frozen=True)
class Input:
    """The sequences that a model was trained on, and how one becomes the encoder's input.

    Attributes:
      layout: name of the joints' layout.
      joints: names of the V joints, in order.
      parents: as `layouts.Layout.parents`.
      channels: the numbers of a joint, one of `layouts.CHANNELS`.
      centre: see `normalise.move_origin`; None: the origin stays.
      max_frames: L, sequences are cut at this many frames.
      num_bodies: M, the largest number of bodies in a sequence.
      test_fraction: the fraction of the frames in the centre crop, which is resized to T frames.
      stream: see `augment.to_stream`.
      scale, scores: how the numbers in files of custom data become metres and confidences, see
        `arrays.Form`.
    """

    layout: str
    joints: tuple[str, ...]
    parents: tuple[int, ...]
    channels: str
    centre: int | tuple[int, ...] | None
    max_frames: int
    num_bodies: int
    test_fraction: float
    stream: str = "joint"
    body_frame: str = "none"
    scale: float = 1.0
    scores: float | str | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
    """A trained model, with all that is needed to apply it; `model_file` writes and reads it.

    Attributes:
      encoder: the architecture, with the dtype that it was evaluated in.
      head: the classifier, one of `models.heads.HEADS`; None: only an encoder.
      input: see `Input`.
      bodies: which bodies of a sequence count, see `evaluation.packing.bodies_of`.
      class_names: in the order of the logits; empty without a head.
      variables: {'params': …, 'batch_stats': …}, each with a tree for 'encoder' and 'head' if it
        has any; float32 on the host.
      provenance: where the model comes from (method, data set, step, versions …), for people.
    """

    encoder: Encoder
    head: nn.Module | None
    input: Input
    bodies: str
    class_names: tuple[str, ...]
    variables: Mapping[str, Any]
    provenance: Mapping[str, Any]

    @property
    def sequence_shape(self) -> tuple[int, int, int, int]:
        """The shape (L, M, V, C) of a zero-padded sequence."""
        size = self.input
        return size.max_frames, size.num_bodies, len(size.joints), self.encoder.channels


def features(
    model: Model,
    variables: Mapping[str, Any],
    joints: jax.Array,
    length: jax.Array,
    readout: str = "mean",
) -> jax.Array:
    """A read-out of the encoder's tokens, averaged over bodies.

    Args:
      model: the architecture; static under jit.
      variables: those of the model, or others of their shapes.
      joints: (b, L, M, V, C) as captured, in metres, or in an image in any unit; absent bodies are
        zeros.
      length: (b,) int32, the number of real frames; later frames are ignored, and so are frames in
        which nobody is. A sequence of length 0 is padding, and costs nothing.
      readout: one of `heads.READOUTS`; 'mean': over time and joints.

    Returns:
      (b, F) float32.
    """
    with matmul_precision(model.encoder.dtype, "highest"):
        return _pooled(model, variables, joints, length, _of_body(model, readout))


def num_features(model: Model, readout: str = "mean") -> int:
    """F, the features of a read-out."""
    tokens = jax.ShapeDtypeStruct((1, model.encoder.num_patches, model.encoder.width), jnp.float32)
    return jax.eval_shape(_of_body(model, readout), tokens).shape[1]


def _of_body(model: Model, readout: str) -> Callable[[jax.Array], jax.Array]:
    return lambda tokens: READOUTS[readout](tokens, model.encoder.num_joints)


def logits(
    model: Model, variables: Mapping[str, Any], joints: jax.Array, length: jax.Array
) -> jax.Array:
    """The head's outputs for sequences, (b, K) float32; arguments as in `features`."""
    head = {name: trees["head"] for name, trees in variables.items() if "head" in trees}
    with matmul_precision(model.encoder.dtype, "highest"):
        pooled = _pooled(model, variables, joints, length, model.head.of_body)
        return jax.lax.map(lambda x: model.head.apply(head, x[None])[0], pooled)


def _pooled(
    model: Model,
    variables: Mapping[str, Any],
    joints: jax.Array,
    length: jax.Array,
    of_body: Callable[[jax.Array], jax.Array],
) -> jax.Array:
    """The head's input for each sequence, (b, F): the mean of `of_body` over its bodies."""
    encoder, size = model.encoder, model.input
    turned = size.body_frame != "none"
    frame = BodyFrame.of(size.body_frame, size.joints) if turned else None
    params = {"params": variables["params"]["encoder"]}

    def encode(clip):  # (T, V, C)
        return of_body(encoder.apply(params, clip[None]))[0]

    shape = (encoder.num_frames, encoder.num_joints, encoder.channels)
    if model.bodies == "packed":
        absent = jnp.zeros_like(jax.eval_shape(encode, jax.ShapeDtypeStruct(shape, jnp.float32)))
    else:  # an absent body is encoded as zeros, and counts, or is a copy of the first
        absent = encode(jnp.zeros(shape, jnp.float32))

    def sequence(joints, length):
        real = jnp.arange(size.max_frames) < length
        joints = jnp.where(real[:, None, None, None], joints, 0)
        # Frames without anybody are not data; they are none of `length` after this.
        found = normalise.found(joints, size.channels)
        occupied = found.any(axis=(1, 2))
        joints = joints[jnp.argsort(~occupied, stable=True)]
        length = occupied.sum()
        joints = normalise.normalise(joints, size.centre, size.channels, frame)

        def body(clip, here):
            def view():
                return augment.test_view(
                    clip,
                    length,
                    num_frames=encoder.num_frames,
                    fraction=size.test_fraction,
                    stream=size.stream,
                    parents=size.parents,
                    confidence=encoder.confidence,
                )

            return jax.lax.cond(here, lambda: encode(view()), lambda: absent)

        here = found.any(axis=(0, 2))
        each = jax.lax.map(lambda one: body(*one), (joints.swapaxes(0, 1), here))
        if model.bodies == "packed":
            return each.sum(axis=0) / jnp.maximum(here.sum(), 1)
        if model.bodies == "repeat":
            each = jnp.where(here[:, None], each, each[here.argmax()])
        return each.sum(axis=0) / len(here)

    return jax.lax.map(lambda one: sequence(*one), (joints, length))
