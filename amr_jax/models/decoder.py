"""Decoders: from encoded visible patches to predicted ones, by queries (AMR) or mask tokens.

All of them name their parameters alike: `embed`, `position`, `queries` or `mask_token`, `block_0`
…, `norm`, `pred`. N is the number of patches of a body, K that of the visible ones.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from amr_jax.models import layers
from amr_jax.ops import masking, presence


class Decoder(nn.Module):
    """Base of the decoders.

    Attributes:
      num_times, num_joints: size of the grid of patches (`QueryDecoder`: of predicted patches).
      values: numbers to predict for each patch.
      width, depth, num_heads, mlp_ratio: of the blocks.
      dtype, residual_dtype, attention_kernel: see `Encoder`.
    """

    num_times: int
    num_joints: int
    values: int
    width: int
    depth: int
    num_heads: int
    mlp_ratio: float
    dtype: Any
    residual_dtype: str
    attention_kernel: str

    def embedded(self, tokens: jax.Array) -> jax.Array:
        """Encoded tokens, (B, K, D) -> (B, K, width)."""
        return layers.dense(self.width, self.dtype, "embed")(tokens)

    def positions(self, ids: jax.Array | None = None) -> jax.Array:
        """Position embeddings of the grid, (N, width), or of `ids` (B, K), (B, K, width)."""
        grid = layers.GridEmbedding(self.num_times, self.num_joints, self.width, name="position")
        return grid(ids).astype(self.dtype)

    def hidden_token(self) -> jax.Array:
        """The token that stands for a hidden patch, (width,)."""
        token = self.param("mask_token", layers.embedding_init, (self.width,))
        return token.astype(self.dtype)

    def mask_tokens_inserted(self, tokens: jax.Array, ids_keep: jax.Array) -> jax.Array:
        """Visible tokens (B, K, D) and their ids (B, K) -> tokens of all patches (B, N, width).

        Hidden patches have the mask token; positions are added.
        """
        visible = self.embedded(tokens)
        num_patches = self.num_times * self.num_joints
        hidden = jnp.broadcast_to(self.hidden_token(), (num_patches, self.width))

        def insert(visible, ids):
            return hidden.at[ids].set(visible, unique_indices=True)

        return jax.vmap(insert)(visible, ids_keep) + self.positions()

    def block(self, i: int, attention: str = "self") -> layers.Block:
        """The transformer block number `i`."""
        return layers.Block(
            self.num_heads,
            "gelu",
            self.mlp_ratio,
            attention=attention,
            drop_path=0.0,
            dtype=self.dtype,
            residual_dtype=layers.between_branches(self.residual_dtype, self.dtype),
            attention_kernel=self.attention_kernel,
            name=f"block_{i}",
        )

    def attended(self, joints: jax.Array | None, pool: int) -> jax.Array | None:
        """Which tokens are of `joints` (B, V), (B, N / pool), each of `pool` patches in time."""
        return None if joints is None else masking.of_all_times(joints, self.num_times // pool)

    def predict(self, x: jax.Array, suffix: str = "") -> jax.Array:
        """The final LayerNorm and a linear layer, (B, Q, width) -> (B, Q, values)."""
        x = layers.layer_norm(self.dtype, f"norm{suffix}")(x)
        return layers.dense(self.values, self.dtype, f"pred{suffix}")(x)


class QueryDecoder(Decoder):
    """One learnable query for each patch to predict, attending only to the visible patches.

    Number and size of the predicted patches are independent of the encoder. Paper, "Decoder
    Decoupling".

    Attributes, in addition to those of `Decoder`:
      self_attention: adds self-attention among queries after the cross-attention (MCA+MSA).
    """

    self_attention: bool

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Visible tokens (B, K, D) -> predictions (B, num_times · num_joints, values)."""
        num_queries = self.num_times * self.num_joints
        queries = self.param("queries", layers.embedding_init, (num_queries, self.width))
        x = queries.astype(self.dtype) + self.positions()
        x = jnp.broadcast_to(x, (tokens.shape[0], *x.shape))
        context = self.embedded(tokens)
        for i in range(self.depth):
            x = self.block(i, "cross+self" if self.self_attention else "cross")(x, context)
        return self.predict(x)


class SelfAttentionDecoder(Decoder):
    """Mask tokens for the hidden patches, self-attention over all patches (MAE).

    Attributes, in addition to those of `Decoder`:
      pool: number of patches in time over which tokens are averaged before the blocks
        ("downsampling", Baseline 2 of the paper). Predicts N / pool patches.
    """

    pool: int

    @nn.compact
    def __call__(
        self,
        tokens: jax.Array,
        ids_keep: jax.Array,
        ids_decode: jax.Array | None = None,
        joints: jax.Array | None = None,
    ) -> jax.Array:
        """Predicts patches from the visible ones.

        Args:
          tokens: visible tokens (B, K, D).
          ids_keep: their ids (B, K).
          ids_decode: ids (B, M) of the hidden patches to decode ("decoder masking", Baseline 1 of
            the paper); None: all.
          joints: (B, V) bool, with all patches: the joints whose tokens are attended to; None: all.

        Returns:
          (B, N / pool, values); with `ids_decode` (B, M, values).
        """
        if ids_decode is None:
            x = pooled(self.mask_tokens_inserted(tokens, ids_keep), self.num_joints, self.pool)
        else:
            hidden = jnp.broadcast_to(self.hidden_token(), (*ids_decode.shape, self.width))
            x = jnp.concatenate([hidden, self.embedded(tokens)], axis=1)
            x = x + self.positions(jnp.concatenate([ids_decode, ids_keep], axis=1))
        for i in range(self.depth):
            x = self.block(i)(x, attended=self.attended(joints, self.pool))
        if ids_decode is not None:
            x = x[:, : ids_decode.shape[1]]
        return self.predict(x)


class PoolingDecoder(Decoder):
    """Predicts at coarser and coarser levels, averaging tokens in time between them (GFP).

    Attributes, in addition to those of `Decoder`:
      depth: blocks of each level.
      levels: patches in time of one cell of each level; each divides the next. A last level, the
        whole body as one token, follows.
    """

    levels: tuple[int, ...]

    @nn.compact
    def __call__(
        self, tokens: jax.Array, ids_keep: jax.Array, joints: jax.Array | None = None
    ) -> list[jax.Array]:
        """Visible tokens (B, K, D), ids (B, K) -> predictions (B, N / level, values) of each level.

        The whole body, (B, 1, values), comes last. `joints` as in `SelfAttentionDecoder`.
        """
        x = self.mask_tokens_inserted(tokens, ids_keep)
        predictions, cell, attended = [], 1, None
        for i, level in enumerate((*self.levels, None)):
            if level is not None:
                x, cell = pooled(x, self.num_joints, level // cell), level
                attended = self.attended(joints, level)
            elif attended is None:
                x = x.mean(1, keepdims=True)
            else:
                x, attended = presence.mean(x, attended[..., None], 1, keepdims=True), None
            for j in range(self.depth):
                x = self.block(i * self.depth + j)(x, attended=attended)
            predictions.append(self.predict(x, f"_{i}"))
        return predictions


def pooled(x: jax.Array, num_joints: int, times: int) -> jax.Array:
    """Means over `times` patches in time: tokens (B, T_e · V, D) -> (B, T_e/times · V, D)."""
    bodies, tokens, width = x.shape
    x = x.reshape(bodies, tokens // (num_joints * times), times, num_joints, width).mean(2)
    return x.reshape(bodies, tokens // times, width)
