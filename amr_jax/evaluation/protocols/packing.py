"""The order of sequences in training and test, and the bodies that each batch of them holds."""

import dataclasses
from collections.abc import Iterable
from typing import NamedTuple

import jax
import numpy as np

from amr_jax.data.split import ABSENT, Split


class Batch(NamedTuple):
    """Sequences and their bodies, in arrays of static size; a leading axis makes several batches.

    Attributes:
      sequence: (size,) int32 numbers of sequences; their count S for padding.
      body: (capacity,) int32 numbers of bodies; `ABSENT` for zeros.
      row: (capacity,) int32: the place in `sequence` that each body belongs to; `size` for padding.
    """

    sequence: jax.Array | np.ndarray
    body: jax.Array | np.ndarray
    row: jax.Array | np.ndarray


@dataclasses.dataclass(frozen=True)
class Slots:
    """The bodies of each sequence.

    Attributes:
      body: (S, M) int32, the body in each slot, or `ABSENT`.
      counted: (S, M) bool, the slots that are encoded and averaged.
    """

    body: np.ndarray
    counted: np.ndarray


def slots(split: Split, bodies: str) -> Slots:
    """The bodies of each sequence of a split.

    Args:
      split: the split.
      bodies: 'packed' or 'all', see `models.heads.POOLINGS`. A sequence without a body (its bodies
        appear after `max_frames`) counts as one body of zeros.
    """
    if bodies == "all":
        return Slots(split.body, np.ones_like(split.present))
    counted = split.present.copy()
    counted[~split.present.any(axis=1), 0] = True
    return Slots(split.body, counted)


def epoch_order(seed: int, epoch: int, num_sequences: int, batch_size: int) -> np.ndarray:
    """Deals a permutation of all sequences into batches whose sizes differ by one at most.

    Each epoch trains on every sequence once. Published code drops the remainder instead; a short
    last batch would give BatchNorm the statistics of a few sequences.

    Returns:
      (number of batches, size) int32 indices; in a batch that is one short, the last is
      `num_sequences`, which training excludes from loss and statistics.
    """
    num_batches = -(-num_sequences // batch_size)
    size = -(-num_sequences // num_batches)
    generator = np.random.Generator(np.random.Philox(key=[seed, epoch]))
    order = generator.permutation(num_sequences).astype(np.int32)
    padding = np.full(num_batches * size - num_sequences, num_sequences, np.int32)
    return np.concatenate([order, padding]).reshape(size, num_batches).T


def in_turn(num_sequences: int, batch_size: int) -> np.ndarray:
    """All sequences in the order of the split, (number of batches, size), padded likewise."""
    size = min(batch_size, num_sequences)
    padding = np.full(-num_sequences % size, num_sequences, np.int32)
    return np.concatenate([np.arange(num_sequences, dtype=np.int32), padding]).reshape(-1, size)


def capacity(orders: Iterable[np.ndarray], slots: Slots, multiple: int) -> int:
    """The bodies of the fullest batch of all `orders`, rounded up to a multiple of `multiple`."""
    # The padding index has no bodies.
    num_bodies = np.append(slots.counted.sum(axis=1), 0)
    most = max(int(num_bodies[order].sum(axis=1).max()) for order in orders)
    return -(-most // multiple) * multiple


def pack(order: np.ndarray, slots: Slots, capacity: int) -> Batch:
    """The batches of `order` (n, size), with their bodies padded to `capacity`."""
    num_batches, size = order.shape
    body = np.full((num_batches, capacity), ABSENT, np.int32)
    row = np.full((num_batches, capacity), size, np.int32)
    for i, batch in enumerate(order):
        places = np.flatnonzero(batch < len(slots.body))
        whose, slot = np.nonzero(slots.counted[batch[places]])
        body[i, : len(whose)] = slots.body[batch[places[whose]], slot]
        row[i, : len(whose)] = places[whose]
    return Batch(order.astype(np.int32), body, row)
