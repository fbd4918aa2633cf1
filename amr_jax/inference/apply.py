"""A trained model applied to sequences as captured: pure functions, for `predict` and `export`.

Bodies go through the encoder one after the other (`lax.map`), not side by side. A sequence's result
is then the same, bit for bit, whatever else is in the batch and wherever it stands in it; a body
that is not there costs nothing; and a clip of hundreds of tokens keeps a device busy as it is.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from amr_jax.models.encoder import Encoder
from amr_jax.models.heads import LinearHead
from amr_jax.ops import augment, normalise


@dataclasses.dataclass(frozen=True)
class Input:
    """What a model was trained on, and how a sequence becomes its encoder's input.

    Attributes:
      layout: name of the joints' layout.
      joints: the joints' names, in order.
      parents: the joint at the other end of each one's bone, as `layouts.Layout.parents`.
      channels: what the numbers of a joint are, one of `layouts.CHANNELS`.
      centre: the joint of the first actor that is moved to the origin, or several, whose mean is;
        None: none is.
      max_frames: L, sequences are cut there.
      num_bodies: M, the most bodies of a sequence.
      test_fraction: of the frames, the centre crop that is resized to the encoder's T.
      stream: what the encoder sees of the joints: one of `augment.STREAMS`.
      scale: makes metres of the coordinates in files of a user's own (`arrays.Form`); here they
        are metres already.
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
    scale: float = 1.0


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
    """All that it takes to apply a trained model; `model_file` keeps it in a file.

    Attributes:
      encoder: the architecture, with the dtype that it was judged in.
      head: the classifier, one of `models.heads.HEADS`; None: an encoder alone.
      input: what goes in.
      bodies: how bodies become a sequence: 'packed' or 'all', see `models.heads.POOLINGS`.
      class_names: in the order of the logits; empty without a head.
      variables: 'params' and 'batch_stats', in each the trees 'encoder' and 'head' as far as there
        is one; float32 on the host.
      provenance: where it comes from (method, data set, step, versions …), for people.
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
        """(L, M, V, C): a sequence, zero-padded."""
        size = self.input
        return size.max_frames, size.num_bodies, len(size.joints), self.encoder.channels


def features(
    model: Model, variables: Mapping[str, Any], joints: jax.Array, length: jax.Array
) -> jax.Array:
    """Sequences -> means of the encoder's tokens over time, joints and bodies.

    Args:
      model: the architecture; static under jit.
      variables: its own, or others of the same shapes.
      joints: (b, L, M, V, C) as captured, in metres, or in an image in any unit; an
        absent body is zeros.
      length: (b,) int32, the frames of each that count; what stands behind them is not looked at. A
        sequence of length 0 is nobody's and costs nothing.

    Returns:
      (b, D) float32.
    """
    return _pooled(model, variables, joints, length, LinearHead.of_body)


def logits(
    model: Model, variables: Mapping[str, Any], joints: jax.Array, length: jax.Array
) -> jax.Array:
    """Sequences -> what the head makes of them, (b, K) float32; arguments as in `features`."""
    pooled = _pooled(model, variables, joints, length, model.head.of_body)
    head = {name: trees["head"] for name, trees in variables.items() if "head" in trees}
    return jax.lax.map(lambda x: model.head.apply(head, x[None])[0], pooled)


def _pooled(
    model: Model,
    variables: Mapping[str, Any],
    joints: jax.Array,
    length: jax.Array,
    of_body: Callable[[jax.Array], jax.Array],
) -> jax.Array:
    """(b, F): what a head sees of each sequence, the mean over its bodies."""
    encoder, size = model.encoder, model.input
    params = {"params": variables["params"]["encoder"]}

    def encode(clip):  # (T, V, C)
        return of_body(encoder.apply(params, clip[None]))[0]

    shape = (encoder.num_frames, encoder.num_joints, encoder.channels)
    if model.bodies == "all":  # as in evaluation: an absent body is encoded as zeros, and counts
        absent = encode(jnp.zeros(shape, jnp.float32))
    else:
        absent = jnp.zeros_like(jax.eval_shape(encode, jax.ShapeDtypeStruct(shape, jnp.float32)))

    def sequence(joints, length):
        real = jnp.arange(size.max_frames) < length
        joints = jnp.where(real[:, None, None, None], joints, 0)
        joints = normalise.normalise(joints, size.centre, size.channels)

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

        here = joints.any(axis=(0, 2, 3))
        each = jax.lax.map(lambda one: body(*one), (joints.swapaxes(0, 1), here))
        counted = len(here) if model.bodies == "all" else jnp.maximum(here.sum(), 1)
        return each.sum(axis=0) / counted

    return jax.lax.map(lambda one: sequence(*one), (joints, length))
