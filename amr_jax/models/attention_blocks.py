"""Attention on CPUs: a few heads and bodies at a time, with a backward pass of its own.

XLA for CPUs writes every attention matrix to memory several times, forward and backward. Here a
group's matrices stay in the cache, the backward pass computes them again from the logarithms of the
softmax's sums, and their memory is that of one group. This is FlashAttention (arXiv 2205.14135)
without its tiles: the matrix of one head of one body is the smallest unit.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

# Bytes of a group's attention matrices, which stay in a core's own cache (docs/benchmarks.md).
_GROUP_BYTES = 4e5


class Groups(NamedTuple):
    """How bodies are split: `number` groups of `bodies`, one head in each."""

    number: int
    bodies: int

    @classmethod
    def of(cls, bodies: int, queries: int, keys: int) -> "Groups":
        """The groups of an attention of these sizes."""
        most = max(_GROUP_BYTES / (4 * queries * keys), 1)
        size = max(n for n in range(1, bodies + 1) if bodies % n == 0 and n <= most)
        return cls(bodies // size, size)

    def split(self, x: jax.Array) -> jax.Array:
        """(B, N, heads, d) -> (groups, matrices of a group, N, d).

        A group has every `number`-th body, so that each device keeps its share of every group.
        """
        _, n, heads, width = x.shape
        x = x.reshape(self.bodies, self.number, n, heads, width)
        return x.transpose(3, 1, 0, 2, 4).reshape(-1, self.bodies, n, width)

    def join(self, x: jax.Array, heads: int) -> jax.Array:
        """The inverse of `split`."""
        n, width = x.shape[-2:]
        x = x.reshape(heads, self.number, self.bodies, n, width)
        return x.transpose(2, 1, 3, 0, 4).reshape(-1, n, heads, width)

    def split_keys(self, attended: jax.Array, heads: int) -> jax.Array:
        """(B, K) -> (groups, matrices of a group, 1, K)."""
        return self.split(jnp.repeat(attended[:, None, None], heads, 2))


@jax.custom_vjp
def attend(
    query: jax.Array, key: jax.Array, value: jax.Array, attended: jax.Array | None
) -> jax.Array:
    """softmax(query · keyᵀ / √width) · value, the softmax in float32.

    Args:
      query: (B, Q, heads, width of a head).
      key, value: (B, K, heads, width of a head).
      attended: (B, K) bool, the keys that count; None: all.

    Returns:
      (B, Q, heads, width of a head).
    """
    return _forward(query, key, value, attended)[0]


def _logits(query: jax.Array, key: jax.Array, attended: jax.Array | None = None) -> jax.Array:
    """Scaled logits of a group, (…, Q, K) float32; that of a key that does not count is least."""
    found = _product(query, key.swapaxes(-1, -2)) * query.shape[-1] ** -0.5
    if attended is None:
        return found
    return jnp.where(attended, found, -0.7 * jnp.finfo(jnp.float32).max)


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b, preferred_element_type=jnp.float32)


def _forward(query, key, value, attended):
    heads = query.shape[2]
    groups = Groups.of(len(query), query.shape[1], key.shape[1])
    split = [groups.split(x) for x in (query, key, value)]
    if attended is not None:
        split.append(groups.split_keys(attended, heads))

    def of_group(group):
        q, k, v, *attended = group
        logits = _logits(q, k, *attended)
        largest = logits.max(-1, keepdims=True)
        weights = jnp.exp(logits - largest)
        total = weights.sum(-1, keepdims=True)
        mixed = _product(weights.astype(v.dtype), v) / total
        return mixed.astype(v.dtype), largest + jnp.log(total)

    mixed, log_total = jax.lax.map(of_group, split)
    return groups.join(mixed, heads), (groups, heads, split, mixed, log_total)


def _backward(kept, d_mixed):
    groups, heads, split, mixed, log_total = kept

    def of_group(group):
        d_out, out, log_total, q, k, v, *attended = group
        weights = jnp.exp(_logits(q, k, *attended) - log_total)
        # Σ over keys of weight · its gradient, from the output: no pass over the matrix.
        mean = (d_out.astype(jnp.float32) * out).sum(-1, keepdims=True)
        d_logits = weights * (_product(d_out, v.swapaxes(-1, -2)) - mean) * q.shape[-1] ** -0.5
        d_logits, weights = d_logits.astype(q.dtype), weights.astype(v.dtype)
        d_q, d_k = _product(d_logits, k), _product(d_logits.swapaxes(-1, -2), q)
        d_v = _product(weights.swapaxes(-1, -2), d_out)
        return d_q.astype(q.dtype), d_k.astype(k.dtype), d_v.astype(v.dtype)

    found = jax.lax.map(of_group, (groups.split(d_mixed), mixed, log_total, *split))
    return *(groups.join(x, heads) for x in found), None


attend.defvjp(_forward, _backward)
