"""The order of training: which bodies are in which example.

A *unit* is what a batch counts. With `bodies='packed'` it is one body; with `bodies='all'`, as in
published code, a sequence with all its body slots, where absent bodies are zeros. The units of
global batch `i` depend only on the seed and `i` (`Order`): not on the number of devices or hosts,
on where the data is stored, or on whether the run was interrupted.
"""

import functools
from collections.abc import Sequence

import numpy as np

from amr_jax.data.split import Split


def units(of: Split, bodies: str, second_body: str) -> np.ndarray:
    """The bodies of each unit.

    Args:
      of: the split.
      bodies: 'packed' (a unit is a body) or 'all' (a unit is a sequence).
      second_body: with 'all', what replaces an absent body: 'zeros'; 'repeat': `Split.repeated`.

    Returns:
      (U, M') int32 body numbers, or `ABSENT` for zeros; M' is 1 for 'packed', M for 'all'. A
      sequence without a body (its bodies appear after `max_frames`) is left out.
    """
    if bodies == "packed":
        return np.arange(len(of.length), dtype=np.int32)[:, None]
    body = of.repeated if second_body == "repeat" else of.body
    return body[of.present.any(axis=1)]


def take_turns(of: Split, units: np.ndarray, mixture: str) -> tuple[int, ...]:
    """The `counts` of `Order` for a mixture of data sets.

    Args:
      of: the split.
      units: of it, see `units`.
      mixture: 'proportional': every unit once an epoch; 'balanced': the data sets take turns.
    """
    if mixture == "proportional" or of.member is None:
        return (len(units),)
    member = of.member[of.sequence[units.max(axis=1)]]
    return tuple(count for count in np.bincount(member).tolist() if count)


class Order:
    """The order of units: group after group, the next one of a permutation of its units.

    Example i is of group i mod K; a group whose units have all been drawn begins a new permutation.
    With one group, that is a new permutation of all units in every epoch. No unit is dropped: a
    batch may contain the end of one permutation and the start of the next.

    Args:
      counts: units of each group; groups follow each other in the numbers of units.
      batch_size: units of a global batch.
      seed: of the permutations.
    """

    def __init__(self, counts: Sequence[int], batch_size: int, seed: int):
        self._counts, self.batch_size, self._seed = np.array(counts), batch_size, seed
        self._first = np.cumsum(self._counts) - self._counts
        self._round = functools.lru_cache(maxsize=4 * len(counts))(self._permutation)

    def _permutation(self, group: int, number: int) -> np.ndarray:
        key = [self._seed, number * len(self._counts) + group]
        generator = np.random.Generator(np.random.Philox(key=key))
        return self._first[group] + generator.permutation(self._counts[group])

    def units(self, examples: np.ndarray) -> np.ndarray:
        """The units of global examples, whose numbers are step · batch_size + row."""
        turn, group = np.divmod(examples, len(self._counts))
        number, place = np.divmod(turn, self._counts[group])
        drawn = np.empty(len(examples), np.int64)
        for one in set(zip(group.tolist(), number.tolist(), strict=True)):
            rows = (group == one[0]) & (number == one[1])
            drawn[rows] = self._round(*one)[place[rows]]
        return drawn

    def unit(self, example: int) -> int:
        """The unit of one global example."""
        return int(self.units(np.array([example]))[0])

    def batch(self, step: int) -> np.ndarray:
        """(batch_size,) units of one step."""
        return self.units(np.arange(step * self.batch_size, (step + 1) * self.batch_size))
