"""From encoded visible patches to predicted ones: by queries (AMR), or by mask tokens (MAE)."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from amr_jax.models import layers


class QueryDecoder(nn.Module):
    """One learnable query per patch to predict; queries attend to the visible patches alone.

    How many patches it predicts, and how large they are, is independent of the encoder. Paper,
    "Decoder Decoupling".

    Attributes:
      num_times, num_joints: the grid of predicted patches (T_e/r × V).
      values: numbers in a predicted patch (r·l·C).
      width, depth, num_heads, mlp_ratio: of the blocks.
      self_attention: adds self-attention among queries after the cross-attention (MCA+MSA).
    """

    num_times: int
    num_joints: int
    values: int
    width: int = 256
    depth: int = 5
    num_heads: int = 8
    mlp_ratio: float = 4.0
    self_attention: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Visible tokens (B, K, D) -> predictions (B, num_times · num_joints, values)."""
        num_queries = self.num_times * self.num_joints
        queries = self.param("queries", layers.embedding_init, (num_queries, self.width))
        position = layers.GridEmbedding(
            self.num_times, self.num_joints, self.width, name="position"
        )()
        x = (queries + position).astype(self.dtype)
        x = jnp.broadcast_to(x, (tokens.shape[0], *x.shape))
        context = layers.dense(self.width, self.dtype, "embed")(tokens)
        for i in range(self.depth):
            x = layers.Block(
                self.num_heads,
                self.mlp_ratio,
                attention="cross+self" if self.self_attention else "cross",
                dtype=self.dtype,
                name=f"block_{i}",
            )(x, context)
        x = layers.layer_norm(self.dtype, "norm")(x)
        return layers.dense(self.values, self.dtype, "pred")(x)


class SelfAttentionDecoder(nn.Module):
    """A mask token in the place of every hidden patch; self-attention over all patches (MAE).

    Attributes:
      num_times, num_joints: the grid of patches (T_e × V).
      values: numbers in a patch (l·C).
      width, depth, num_heads, mlp_ratio: of the blocks.
    """

    num_times: int
    num_joints: int
    values: int
    width: int = 256
    depth: int = 5
    num_heads: int = 8
    mlp_ratio: float = 4.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, tokens: jax.Array, ids_keep: jax.Array) -> jax.Array:
        """Visible tokens (B, K, D) and their ids (B, K) -> predictions (B, N, values)."""
        num_patches = self.num_times * self.num_joints
        mask_token = self.param("mask_token", layers.embedding_init, (self.width,))
        visible = layers.dense(self.width, self.dtype, "embed")(tokens)
        hidden = jnp.broadcast_to(mask_token.astype(self.dtype), (num_patches, self.width))

        def insert(visible, ids):
            return hidden.at[ids].set(visible, unique_indices=True)

        x = jax.vmap(insert)(visible, ids_keep)
        position = layers.GridEmbedding(
            self.num_times, self.num_joints, self.width, name="position"
        )()
        x = x + position.astype(self.dtype)
        for i in range(self.depth):
            x = layers.Block(self.num_heads, self.mlp_ratio, dtype=self.dtype, name=f"block_{i}")(x)
        x = layers.layer_norm(self.dtype, "norm")(x)
        return layers.dense(self.values, self.dtype, "pred")(x)
