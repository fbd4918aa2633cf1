"""Heads between encoder and loss of methods that compare views; pre-training throws them away.

Initial values and dtypes are those of `layers`; what is normalised is float32.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from amr_jax.models import layers
from amr_jax.ops import presence
from amr_jax.ops.unit_length import unit_length


class Prototypes(nn.Module):
    """A linear layer without bias, the weights of each prototype of length 1.

    (..., D) -> (..., K) float32: for features of length 1, the cosine with each prototype.
    """

    number: int
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param("kernel", layers.embedding_init, (x.shape[-1], self.number))
        kernel = unit_length(kernel.T).T.astype(self.dtype)
        # Divided by small temperatures: cosines rounded to 16 bits would be too coarse.
        return jnp.matmul(x.astype(self.dtype), kernel, preferred_element_type=jnp.float32)


class DinoHead(nn.Module):
    """DINO's head: three linear layers with GELU between, length 1, then cosines with prototypes.

    Attributes:
      hidden, out: features of the first two layers and of the third.
      num_prototypes: K.
      dtype: compute dtype of the products.
    """

    hidden: int
    out: int
    num_prototypes: int
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """(..., D) -> logits (..., K) float32."""
        for name, width in (("fc1", self.hidden), ("fc2", self.hidden)):
            x = nn.gelu(layers.dense(width, self.dtype, name)(x), approximate=False)
        x = unit_length(layers.dense(self.out, self.dtype, "fc3")(x))
        return Prototypes(self.num_prototypes, self.dtype, name="prototypes")(x)


class BatchStandardised(nn.Module):
    """Batch normalisation by the counted rows of this batch, always; a learned scale and bias.

    There are no running statistics: the heads here are only applied in training, and so keep no
    state that copies and checkpoints would have to carry. Under jit over a mesh, the statistics are
    those of the whole batch.
    """

    @nn.compact
    def __call__(self, x: jax.Array, counted: jax.Array) -> jax.Array:
        """(..., D), counted (...) bool -> (..., D) float32; statistics over all leading axes."""
        x, real, rows = x.astype(jnp.float32), counted[..., None], tuple(range(x.ndim - 1))
        scale = self.param("scale", nn.initializers.ones, x.shape[-1:])
        bias = self.param("bias", nn.initializers.zeros, x.shape[-1:])
        deviation = jax.lax.rsqrt(presence.variance(x, real, rows) + 1e-5)  # torch's epsilon
        return (x - presence.mean(x, real, rows)) * deviation * scale + bias


class Projector(nn.Module):
    """Linear layers with batch normalisation and ReLU between, (..., D) -> (..., widths[-1]).

    Only the last layer has a bias: normalisation cancels the others, so that their gradients are
    rounding noise, of which Adam would make full steps.

    Attributes:
      widths: features after each linear layer.
      dtype: compute dtype of the products.
      last_bias: whether the last layer has a bias; a loss of differences and of centred features
        cancels that one, too.
    """

    widths: tuple[int, ...]
    dtype: Any
    last_bias: bool = True

    @nn.compact
    def __call__(self, x: jax.Array, counted: jax.Array) -> jax.Array:
        """Projects rows (..., D) of which `counted` (...) bool are real; float32."""
        *inner, last = self.widths
        for i, width in enumerate(inner, 1):
            x = layers.dense(width, self.dtype, f"fc{i}", use_bias=False)(x)
            x = nn.relu(BatchStandardised(name=f"norm{i}")(x, counted))
        name = f"fc{len(self.widths)}"
        x = layers.dense(last, self.dtype, name, use_bias=self.last_bias)(x)
        return x.astype(jnp.float32)
