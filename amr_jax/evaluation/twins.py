"""Twins: sequences of one performance, which several cameras recorded at the same time.

A cross-view protocol trains on some cameras and tests on another one, so nearly every test sequence
has a twin in the training split. The nearest neighbour of such a sequence is often its twin, which
says little about new performances.
"""

import dataclasses

import numpy as np

from amr_jax.data.datasets import Dataset
from amr_jax.data.split import Split


@dataclasses.dataclass(frozen=True, eq=False)
class Twins:
    """The performances of two splits, of which some are in both.

    Attributes:
      train, test: (S,) int32, the number of each sequence's performance, from 0.
    """

    train: np.ndarray
    test: np.ndarray

    @classmethod
    def of(cls, dataset: Dataset, train: Split, test: Split) -> "Twins | None":
        """The twins of two splits of a data set; None if there are none.

        Sequences show one performance if their names without the camera, and their labels, are the
        same.
        """
        numbers: dict[tuple, int] = {}

        def numbered(split: Split) -> np.ndarray:
            shown = (
                (dataset.performance(str(name)), int(label))
                for name, label in zip(split.names, split.label, strict=True)
            )
            return np.array([numbers.setdefault(one, len(numbers)) for one in shown], np.int32)

        if dataset.camera is None:
            return None
        found = cls(numbered(train), numbered(test))
        return found if found.count else None

    @property
    def count(self) -> int:
        """The number of test sequences whose performance is in the training split."""
        return int(np.isin(self.test, self.train).sum())

    def describe(self) -> str:
        """The count, in words."""
        return (
            f"{self.count:,} of {len(self.test):,} test sequences show a performance that is in "
            "the training split, too, from another camera"
        )
