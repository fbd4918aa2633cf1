"""Scaled dot-product attention by one of four implementations.

`xla` is the plain formula, and runs everywhere. `blocks` is for CPUs (`attention_blocks`). `cudnn`
is NVIDIA's fused kernel: it stores no attention matrix, and takes 16-bit inputs on a GPU only.
`fused` is a kernel of our own for TPUs (`attention_fused`): the matrices stay on the chip.
"""

import jax
import jax.numpy as jnp

from amr_jax.errors import UserError
from amr_jax.models import attention_blocks, attention_fused

# cuDNN trains only on lengths that are multiples of this.
_CUDNN_MULTIPLE = 8


def for_backend() -> str:
    """The implementation for the devices of this process.

    On CPUs `blocks`: faster, and without the matrices' memory (docs/benchmarks.md). Elsewhere
    `xla`. `cudnn` has to be asked for, as it refuses some methods and data sets; so has `fused`,
    whose time nobody has measured on a TPU.
    """
    return "blocks" if jax.default_backend() == "cpu" else "xla"


def attend(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    kernel: str = "xla",
    attended: jax.Array | None = None,
) -> jax.Array:
    """softmax(query · keyᵀ / √width) · value, the softmax in float32.

    Args:
      query: (B, Q, heads, width of a head).
      key, value: (B, K, heads, width of a head).
      kernel: `xla`, `blocks`, `cudnn` or `fused`; `auto`: `for_backend`.
      attended: (B, K) bool, the keys that count; None: all.

    Returns:
      (B, Q, heads, width of a head).

    Raises:
      UserError: cudnn, and not all keys count.
    """
    kernel = for_backend() if kernel == "auto" else kernel
    if kernel == "cudnn" and attended is not None:
        raise UserError(
            "config.attention_kernel = 'cudnn': expected 'xla' for this method on data sets that "
            "lack joints of others."
        )
    if kernel == "cudnn":
        return attend_padded(query, key, value, _CUDNN_MULTIPLE, kernel)
    if kernel == "fused":
        return attention_fused.attend(query, key, value, attended)
    if kernel == "blocks":
        return attention_blocks.attend(query, key, value, attended)
    mask = None if attended is None else attended[:, None, None, :]
    return jax.nn.dot_product_attention(query, key, value, mask=mask, implementation=kernel)


def attend_padded(
    query: jax.Array, key: jax.Array, value: jax.Array, multiple: int, kernel: str
) -> jax.Array:
    """`attend` with queries and keys padded to a multiple of `multiple`; padding is masked out."""
    bodies, num_queries, num_keys = query.shape[0], query.shape[1], key.shape[1]

    def pad(x):
        return jnp.pad(x, ((0, 0), (0, -x.shape[1] % multiple), (0, 0), (0, 0)))

    out = jax.nn.dot_product_attention(
        pad(query),
        pad(key),
        pad(value),
        query_seq_lengths=jnp.full(bodies, num_queries, jnp.int32),
        key_value_seq_lengths=jnp.full(bodies, num_keys, jnp.int32),
        implementation=kernel,
    )
    return out[:, :num_queries]
