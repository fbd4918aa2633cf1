"""The parts that encoder and decoders are made of.

Numbers follow the field's published code: pre-LayerNorm with epsilon 1e-5, exact GELU, one fused
projection for query, key and value. Parameters are float32; `dtype` is what the matrix products run
in; statistics of LayerNorm and the softmax are float32 always.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from amr_jax.models.attention import attend

# Published code calls it truncated, but cuts at ±2, a hundred standard deviations away: a plain
# normal. (jax's truncated_normal would cut at two standard deviations, and rescale.)
embedding_init = nn.initializers.normal(0.02)


def dense(features: int, dtype: Any, name: str, precision: Any = None) -> nn.Dense:
    """A linear layer: Xavier-uniform kernel, zero bias; `precision` as in `jax.lax.dot`."""
    kernel_init = nn.initializers.xavier_uniform()
    return nn.Dense(features, dtype=dtype, kernel_init=kernel_init, precision=precision, name=name)


def layer_norm(dtype: Any, name: str) -> nn.LayerNorm:
    """LayerNorm over the last axis, its variance by the two-pass formula."""
    return nn.LayerNorm(epsilon=1e-5, dtype=dtype, use_fast_variance=False, name=name)


class GridEmbedding(nn.Module):
    """Learned positions of a grid of times × joints: the sum of a time and a joint embedding."""

    num_times: int
    num_joints: int
    width: int

    @nn.compact
    def __call__(self, ids: jax.Array | None = None) -> jax.Array:
        """All positions, (N, D), or those of `ids` (B, K), as (B, K, D); float32."""
        time = self.param("time", embedding_init, (self.num_times, self.width))
        joint = self.param("joint", embedding_init, (self.num_joints, self.width))
        if ids is None:
            return (time[:, None] + joint).reshape(-1, self.width)

        def look_up(table, rows):
            # A product with one-hot rows picks the same values as indexing, but its gradient is a
            # product too: that of indexing is a scatter-add, whose order GPUs do not fix.
            one_hot = jax.nn.one_hot(rows, table.shape[0])
            return jnp.matmul(one_hot, table, precision=jax.lax.Precision.HIGHEST)

        return look_up(time, ids // self.num_joints) + look_up(joint, ids % self.num_joints)


class SelfAttention(nn.Module):
    """Multi-head self-attention with biases, (B, N, D) -> (B, N, D)."""

    num_heads: int
    dtype: Any = jnp.float32
    attention_kernel: str = "xla"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        width = x.shape[-1]
        qkv = dense(3 * width, self.dtype, "qkv")(x)
        qkv = qkv.reshape(*x.shape[:-1], 3, self.num_heads, width // self.num_heads)
        mixed = attend(
            qkv[..., 0, :, :], qkv[..., 1, :, :], qkv[..., 2, :, :], self.attention_kernel
        )
        return dense(width, self.dtype, "proj")(mixed.reshape(x.shape))


class CrossAttention(nn.Module):
    """Multi-head attention of queries (B, Q, D) to `context` (B, K, D) as keys and values."""

    num_heads: int
    dtype: Any = jnp.float32
    attention_kernel: str = "xla"

    @nn.compact
    def __call__(self, x: jax.Array, context: jax.Array) -> jax.Array:
        width = x.shape[-1]
        heads = (self.num_heads, width // self.num_heads)
        q = dense(width, self.dtype, "q")(x).reshape(*x.shape[:-1], *heads)
        kv = dense(2 * width, self.dtype, "kv")(context)
        kv = kv.reshape(*context.shape[:-1], 2, *heads)
        mixed = attend(q, kv[..., 0, :, :], kv[..., 1, :, :], self.attention_kernel)
        return dense(width, self.dtype, "proj")(mixed.reshape(x.shape))


class Mlp(nn.Module):
    """Two linear layers with an exact (erf) GELU between, (…, D) -> (…, D)."""

    hidden: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        # Its derivative is computed anew from what went in. Otherwise XLA keeps parts of it for the
        # way back, one or two more arrays of the hidden width: on accelerators, bytes cost more.
        gelu = jax.checkpoint(lambda hidden: nn.gelu(hidden, approximate=False))
        hidden = gelu(dense(self.hidden, self.dtype, "fc1")(x))
        return dense(x.shape[-1], self.dtype, "fc2")(hidden)


class Block(nn.Module):
    """A pre-norm transformer block, (B, N, D) -> (B, N, D).

    Attributes:
      num_heads, mlp_ratio: as named.
      attention: `self`; `cross` (to `context`); `cross+self`: the former, then the latter.
      drop_path: probability with which a body skips a branch in training (stochastic depth).
      attention_kernel: see `attention.attend`.
    """

    num_heads: int
    mlp_ratio: float = 4.0
    attention: str = "self"
    drop_path: float = 0.0
    dtype: Any = jnp.float32
    attention_kernel: str = "xla"

    @nn.compact
    def __call__(
        self, x: jax.Array, context: jax.Array | None = None, deterministic: bool = True
    ) -> jax.Array:
        shape = x.shape
        # As rows, between the branches. Of (B, N, D), XLA for GPUs is free to lay the tokens out
        # with the bodies inside; it does so in AMR's decoder, whose queries start equal for all
        # bodies, and then cuts each LayerNorm and its gradient into many kernels (`benchmark aot`).
        x = x.reshape(-1, shape[-1])

        def residual(x, branch):
            drop = nn.Dropout(self.drop_path, broadcast_dims=(1, 2), rng_collection="drop_path")
            branch = drop(branch.reshape(shape), deterministic=deterministic)
            return x + branch.reshape(x.shape)

        def norm(name):
            return layer_norm(self.dtype, name)(x)

        how = (self.num_heads, self.dtype, self.attention_kernel)
        if "cross" in self.attention:
            cross = CrossAttention(*how, name="cross_attn")
            x = residual(x, cross(norm("norm_cross").reshape(shape), context))
        if "self" in self.attention:
            attention = SelfAttention(*how, name="attn")
            x = residual(x, attention(norm("norm1").reshape(shape)))
        hidden = int(shape[-1] * self.mlp_ratio)
        return residual(x, Mlp(hidden, self.dtype, name="mlp")(norm("norm2"))).reshape(shape)
