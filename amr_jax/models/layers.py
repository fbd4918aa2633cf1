"""Layers of the encoder and the decoders.

Numbers follow the field's published code: pre-LayerNorm with epsilon 1e-5, exact GELU, one fused
projection for query, key and value. Parameters are float32; `dtype` is the dtype of the matrix
products; the statistics of LayerNorm and the softmax are always float32.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from amr_jax.models import product
from amr_jax.models.attention import attend
from amr_jax.ops import rotary

# Published code calls this distribution truncated, but cuts at ±2, a hundred standard deviations
# away. (jax's truncated_normal would cut at two standard deviations, and rescale.)
embedding_init = nn.initializers.normal(0.02)


def dense(features: int, dtype: Any, name: str, precision: Any = None, **init: Any) -> nn.Dense:
    """A linear layer; `init` replaces a Xavier-uniform kernel and zero bias.

    `precision` is that of `jax.lax.dot`.
    """
    init = {"kernel_init": nn.initializers.xavier_uniform()} | init
    return nn.Dense(
        features,
        dtype=dtype,
        precision=precision,
        promote_dtype=product.keep_kernel,
        dot_general=product.dot_general,
        name=name,
        **init,
    )


def torch_init(inputs: int) -> dict[str, Any]:
    """For `dense`, the default of PyTorch: kernel and bias uniform within 1/√(inputs)."""

    def within(key, shape, dtype):
        return jax.random.uniform(key, shape, dtype, -(inputs**-0.5), inputs**-0.5)

    return {"kernel_init": within, "bias_init": within}


def layer_norm(dtype: Any, name: str) -> nn.LayerNorm:
    """LayerNorm over the last axis, its variance by the two-pass formula."""
    return nn.LayerNorm(epsilon=1e-5, dtype=dtype, use_fast_variance=False, name=name)


class GridEmbedding(nn.Module):
    """Learned position embeddings of times × joints: the sum of a time and a joint embedding."""

    num_times: int
    num_joints: int
    width: int

    @nn.compact
    def __call__(self, ids: jax.Array | None = None) -> jax.Array:
        """Embeddings of all N positions, (N, D), or of `ids` (B, K), (B, K, D); float32."""
        time = self.param("time", embedding_init, (self.num_times, self.width))
        joint = self.param("joint", embedding_init, (self.num_joints, self.width))
        if ids is None:
            return (time[:, None] + joint).reshape(-1, self.width)
        return _look_up(time, ids // self.num_joints) + _look_up(joint, ids % self.num_joints)


class JointEmbedding(nn.Module):
    """Learned embeddings of joints alone, for tokens whose time is rotary."""

    num_joints: int
    width: int

    @nn.compact
    def __call__(self, ids: jax.Array) -> jax.Array:
        """Embeddings of the positions `ids`, time · V + joint: (B, K) -> (B, K, D) float32."""
        joint = self.param("joint", embedding_init, (self.num_joints, self.width))
        return _look_up(joint, ids % self.num_joints)


def _look_up(table: jax.Array, rows: jax.Array) -> jax.Array:
    # A product with one-hot rows equals indexing, and its gradient is also a product. The gradient
    # of indexing is a scatter-add, whose order is not fixed on GPUs.
    one_hot = jax.nn.one_hot(rows, table.shape[0])
    return product.dot_general(one_hot, table, None, jax.lax.Precision.HIGHEST)


def between_branches(residual_dtype: str, dtype: Any) -> Any:
    """The dtype that `config.encoder.residual_dtype` names; `dtype` is that of the blocks."""
    return jnp.float32 if residual_dtype == "float32" else dtype


class SelfAttention(nn.Module):
    """Multi-head self-attention with biases, (B, N, D) -> (B, N, D).

    `attended` (B, N) bool tells the tokens that are attended to; None: all. `angles` (B or 1, N,
    width of a head / 2) turn queries and keys (`ops.rotary`); None: they are as they are.
    """

    num_heads: int
    dtype: Any
    attention_kernel: str

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        attended: jax.Array | None = None,
        angles: jax.Array | None = None,
    ) -> jax.Array:
        width = x.shape[-1]
        qkv = dense(3 * width, self.dtype, "qkv")(x)
        qkv = qkv.reshape(*x.shape[:-1], 3, self.num_heads, width // self.num_heads)
        q, k, v = (qkv[..., i, :, :] for i in range(3))
        if angles is not None:
            q, k = rotary.turn(q, angles), rotary.turn(k, angles)
        mixed = attend(q, k, v, self.attention_kernel, attended)
        return dense(width, self.dtype, "proj")(mixed.reshape(x.shape))


class CrossAttention(nn.Module):
    """Multi-head attention of queries (B, Q, D) to `context` (B, K, D) as keys and values."""

    num_heads: int
    dtype: Any
    attention_kernel: str

    @nn.compact
    def __call__(self, x: jax.Array, context: jax.Array) -> jax.Array:
        width = x.shape[-1]
        heads = (self.num_heads, width // self.num_heads)
        q = dense(width, self.dtype, "q")(x).reshape(*x.shape[:-1], *heads)
        kv = dense(2 * width, self.dtype, "kv")(context)
        kv = kv.reshape(*context.shape[:-1], 2, *heads)
        mixed = attend(q, kv[..., 0, :, :], kv[..., 1, :, :], self.attention_kernel)
        return dense(width, self.dtype, "proj")(mixed.reshape(x.shape))


def _gelu(x: jax.Array) -> jax.Array:
    # As PyTorch computes it. `nn.gelu` takes the complement of erf, with two branches for every
    # value, which XLA for CPUs computes both, and again in the backward pass.
    wide = x.astype(jnp.float32)
    return (wide * (0.5 + 0.5 * jax.lax.erf(wide * 0.5**0.5))).astype(x.dtype)


class Mlp(nn.Module):
    """Two linear layers with an exact (erf) GELU between, (…, D) -> (…, D)."""

    hidden: int
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        # Recompute the derivative in the backward pass. XLA would otherwise store one or two more
        # arrays of the hidden width, and on accelerators memory traffic costs more.
        hidden = jax.checkpoint(_gelu)(dense(self.hidden, self.dtype, "fc1")(x))
        return dense(x.shape[-1], self.dtype, "fc2")(hidden)


class SwiGlu(nn.Module):
    """A gated MLP (GLU Variants Improve Transformer), (…, D) -> (…, D): (silu(x·A) ⊙ x·B)·C."""

    hidden: int
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        # Recomputed in the backward pass, as in `Mlp`.
        gated = jax.checkpoint(lambda gate, value: nn.silu(gate) * value)
        gate, value = jnp.split(dense(2 * self.hidden, self.dtype, "fc1")(x), 2, axis=-1)
        return dense(x.shape[-1], self.dtype, "fc2")(gated(gate, value))


def make_mlp(kind: str, width: int, ratio: float, dtype: Any) -> nn.Module:
    """The MLP of a block of this width: `gelu` or `swiglu`.

    The hidden width is ratio · width. SwiGLU, whose first layer is twice as wide as its hidden
    one, takes two thirds of that, rounded up to a multiple of 8: about as many parameters.
    """
    hidden = int(width * ratio)
    if kind == "swiglu":
        return SwiGlu(-(-2 * hidden // 24) * 8, dtype, name="mlp")
    return Mlp(hidden, dtype, name="mlp")


class Block(nn.Module):
    """A pre-norm transformer block, (B, N, D) -> (B, N, D).

    Attributes:
      num_heads: of the attention. mlp, mlp_ratio: see `make_mlp`.
      attention: `self`; `cross` (to `context`); `cross+self`, the former, then the latter.
      drop_path: probability that a body skips a branch in training (stochastic depth).
      dtype: of the branches. residual_dtype: of the tokens that they are added to, and returned.
      attention_kernel: see `attention.attend`; `attended`, `angles`: see `SelfAttention`.
    """

    num_heads: int
    mlp: str
    mlp_ratio: float
    attention: str
    drop_path: float
    dtype: Any
    residual_dtype: Any
    attention_kernel: str

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        context: jax.Array | None = None,
        train: bool = False,
        attended: jax.Array | None = None,
        angles: jax.Array | None = None,
    ) -> jax.Array:
        shape = x.shape
        # Tokens are rows between the branches. XLA for GPUs may lay (B, N, D) out with the bodies
        # innermost; in AMR's decoder, whose queries start equal for all bodies, it does, and then
        # splits each LayerNorm and its gradient into many kernels (measured by `benchmark aot`).
        x = x.reshape(-1, shape[-1]).astype(self.residual_dtype)

        def residual(x, branch):
            drop = nn.Dropout(self.drop_path, broadcast_dims=(1, 2), rng_collection="drop_path")
            branch = drop(branch.reshape(shape), deterministic=not train)
            return x + branch.reshape(x.shape)

        def norm(name):
            return layer_norm(self.dtype, name)(x)

        how = (self.num_heads, self.dtype, self.attention_kernel)
        if "cross" in self.attention:
            cross = CrossAttention(*how, name="cross_attn")
            x = residual(x, cross(norm("norm_cross").reshape(shape), context))
        if "self" in self.attention:
            attention = SelfAttention(*how, name="attn")
            x = residual(x, attention(norm("norm1").reshape(shape), attended, angles))
        mlp = make_mlp(self.mlp, shape[-1], self.mlp_ratio, self.dtype)
        return residual(x, mlp(norm("norm2"))).reshape(shape)
