"""The order of sequences in training and test, and the bodies that each batch of them holds."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import jax
import ml_collections
import numpy as np

from amr_jax.config.base import BODIES
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


# Which bodies of a sequence count: the settings `bodies` and `second_body` in one word.
COUNTED = (*BODIES, "repeat")


def counted(config: ml_collections.ConfigDict) -> str:
    """Which bodies count by the config of an evaluation, one of `COUNTED`."""
    return "repeat" if config.second_body == "repeat" else config.bodies


def bodies_of(split: Split, bodies: str) -> list[np.ndarray]:
    """The bodies of each sequence: S arrays of body numbers, or `ABSENT` for zeros.

    Args:
      split: the split.
      bodies: one of `COUNTED`. 'packed': those that are present, and one of zeros for a sequence
        without a body (its bodies appear after `max_frames`). 'all', as in published code: all M
        slots, zeros in absent ones. 'repeat': copies of the first body there (`Split.repeated`).
    """
    if bodies == "all":
        return list(split.body)
    if bodies == "repeat":
        return list(split.repeated)
    present = (slots[slots != ABSENT] for slots in split.body)
    return [own if own.size else np.array([ABSENT]) for own in present]


def epoch_order(seed: int, epoch: int, num_sequences: int, batch_size: int) -> np.ndarray:
    """Splits a permutation of all sequences into batches whose sizes differ by one at most.

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


def capacity(orders: Iterable[np.ndarray], bodies: Sequence[np.ndarray], multiple: int) -> int:
    """The bodies of the fullest batch of all `orders`, rounded up to a multiple of `multiple`."""
    # The padding index has no bodies.
    num_bodies = np.array([*map(len, bodies), 0])
    most = max(int(num_bodies[order].sum(axis=1).max()) for order in orders)
    return -(-most // multiple) * multiple


def pack(order: np.ndarray, bodies: Sequence[np.ndarray], capacity: int) -> Batch:
    """The batches of `order` (n, size), with the `bodies` of sequences padded to `capacity`."""
    num_batches, size = order.shape
    body = np.full((num_batches, capacity), ABSENT, np.int32)
    row = np.full((num_batches, capacity), size, np.int32)
    for i, batch in enumerate(order):
        places = np.flatnonzero(batch < len(bodies))
        own = [bodies[sequence] for sequence in batch[places]]
        place_of_body = np.repeat(places, [len(numbers) for numbers in own])
        body[i, : len(place_of_body)] = np.concatenate(own)
        row[i, : len(place_of_body)] = place_of_body
    return Batch(order.astype(np.int32), body, row)
