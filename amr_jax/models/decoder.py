"""From encoded visible patches to predicted ones: by queries (AMR), or by mask tokens (the others).

Parameters have one name each wherever they stand: `embed`, `position`, `queries` or `mask_token`,
`block_0` …, `norm`, `pred`.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from amr_jax.models import layers


class Decoder(nn.Module):
    """What the decoders share.

    Attributes:
      num_times, num_joints: the grid of patches; of the predicted ones for `QueryDecoder`.
      values: numbers that are predicted for each patch.
      width, depth, num_heads, mlp_ratio: of the blocks.
      dtype, attention_kernel: see `Encoder`.
    """

    num_times: int
    num_joints: int
    values: int
    width: int = 256
    depth: int = 5
    num_heads: int = 8
    mlp_ratio: float = 4.0
    dtype: Any = jnp.float32
    attention_kernel: str = "xla"

    def embedded(self, tokens: jax.Array) -> jax.Array:
        """Encoded tokens (B, K, D) at the decoder's width."""
        return layers.dense(self.width, self.dtype, "embed")(tokens)

    def positions(self, ids: jax.Array | None = None) -> jax.Array:
        """Positions of the grid, (N, width), or of `ids`, (B, K, width)."""
        grid = layers.GridEmbedding(self.num_times, self.num_joints, self.width, name="position")
        return grid(ids).astype(self.dtype)

    def hidden_token(self) -> jax.Array:
        """(width,), what stands in the place of a hidden patch."""
        token = self.param("mask_token", layers.embedding_init, (self.width,))
        return token.astype(self.dtype)

    def mask_tokens_inserted(self, tokens: jax.Array, ids_keep: jax.Array) -> jax.Array:
        """(B, K, D) and ids (B, K) -> (B, N, width): all patches in their places, with positions.

        A visible patch is its embedded token, a hidden one the mask token.
        """
        visible = self.embedded(tokens)
        num_patches = self.num_times * self.num_joints
        hidden = jnp.broadcast_to(self.hidden_token(), (num_patches, self.width))

        def insert(visible, ids):
            return hidden.at[ids].set(visible, unique_indices=True)

        return jax.vmap(insert)(visible, ids_keep) + self.positions()

    def block(self, i: int, attention: str = "self") -> layers.Block:
        """Block number `i`."""
        return layers.Block(
            self.num_heads,
            self.mlp_ratio,
            attention=attention,
            dtype=self.dtype,
            attention_kernel=self.attention_kernel,
            name=f"block_{i}",
        )

    def predict(self, x: jax.Array, suffix: str = "") -> jax.Array:
        """(B, Q, width) -> (B, Q, values): the last LayerNorm and a linear layer."""
        x = layers.layer_norm(self.dtype, f"norm{suffix}")(x)
        return layers.dense(self.values, self.dtype, f"pred{suffix}")(x)


class QueryDecoder(Decoder):
    """One learnable query per patch to predict; queries attend to the visible patches alone.

    How many patches it predicts, and how large they are, is independent of the encoder. Paper,
    "Decoder Decoupling".

    Attributes, beside those of `Decoder`:
      self_attention: adds self-attention among queries after the cross-attention (MCA+MSA).
    """

    self_attention: bool = False

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
    """Mask tokens in the places of hidden patches; self-attention over visible and hidden (MAE).

    Attributes, beside those of `Decoder`:
      pool: tokens are averaged over so many patches in time before the blocks ("downsampling",
        the paper's Baseline 2); the predictions are of `num_times / pool` × `num_joints` patches.
    """

    pool: int = 1

    @nn.compact
    def __call__(
        self, tokens: jax.Array, ids_keep: jax.Array, ids_decode: jax.Array | None = None
    ) -> jax.Array:
        """Predicts patches from the visible ones.

        Args:
          tokens: visible tokens (B, K, D).
          ids_keep: their ids (B, K).
          ids_decode: (B, M) hidden patches that alone are decoded beside the visible ones
            ("decoder masking", the paper's Baseline 1); None: all.

        Returns:
          (B, N / pool, values), or (B, M, values) of `ids_decode`.
        """
        if ids_decode is None:
            x = pooled(self.mask_tokens_inserted(tokens, ids_keep), self.num_joints, self.pool)
        else:
            hidden = jnp.broadcast_to(self.hidden_token(), (*ids_decode.shape, self.width))
            x = jnp.concatenate([hidden, self.embedded(tokens)], axis=1)
            x = x + self.positions(jnp.concatenate([ids_decode, ids_keep], axis=1))
        for i in range(self.depth):
            x = self.block(i)(x)
        if ids_decode is not None:
            x = x[:, : ids_decode.shape[1]]
        return self.predict(x)


class PoolingDecoder(Decoder):
    """Predicts at coarser and coarser levels, averaging in time on the way (GFP).

    Attributes, beside those of `Decoder`:
      depth: blocks of each level.
      levels: patches of a level's cell in time, each dividing the next; the last level that is
        predicted is the whole body, one token.
    """

    levels: tuple[int, ...] = (5, 10, 30)

    @nn.compact
    def __call__(self, tokens: jax.Array, ids_keep: jax.Array) -> list[jax.Array]:
        """Visible tokens (B, K, D), ids (B, K) -> for each level (B, N / level, values), (B, 1, …).

        The order is that of `levels`, the whole body last.
        """
        x = self.mask_tokens_inserted(tokens, ids_keep)
        predictions, cell = [], 1
        for i, level in enumerate((*self.levels, None)):
            if level is None:
                x = x.mean(1, keepdims=True)
            else:
                x, cell = pooled(x, self.num_joints, level // cell), level
            for j in range(self.depth):
                x = self.block(i * self.depth + j)(x)
            predictions.append(self.predict(x, f"_{i}"))
        return predictions


def pooled(x: jax.Array, num_joints: int, times: int) -> jax.Array:
    """(B, T_e · V, D), ordered by time and joint -> (B, T_e/times · V, D): means over `times`."""
    bodies, tokens, width = x.shape
    x = x.reshape(bodies, tokens // (num_joints * times), times, num_joints, width).mean(2)
    return x.reshape(bodies, tokens // times, width)
