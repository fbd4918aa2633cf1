"""Which sequences have labels when few do: balanced over the classes, and the same everywhere."""

import hashlib

import numpy as np


def subset(
    names: np.ndarray, labels: np.ndarray, fraction: float, seed: int, draw: int
) -> np.ndarray:
    """A class-balanced part of the training sequences.

    Every class that occurs gets as many as any other, give or take one, unless it has no more; at
    least one. Within a class the choice goes by a hash of seed, draw and the sequence's name, so
    that it depends on nothing else: not on the host, nor on the order of the records.

    Args:
      names: (S,) names of the sequences, all different.
      labels: (S,) their classes.
      fraction: of all sequences, above 0, at most 1.
      seed, draw: other ones choose otherwise.

    Returns:
      Indices, ascending: max(round(fraction · S), number of classes that occur) of them.
    """

    def rank(thing) -> bytes:
        return hashlib.blake2b(f"{seed}/{draw}/{thing}".encode(), digest_size=16).digest()

    # Classes whose turn comes first get the one more, where the number does not divide.
    members = {
        label: sorted(np.flatnonzero(labels == label), key=lambda i: rank(names[i]))
        for label in sorted(set(labels.tolist()), key=rank)
    }
    wanted = max(round(fraction * len(labels)), len(members))
    # Dealt like cards: the first of every class, then the second of every class that has one …
    turns = [
        (turn, place, index)
        for place, own in enumerate(members.values())
        for turn, index in enumerate(own)
    ]
    return np.sort(np.array([index for _, _, index in sorted(turns)[:wanted]], np.int32))
