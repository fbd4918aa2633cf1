"""Frozen features: bodies -> clips -> encoder -> one vector a sequence."""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from amr_jax.data.split import DeviceSplit
from amr_jax.models.heads import LinearHead
from amr_jax.run import sharding

# (key, clip (L, V, C) zero-padded, length) -> (T, V, C): one body as the encoder is to see it.
View = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


def batches(sequence: np.ndarray, num_sequences: int, size: int) -> list[np.ndarray]:
    """All bodies in batches of one static size, the last one filled up.

    Args:
      sequence: (B,) sequence of each body.
      num_sequences: S.
      size: bodies a batch.

    Returns:
      Arrays (2, size) int32: numbers of bodies, and the sequence each counts for. What fills the
      last batch up is body 0 for sequence S, which does not exist.
    """
    shortfall = -len(sequence) % size
    body = np.pad(np.arange(len(sequence), dtype=np.int32), (0, shortfall))
    counts_for = np.pad(sequence.astype(np.int32), (0, shortfall), constant_values=num_sequences)
    return np.split(np.stack([body, counts_for]), len(body) // size, axis=1)


def extract(
    encoder: nn.Module,
    params: Any,
    split: DeviceSplit,
    view: View,
    key: jax.Array,
    *,
    batch_size: int,
    bodies: str = "packed",
) -> jax.Array:
    """Mean over time and joints of all N tokens, no mask; then over the sequence's bodies.

    Every body is encoded once, at any batch size and on any number of devices.

    Args:
      encoder, params: the frozen encoder; parameters replicated over the mesh.
      split: the bodies.
      view: what the encoder sees of a body. All bodies of a sequence get the same key, and with it
        the same crop and rotation.
      key: folded with each sequence's number; another one for each epoch.
      batch_size: bodies encoded at once, rounded up to a multiple of the devices. Changes nothing
        but memory and speed.
      bodies: 'packed': mean over the bodies that are there. 'all', as published code has it: over
        all M slots, an absent body being encoded as zeros and counted. (Its other habit, a copy
        of the first body in place of an absent one, has the same mean as 'packed' at M = 2.)

    Returns:
      (S, D) float32, replicated.
    """
    mesh, host = split.mesh, split.host
    num_sequences, num_slots = host.present.shape
    size = min(batch_size, len(host.sequence))
    size = -(-size // mesh.size) * mesh.size

    # A body that is absent is zeros in every view: its features are needed once.
    blank = _blank(params, encoder=encoder, num_joints=split.frames.shape[1])
    sums = jnp.zeros((num_sequences, *blank.shape), jnp.float32, device=sharding.replicated(mesh))
    for batch in batches(host.sequence, num_sequences, size):
        batch = sharding.put(batch, sharding.replicated(mesh))
        sums = _add_batch(sums, params, split, batch, key, encoder=encoder, view=view)

    real = host.present.sum(axis=1)
    # Without this a sequence whose bodies all lie behind `max_frames` would have no features.
    counted = np.full_like(real, num_slots) if bodies == "all" else np.maximum(real, 1)
    absent = sharding.put((counted - real).astype(np.float32), sharding.replicated(mesh))
    counted = sharding.put(counted.astype(np.float32), sharding.replicated(mesh))
    # Simulated devices of one CPU share their threads: two extractions under way at once can each
    # hold the threads that the other's collectives wait for.
    return jax.block_until_ready((sums + absent[:, None] * blank) / counted[:, None])


def _pool(encoder: nn.Module, params: Any, clips: jax.Array) -> jax.Array:
    return LinearHead.of_body(encoder.apply({"params": params}, clips))


@functools.partial(jax.jit, static_argnames=("encoder", "num_joints"))
def _blank(params: Any, *, encoder: nn.Module, num_joints: int) -> jax.Array:
    """(D,) features of a body that is not there."""
    shape = (1, encoder.num_frames, num_joints, encoder.channels)
    return _pool(encoder, params, jnp.zeros(shape, jnp.float32))[0]


@functools.partial(jax.jit, static_argnames=("encoder", "view"), donate_argnames=("sums",))
def _add_batch(
    sums: jax.Array,
    params: Any,
    split: DeviceSplit,
    batch: jax.Array,
    key: jax.Array,
    *,
    encoder: nn.Module,
    view: View,
) -> jax.Array:
    """Encodes one batch of bodies and adds each one's features to its sequence's row of `sums`."""
    body, sequence = batch
    clips, length = split.clips(body)
    keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, sequence)
    features = _pool(encoder, params, jax.vmap(view)(keys, clips, length))
    # 'drop': padding has no row.
    sums = sums.at[sequence].add(features, mode="drop")
    return jax.lax.with_sharding_constraint(sums, sharding.replicated(split.mesh))
