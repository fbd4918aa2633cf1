"""The base of all methods: an encoder, the views that it learns from, and its momentum copy."""

import inspect
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from amr_jax.models.encoder import Encoder
from amr_jax.ops import augment, patches

# A view of B bodies, (B, T, V, C), or a tuple of such views; presence, (B, T, V), alike.
Views = jax.Array | tuple[jax.Array, ...]

# In the collection `average`, beside `encoder`: copies of further sub-modules, by their names.
HEADS = "heads"


def half_cosine(start: float, end: float, progress: jax.Array) -> jax.Array:
    """A value along half a cosine, as the momentum m of average ← m · average + (1 − m) · encoder.

    Args:
      start, end: its values at the first and at the last step.
      progress: share of the training that is done, 0 to 1.
    """
    return end - (end - start) * 0.5 * (1 + jnp.cos(jnp.pi * progress))


class Method(nn.Module):
    """Base of the methods; each defines `__call__(clips, present, …) -> (loss, metrics)`.

    The contract is in `amr_jax.methods`.

    Attributes:
      encoder: the shared encoder; it does not depend on anything below.
      input_stream: the stream of the clips (`augment.to_stream`), for methods that transform them.
        Masks, targets and motion energy are computed from that stream.
      dtype: compute dtype of what follows the encoder.
      attention_kernel: see `models.attention`.
    """

    encoder: Encoder
    input_stream: str
    dtype: Any
    attention_kernel: str

    # Parts of the contract that few methods change; not settings.
    streams = ("drop_path",)
    across_bodies = False
    momentum_encoder = False

    @property
    def num_kept(self) -> int:
        """Patches of a body that stay visible."""
        return self.encoder.num_patches

    @property
    def num_predicted(self) -> int:
        """Patches of a body that are predicted."""
        return 0

    @property
    def view_frames(self) -> int | tuple[int, ...]:
        """Frames of the view of a clip; of several views, the frames of each."""
        return self.encoder.num_frames

    def views(
        self, key: jax.Array, clip: jax.Array, length: jax.Array, **view: Any
    ) -> tuple[Views, Views]:
        """Draws the views of one sequence, and their presence; computed without parameters.

        Args:
          clip: (L, M, V, C), of which `length` frames are real.
          view: the other arguments of `augment.train_view`, by the config.

        Returns:
          (T, M, V, C) and (T, M, V); of several views, tuples. T is as `view_frames`.
        """
        return augment.train_view(key, clip, length, **view)

    def coordinates(self, clips: jax.Array) -> jax.Array:
        """The clips (..., C) without the channel of confidence, if there is one."""
        return clips[..., : self.encoder.num_coordinates]

    def present_patches(self, present: jax.Array) -> jax.Array:
        """Which patches show the body in at least one frame: (B, T, V) -> (B, N) bool."""
        here = patches.patchify(present[..., None], self.encoder.patch_len)
        return here.any((-2, -1)).reshape(len(present), -1)

    def momentum_tokens(self, clips: jax.Array, **how: Any) -> Any:
        """What the momentum copy of the encoder makes of clips, as `Encoder`; no gradient."""
        # The copy starts equal to the encoder, and does not exist yet during `init`.
        params = (
            self.encoder.variables["params"]
            if self.is_initializing()
            else self.variables["average"]["encoder"]
        )
        copy = self.encoder.clone(parent=None, name=None)
        return jax.lax.stop_gradient(copy.apply({"params": params}, clips, **how))

    def momentum_heads(self, *names: str) -> Mapping[str, Any]:
        """Parameters of the momentum copies of sub-modules, which exist by now; no gradient."""

        def first() -> Mapping[str, Any]:
            params = self.variables["params"]
            return {name: jax.tree.map(jnp.copy, params[name]) for name in names}

        return jax.lax.stop_gradient(self.variable("average", HEADS, first).value)


def takes(method: Method, argument: str) -> bool:
    """Whether the method wants this argument, see `amr_jax.methods`."""
    return argument in inspect.signature(type(method).__call__).parameters


def view_shapes(method: Method, bodies: int) -> tuple[Any, Any]:
    """Shapes of the views of so many bodies and of their presence, as `Method.views` forms them."""
    encoder = method.encoder

    def of(frames: int) -> tuple[jax.ShapeDtypeStruct, jax.ShapeDtypeStruct]:
        shape = bodies, frames, encoder.num_joints
        clips = jax.ShapeDtypeStruct((*shape, encoder.channels), jnp.float32)
        return clips, jax.ShapeDtypeStruct(shape, bool)

    frames = method.view_frames
    return of(frames) if isinstance(frames, int) else tuple(zip(*map(of, frames), strict=True))
