"""Several data sets as one: their records one after the other, on the union of their joints."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from amr_jax.data.records import Records


class Mixture:
    """The records of several data sets, in the interface of `Records`.

    Sequences are numbered set after set. Each set cuts and normalises its own; joints that it lacks
    are zeros. Names and classes start with the name of the set.

    Args:
      members: the records of each set by its name.
      places: by its name, where the joints of each set are among all.
      num_joints: V.

    Attributes:
      sizes: the number of sequences of each set.
      has_joints: (S, V) bool, which joints the set of each sequence has; None: all have all.
      class_names, channels, num_slots, num_joints, num_channels: as of `Records`.
    """

    def __init__(
        self,
        members: Mapping[str, Records],
        places: Mapping[str, Sequence[int]],
        num_joints: int,
    ):
        self._members = list(members.values())
        self._names = list(members)
        self._places = [np.array(places[name]) for name in members]
        self.sizes = tuple(map(len, self._members))
        self._ends = np.cumsum(self.sizes)
        self.num_joints = num_joints
        self.num_slots = max(one.num_slots for one in self._members)
        self.num_channels, self.channels = self._members[0].num_channels, self._members[0].channels
        self.class_names = tuple(
            f"{name}/{label}" for name, one in members.items() for label in one.class_names
        )
        self._first_class = np.cumsum([0, *(len(one.class_names) for one in self._members)])
        has = np.array([np.isin(np.arange(num_joints), own) for own in self._places])
        self.has_joints = None if has.all() else np.repeat(has, self.sizes, axis=0)

    def __len__(self) -> int:
        return sum(self.sizes)

    def _runs(self, sequences: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Numbers of sequences, cut where the set changes: its place, and numbers within it."""
        member = np.searchsorted(self._ends, sequences, side="right")
        for run in np.split(np.arange(len(member)), np.flatnonzero(np.diff(member)) + 1):
            if len(run):
                one = int(member[run[0]])
                yield one, sequences[run] - (self._ends[one] - self.sizes[one])

    def _spread(self, member: int, joints: np.ndarray) -> np.ndarray:
        """A sequence of one set on all joints and slots."""
        frames, slots, _, channels = joints.shape
        spread = np.zeros((frames, self.num_slots, self.num_joints, channels), joints.dtype)
        spread[:, :slots, self._places[member]] = joints
        return spread

    def joints(self, index: int) -> np.ndarray:
        """One sequence, (T, M, V, C) float32, as `Records.joints`."""
        ((member, (own,)),) = self._runs(np.array([index]))
        return self._spread(member, self._members[member].joints(int(own)))

    def examples(self, sequences: np.ndarray) -> Iterator[dict]:
        """Some sequences in the given order, as `Records.examples`."""
        for member, own in self._runs(sequences):
            for example in self._members[member].examples(own):
                slots = np.zeros(self.num_slots - len(example["present"]), bool)
                yield {
                    "joints": self._spread(member, example["joints"]),
                    "present": np.concatenate([example["present"], slots]),
                    "name": f"{self._names[member]}/{example['name']}",
                    "label": example["label"] + self._first_class[member],
                }

    def verify(self, sequences: np.ndarray | None = None) -> None:
        """Checks the files that hold some sequences, by default all, as `Records.verify`."""
        for member, own in self._runs(np.arange(len(self)) if sequences is None else sequences):
            self._members[member].verify(None if sequences is None else own)

    def summary(self) -> str:
        """A one-line fingerprint, set by set."""
        each = (one.summary() for one in self._members)
        return "; ".join(f"{name}: {text}" for name, text in zip(self._names, each, strict=True))


# What batches are read from.
Source = Records | Mixture
