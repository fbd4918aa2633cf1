"""Assignments of features to prototypes: balanced targets, their loss, signs of a collapse.

Everything is float32. Where several bodies or patches are assigned at once, `counted` tells which
of them are real: the others change nothing.
"""

import math

import jax
import jax.numpy as jnp

from amr_jax.ops import presence

_EXACT = jax.lax.Precision.HIGHEST
_CLOSEST = 1e-8  # distance that `koleo` takes for equal features, as published


def sinkhorn_knopp(
    logits: jax.Array, temperature: float | jax.Array, iterations: int, counted: jax.Array
) -> jax.Array:
    """Targets near softmax(logits / temperature) that use all prototypes equally (SwAV, DINOv2).

    Each iteration scales every prototype to the same sum over the counted rows, then every row to
    the sum 1. The scales are logarithms, so that no temperature and no logit overflows.

    Args:
      logits: (..., K); the leading axes together are the rows.
      temperature: above 0, may be traced.
      iterations: static, at least 1.
      counted: (...) bool, the rows that are assigned.

    Returns:
      (..., K), without gradient. Counted rows sum to 1, the others are 0.
    """
    z = jax.lax.stop_gradient(logits).astype(jnp.float32) / temperature
    rows, real = tuple(range(z.ndim - 1)), counted[..., None]
    of_rows = jnp.zeros((*z.shape[:-1], 1), jnp.float32)
    for _ in range(iterations):
        of_prototypes = jax.nn.logsumexp(z - of_rows, rows, where=real)
        # The sum over no row is 0, and its logarithm infinite.
        of_prototypes = jnp.where(counted.any(), of_prototypes, 0)
        of_rows = jax.nn.logsumexp(z - of_prototypes, -1, keepdims=True)
    return jnp.where(real, jnp.exp(z - of_prototypes - of_rows), 0)


def cross_entropy(
    target: jax.Array, logits: jax.Array, temperature: float | jax.Array
) -> jax.Array:
    """Cross-entropy, in nats, between assignments and softmax(logits / temperature).

    Args:
      target: (..., K), each row sums to 1.
      logits: (..., K), of the prediction.

    Returns:
      (...) float32.
    """
    return -(target * jax.nn.log_softmax(logits.astype(jnp.float32) / temperature)).sum(-1)


def usage_entropy(assignment: jax.Array, counted: jax.Array) -> jax.Array:
    """Entropy, in nats, of the mean assignment of the counted rows.

    It is log K if all prototypes are used equally, 0 if all rows share one. To watch for a collapse
    take a softmax of logits: targets of `sinkhorn_knopp` are balanced whatever the logits are.

    Args:
      assignment: (..., K), each row sums to 1.
      counted: (...) bool.
    """
    rows = tuple(range(assignment.ndim - 1))
    return jax.scipy.special.entr(presence.mean(assignment, counted[..., None], rows)).sum()


def usage(assignment: jax.Array, counted: jax.Array) -> jax.Array:
    """`usage_entropy` as a share of its largest value, log K: from 0 to 1."""
    return usage_entropy(assignment, counted) / math.log(assignment.shape[-1])


def koleo(features: jax.Array, counted: jax.Array) -> jax.Array:
    """The mean of −log of the distance between a feature and its nearest neighbour (DINOv2).

    It spreads features over the sphere (the estimator of entropy of Kozachenko and Leonenko).

    Args:
      features: (B, D), of length 1.
      counted: (B,) bool, which of them are compared.

    Returns:
      A scalar; 0 if fewer than two are counted.
    """
    x = features.astype(jnp.float32)
    others = counted & ~jnp.eye(len(x), dtype=bool)
    # The nearest one is multiplied out, not indexed: the gradient of indexing is a scatter-add,
    # whose order is not fixed on GPUs.
    cosine = jnp.matmul(x, x.T, precision=_EXACT)
    nearest = jax.nn.one_hot(jnp.argmax(jnp.where(others, cosine, -jnp.inf), -1), len(x))
    apart = x - jnp.matmul(nearest, x, precision=_EXACT)
    distance = jnp.sqrt(jnp.square(apart).sum(-1) + _CLOSEST**2)
    return presence.mean(-jnp.log(distance), counted & (counted.sum() > 1))
