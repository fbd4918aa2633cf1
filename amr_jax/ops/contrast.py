"""Contrast of bodies with each other: a queue of earlier features, neighbours in it, InfoNCE.

A queue is a ring buffer: features (Q, D), the ids of their sequences (Q,) int32, EMPTY where no
feature was written yet, and a pointer to the entry that is written next. It holds no random start:
a body finds neighbours among what was written, and is its own neighbour while there is none, so
that training starts with the contrast of two views. A batch is written row by row: of one that is
larger than the queue, the last Q rows remain. Results do not depend on the number of devices, up to
the rounding of products.
"""

import jax
import jax.numpy as jnp

from amr_jax.ops import presence

EMPTY = -1  # the id of an entry of the queue that was never written
_EXACT = jax.lax.Precision.HIGHEST


def nearest(queue: jax.Array, queue_ids: jax.Array, z: jax.Array, ids: jax.Array) -> jax.Array:
    """The most similar entry of the queue that is of another sequence (NNCLR, STARS).

    Args:
      queue, queue_ids: (Q, D) and (Q,) int32, EMPTY at empty entries.
      z: (B, D); as those of the queue, of length 1.
      ids: (B,) int32, the sequence of each.

    Returns:
      (B, D) float32 without gradient; `z` itself where no entry is of another sequence.
    """
    queue, z = (jax.lax.stop_gradient(x).astype(jnp.float32) for x in (queue, z))
    others = (queue_ids != EMPTY) & (queue_ids != ids[:, None])  # (B, Q)
    cosine = jnp.matmul(z, queue.T, precision=_EXACT)
    found = queue[jnp.argmax(jnp.where(others, cosine, -jnp.inf), -1)]
    return jnp.where(others.any(-1, keepdims=True), found, z)


def info_nce(
    keys: jax.Array, predictions: jax.Array, temperature: float, counted: jax.Array
) -> jax.Array:
    """Mean cross-entropy of finding, for each key, its own prediction among those of the batch.

    −log(exp(k_i · p_i / τ) / Σ_j exp(k_i · p_j / τ)), over counted i and j.

    Args:
      keys, predictions: (B, D), of length 1.
      temperature: τ, above 0.
      counted: (B,) bool.

    Returns:
      A scalar, float32; 0 if nothing counts.
    """
    keys, predictions = keys.astype(jnp.float32), predictions.astype(jnp.float32)
    logits = jnp.matmul(keys, predictions.T, precision=_EXACT) / temperature
    # Finite, so that rows of the others have finite gradients.
    logits = jnp.where(counted, logits, jnp.finfo(jnp.float32).min)
    return presence.mean(-jnp.diagonal(jax.nn.log_softmax(logits)), counted)


def enqueue(
    queue: jax.Array,
    queue_ids: jax.Array,
    pointer: jax.Array,
    z: jax.Array,
    ids: jax.Array,
    counted: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Writes the counted rows, in their order, over the oldest entries of the queue.

    Args:
      queue, queue_ids: (Q, D) and (Q,) int32.
      pointer: int32, the entry to write next.
      z, ids, counted: (B, D), (B,) int32 and (B,) bool.

    Returns:
      Queue, ids and pointer after it; no gradient.
    """
    size, number = len(queue), counted.sum()
    place = jnp.cumsum(counted) - 1
    # A row that a later one of this batch would overwrite has no place, nor has one not counted.
    written = counted & (place >= number - size)
    slot = jnp.where(written, (pointer + place) % size, size)
    queue = queue.at[slot].set(jax.lax.stop_gradient(z).astype(queue.dtype), mode="drop")
    queue_ids = queue_ids.at[slot].set(ids, mode="drop")
    return queue, queue_ids, ((pointer + number) % size).astype(jnp.int32)
