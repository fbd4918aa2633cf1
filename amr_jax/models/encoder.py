"""The encoder that every method shares; downstream tasks load nothing else."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from amr_jax.config import base, settings
from amr_jax.models import layers
from amr_jax.models.settings import compute_dtype, construct
from amr_jax.ops import masking, patches


class Encoder(nn.Module):
    """A transformer over the visible patches of one body.

    Attributes:
      num_frames: T. num_joints: V. channels: C. patch_len: l, frames of a patch.
      confidence: whether the last channel is the confidence of a detected joint. The encoder sees
        it; methods neither predict it nor count it as motion.
      width: D. depth: number of blocks. num_heads, mlp_ratio: of every block.
      drop_path: stochastic depth of the last block; it grows linearly from 0 at the first.
      patch_init: initial values of the patch embedding: 'xavier', as of all other linear layers, or
        'torch' (`layers.torch_init`), as published.
      dtype: compute dtype of the blocks; parameters are float32.
      attention_kernel: see `attention.attend`.
    """

    num_frames: int
    num_joints: int
    channels: int
    confidence: bool
    patch_len: int
    width: int
    depth: int
    num_heads: int
    mlp_ratio: float
    drop_path: float
    patch_init: str
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

    @nn.compact
    def __call__(
        self,
        clips: jax.Array,
        ids_keep: jax.Array | None = None,
        train: bool = False,
        joints: jax.Array | None = None,
    ) -> jax.Array:
        """Encodes the visible patches.

        Args:
          clips: (B, T, V, C).
          ids_keep: (B, K) int32, visible patches as time · V + joint; None: all N, in that order.
          train: switches stochastic depth on: needs the random stream `drop_path` where
            `self.drop_path` is positive.
          joints: (B, V) bool, with all patches: the joints whose tokens are attended to; None: all.

        Returns:
          Tokens (B, K, D) of the compute dtype, after the final LayerNorm.

        Raises:
          ValueError: clips of another shape than the encoder was made for.
        """
        expected = (self.num_frames, self.num_joints, self.channels)
        if clips.ndim != 4 or clips.shape[1:] != expected:
            raise ValueError(
                f"clips of shape {clips.shape}; this encoder expects (bodies, T, V, C) = "
                f"(…, {', '.join(map(str, expected))})."
            )
        x = patches.flatten(patches.patchify(clips, self.patch_len))
        if ids_keep is not None:
            # Select before the linear layer: the same result for a tenth of the work.
            x = jnp.take_along_axis(x, ids_keep[..., None], axis=1)

        position = layers.GridEmbedding(
            self.num_times, self.num_joints, self.width, name="position"
        )(ids_keep)
        # In float32: a dozen values per patch cost nothing, and 16 bits would lose the motion, as
        # 3 m from the camera they resolve 16 mm.
        exact = jax.lax.Precision.HIGHEST
        init = layers.torch_init(x.shape[-1]) if self.patch_init == "torch" else {}
        x = layers.dense(self.width, jnp.float32, "patch_embed", exact, **init)(x)
        x = (x + position).astype(self.dtype)
        attended = None if joints is None else masking.of_all_times(joints, self.num_times)
        for i in range(self.depth):
            block = layers.Block(
                self.num_heads,
                self.mlp_ratio,
                attention="self",
                drop_path=self.drop_path * i / max(self.depth - 1, 1),
                dtype=self.dtype,
                attention_kernel=self.attention_kernel,
                name=f"block_{i}",
            )
            x = block(x, train=train, attended=attended)
        return layers.layer_norm(self.dtype, "norm")(x)


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
