"""The encoder that every method shares; downstream tasks load nothing else."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from amr_jax.config import base, settings
from amr_jax.models import layers
from amr_jax.models.settings import compute_dtype, construct
from amr_jax.ops import masking, patches, rotary

_ROTARY_BASE = 10_000.0


class Encoder(nn.Module):
    """A transformer over the visible patches of one body.

    Attributes:
      num_frames: T. num_joints: V. channels: C. patch_len: l, frames of a patch.
      confidence: whether the last channel is the confidence of a detected joint. The encoder sees
        it; methods neither predict it nor count it as motion.
      position: what is known of a patch's place: 'grid', learned embeddings of time and joint; or
        'rotary', a learned embedding of the joint, and time by `ops.rotary`. A rotary encoder takes
        clips of any number of patches in time; `num_frames` is then the usual one.
      class_token, registers: a learned token and a number of others that go through the blocks in
        front of the patches. Rotary time does not turn them.
      mask_token: whether there is a learned token that replaces patches (`hidden`).
      width: D. depth: number of blocks. num_heads, mlp, mlp_ratio: of every block.
      drop_path: stochastic depth of the last block; it grows linearly from 0 at the first.
      patch_init: initial values of the patch embedding: 'xavier', as of all other linear layers, or
        'torch' (`layers.torch_init`), as published.
      residual_dtype: of the tokens between branches: 'float32', or 'compute', that of the blocks.
      dtype: compute dtype of the blocks; parameters are float32.
      attention_kernel: see `attention.attend`.
    """

    num_frames: int
    num_joints: int
    channels: int
    confidence: bool
    patch_len: int
    position: str
    class_token: bool
    registers: int
    mask_token: bool
    width: int
    depth: int
    num_heads: int
    mlp: str
    mlp_ratio: float
    drop_path: float
    patch_init: str
    residual_dtype: str
    dtype: Any
    attention_kernel: str

    @property
    def num_coordinates(self) -> int:
        """Number of channels that are coordinates; they come first."""
        return self.channels - self.confidence

    @property
    def num_times(self) -> int:
        """T_e = T / l, patches along time."""
        return self.num_frames // self.patch_len

    @property
    def num_patches(self) -> int:
        """N = T_e · V."""
        return self.num_times * self.num_joints

    @property
    def num_leading(self) -> int:
        """Tokens in front of the patches: the class token, then the registers."""
        return self.class_token + self.registers

    def __call__(
        self,
        clips: jax.Array,
        ids_keep: jax.Array | None = None,
        train: bool = False,
        joints: jax.Array | None = None,
    ) -> jax.Array:
        """The tokens of the visible patches, (B, K, D); arguments and errors as of `encode`."""
        return self.encode(clips, ids_keep, train, joints)[0]

    @nn.compact
    def encode(
        self,
        clips: jax.Array,
        ids_keep: jax.Array | None = None,
        train: bool = False,
        joints: jax.Array | None = None,
        hidden: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array | None]:
        """Encodes the visible patches.

        Args:
          clips: (B, T, V, C).
          ids_keep: (B, K) int32, visible patches as time · V + joint; None: all N, in that order.
          train: switches stochastic depth on: needs the random stream `drop_path` where
            `self.drop_path` is positive.
          joints: (B, V) bool, with all patches: the joints whose tokens are attended to; None: all.
          hidden: (B, N) bool, with all patches: those that the mask token replaces, before their
            positions are added; None: none of them.

        Returns:
          Tokens of the patches (B, K, D), and the class token (B, D) or None; of the compute dtype,
          after the final LayerNorm.

        Raises:
          ValueError: clips of another shape than the encoder was made for; `hidden` without a mask
            token.
        """
        num_times = self._times_of(clips)
        x = patches.flatten(patches.patchify(clips, self.patch_len))
        if ids_keep is not None:
            # Select before the linear layer: the same result for a tenth of the work.
            x = jnp.take_along_axis(x, ids_keep[..., None], axis=1)

        position, angles = self._positions(ids_keep, num_times)
        # In float32: a dozen values per patch cost nothing, and 16 bits would lose the motion, as
        # 3 m from the camera they resolve 16 mm.
        exact = jax.lax.Precision.HIGHEST
        init = layers.torch_init(x.shape[-1]) if self.patch_init == "torch" else {}
        x = layers.dense(self.width, jnp.float32, "patch_embed", exact, **init)(x)
        x = self._replaced(x, hidden)
        x = x + position
        attended = None if joints is None else masking.of_all_times(joints, num_times)
        x, attended, angles = self._led(x, attended, angles)
        for i in range(self.depth):
            block = layers.Block(
                self.num_heads,
                self.mlp,
                self.mlp_ratio,
                attention="self",
                drop_path=self.drop_path * i / max(self.depth - 1, 1),
                dtype=self.dtype,
                residual_dtype=layers.between_branches(self.residual_dtype, self.dtype),
                attention_kernel=self.attention_kernel,
                name=f"block_{i}",
            )
            x = block(x, train=train, attended=attended, angles=angles)
        x = layers.layer_norm(self.dtype, "norm")(x)
        return x[:, self.num_leading :], x[:, 0] if self.class_token else None

    def _times_of(self, clips: jax.Array) -> int:
        """The patches along time of clips, whose shape is checked."""
        expected = (self.num_frames, self.num_joints, self.channels)
        if self.position == "rotary" and clips.ndim == 4 and clips.shape[1] % self.patch_len == 0:
            expected = (clips.shape[1], *expected[1:])
        if clips.ndim != 4 or clips.shape[1:] != expected:
            multiple = f", or T a multiple of {self.patch_len}" * (self.position == "rotary")
            raise ValueError(
                f"clips of shape {clips.shape}; this encoder expects (bodies, T, V, C) = "
                f"(…, {', '.join(map(str, expected))}){multiple}."
            )
        return expected[0] // self.patch_len

    def _positions(
        self, ids: jax.Array | None, num_times: int
    ) -> tuple[jax.Array, jax.Array | None]:
        """Embeddings that are added to the patches, and the angles of their times or None."""
        if self.position == "grid":
            grid = layers.GridEmbedding(num_times, self.num_joints, self.width, name="position")
            return grid(ids), None
        ids = jnp.arange(num_times * self.num_joints)[None] if ids is None else ids
        embedding = layers.JointEmbedding(self.num_joints, self.width, name="position")
        head = self.width // self.num_heads
        return embedding(ids), rotary.angles(ids // self.num_joints, head, _ROTARY_BASE)

    def _replaced(self, x: jax.Array, hidden: jax.Array | None) -> jax.Array:
        """Embedded patches (B, N, D), the mask token in place of those `hidden`."""
        if not self.mask_token:
            if hidden is not None:
                raise ValueError("hidden patches need an encoder with mask_token = True.")
            return x
        token = self.param("mask_token", layers.embedding_init, (self.width,))
        return x if hidden is None else jnp.where(hidden[..., None], token, x)

    def _led(
        self, x: jax.Array, attended: jax.Array | None, angles: jax.Array | None
    ) -> tuple[jax.Array, jax.Array | None, jax.Array | None]:
        """Puts class token and registers in front; they are attended to and not turned."""
        count = self.num_leading
        if not count:
            return x, attended, angles
        shape = (count, self.width)
        leading = self.param("leading_tokens", layers.embedding_init, shape)
        x = jnp.concatenate([jnp.broadcast_to(leading, (len(x), *shape)), x], axis=1)
        if attended is not None:
            attended = jnp.pad(attended, ((0, 0), (count, 0)), constant_values=True)
        if angles is not None:
            angles = jnp.pad(angles, ((0, 0), (count, 0), (0, 0)))
        return x, attended, angles


def build_encoder(section: Mapping[str, Any], dtype: str, attention_kernel: str) -> Encoder:
    """The encoder of the section `encoder` of a config.

    Args:
      section: fields of `Encoder`. Missing ones, as in configs of earlier versions, take their
        defaults.
      dtype, attention_kernel: as in the config.

    Raises:
      UserError: an unknown key or dtype.
    """
    sizes = settings.defaults(base.ENCODER).to_dict() | dict(section)
    return construct(
        Encoder,
        "config.encoder",
        sizes,
        dtype=compute_dtype(dtype),
        attention_kernel=attention_kernel,
    )
