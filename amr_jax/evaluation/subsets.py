"""Class-balanced subsets of the training sequences, the same on every host."""

import hashlib

import numpy as np


def subset(
    names: np.ndarray, labels: np.ndarray, fraction: float, seed: int, draw: int
) -> np.ndarray:
    """Draws a class-balanced subset of the training sequences.

    The counts of the classes differ by one at most, unless a class has too few sequences; each
    class that occurs has at least one. Within a class, the order is that of a hash of seed, draw
    and name of the sequence: it depends neither on the host nor on the order of the records.

    Args:
      names: (S,) names of the sequences, all different.
      labels: (S,) their classes.
      fraction: of all sequences, above 0, at most 1.
      seed, draw: select the subset.

    Returns:
      Indices, ascending: max(round(fraction · S), number of classes that occur) of them.
    """

    def rank(thing) -> bytes:
        return hashlib.blake2b(f"{seed}/{draw}/{thing}".encode(), digest_size=16).digest()

    # The first classes get one more if the number of sequences is not a multiple of theirs.
    members = {
        label: sorted(np.flatnonzero(labels == label), key=lambda i: rank(names[i]))
        for label in sorted(set(labels.tolist()), key=rank)
    }
    wanted = max(round(fraction * len(labels)), len(members))
    # Order: the first of every class, then the second of every class that has one, and so on.
    turns = [
        (turn, place, index)
        for place, own in enumerate(members.values())
        for turn, index in enumerate(own)
    ]
    return np.sort(np.array([index for _, _, index in sorted(turns)[:wanted]], np.int32))
