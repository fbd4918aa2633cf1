"""A split divided over the devices: each process reads what its own devices are to hold, no more.

Part d of D, for device d of the mesh, is the sequences from S·d/D to S·(d+1)/D, whole. Who is in a
sequence, how long it is, its name and label are small: processes tell each other, so that every one
knows them of all sequences. Frames stay with the process that read them, and go to its devices.
"""

import dataclasses
import functools
import itertools

import jax
import numpy as np
from jax.sharding import Mesh

from amr_jax.data.records import Bodies, Records
from amr_jax.run import distributed, sharding


@dataclasses.dataclass(frozen=True)
class Parts:
    """Which sequences are whose.

    Attributes:
      sequences: of each part, in order; a part may have none.
      own: numbers of this process's parts, ascending.
    """

    sequences: tuple[range, ...]
    own: tuple[int, ...]

    @classmethod
    def of(cls, num_sequences: int, mesh: Mesh) -> "Parts":
        """Parts of (nearly) equally many sequences, one for each device of the mesh."""
        ends = [num_sequences * part // mesh.size for part in range(mesh.size + 1)]
        here = jax.process_index()
        own = [i for i, d in enumerate(mesh.devices.flat) if d.process_index == here]
        return cls(tuple(itertools.starmap(range, itertools.pairwise(ends))), tuple(own))

    def own_sequences(self) -> np.ndarray:
        """(S',) ascending: the sequences of this process's parts."""
        return np.concatenate([np.array(self.sequences[part], np.int64) for part in self.own])

    def of_sequences(self, sequences: np.ndarray) -> np.ndarray:
        """The part that each sequence is in."""
        return np.searchsorted([r.stop for r in self.sequences], sequences, side="right")


@dataclasses.dataclass(frozen=True)
class Divided:
    """A split, its frames in the memory of the processes whose devices are to hold them.

    Attributes:
      mesh: the devices.
      parts: which sequences are whose.
      said: (S,) the sequences in the order of processes, and of their parts.
      own: the bodies of this process's sequences; `own.sequence` counts among these.
      length: (B,) int32 frames of each body of the split.
      sequence, present, label, names, class_names: as in `Bodies`, of the whole split.
    """

    mesh: Mesh
    parts: Parts
    said: np.ndarray
    own: Bodies
    length: np.ndarray
    sequence: np.ndarray
    present: np.ndarray
    label: np.ndarray
    names: np.ndarray
    class_names: tuple[str, ...]

    @functools.cached_property
    def _part_lengths(self) -> np.ndarray:
        """(D,) frames of the bodies of each part."""
        part = self.parts.of_sequences(self.sequence)
        return np.bincount(part, weights=self.length, minlength=self.mesh.size).astype(int)

    @property
    def part_length(self) -> int:
        """Frames that a part is filled up to: those of the longest."""
        return int(self._part_lengths.max())

    def offset(self) -> np.ndarray:
        """(B,) int32: where each body's frames begin in what `put` returns."""
        part = self.parts.of_sequences(self.sequence)
        before = np.cumsum(self._part_lengths) - self._part_lengths
        within = np.cumsum(self.length) - self.length - before[part]
        return (part * self.part_length + within).astype(np.int32)

    def put(self, frames: np.ndarray) -> jax.Array:
        """The frames of `own`, or what they are encoded as, onto the devices.

        Args:
          frames: (F', V, C), as `own.frames`.

        Returns:
          (D · part_length, V, C) global, split over the mesh: the parts of all processes, filled
          up with zeros.
        """
        sizes = self._part_lengths[list(self.parts.own)]
        cuts = np.split(frames, np.cumsum(sizes)[:-1])
        by_part = dict(zip(self.parts.own, cuts, strict=True))
        length, shape = self.part_length, frames.shape[1:]

        def filled(index):
            part = by_part[(index[0].start or 0) // length]
            return np.concatenate([part, np.zeros((length - len(part), *shape), part.dtype)])

        return jax.make_array_from_callback(
            (self.mesh.size * length, *shape), sharding.over_data(self.mesh), filled
        )

    def of_all_bodies(self, rows: np.ndarray) -> np.ndarray:
        """(B, …): of every body of the split, in order, from each process's rows for its own."""
        said = np.concatenate(distributed.rows(rows))
        of_sequence = np.repeat(self.said, self.present[self.said].sum(axis=1))
        return said[np.argsort(of_sequence, kind="stable")]


def load(records: Records, mesh: Mesh) -> Divided:
    """Reads the own part of a split, and hears of the others'; every process has to call."""
    parts = Parts.of(len(records), mesh)
    return _assemble(records.load(parts.own_sequences()), parts, mesh)


def divide(bodies: Bodies, mesh: Mesh) -> Divided:
    """A whole split that this process, the only one, has in memory."""
    return _assemble(bodies, Parts.of(len(bodies.present), mesh), mesh)


def _assemble(own: Bodies, parts: Parts, mesh: Mesh) -> Divided:
    """`own` being the bodies of this process's parts."""
    # A sequence's bodies are as long as it; without one, its length is nobody's.
    length = np.zeros(len(own.present), np.int32)
    length[own.sequence] = own.length
    table, said = _everyones(parts, own.names, length=length, present=own.present, label=own.label)
    sequence = np.nonzero(table["present"])[0].astype(np.int32)
    return Divided(
        mesh=mesh,
        parts=parts,
        said=said,
        own=own,
        length=table["length"][sequence],
        sequence=sequence,
        present=table["present"],
        label=table["label"],
        names=table["name"],
        class_names=own.class_names,
    )


def scan(records: Records, mesh: Mesh) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`Records.scan` of the whole split, of which this process reads a part; all have to call."""
    parts = Parts.of(len(records), mesh)
    present, length, names = records.scan(parts.own_sequences())
    table, _ = _everyones(parts, names, length=length, present=present)
    return table["present"], table["length"], table["name"]


def _everyones(
    parts: Parts, names: np.ndarray, **columns: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What processes know of their sequences, together; every process has to call.

    Args:
      parts: says which are this process's.
      names: (n,) of these, in order.
      columns: (n, …) of these.

    Returns:
      (S,) with the fields `name` and those of `columns`; and (S,) int32, in which order they came.
    """
    # One process may have longer names than another.
    letters = max(int(n[0]) for n in distributed.rows(np.array([names.dtype.itemsize // 4])))
    fields = [(key, column.dtype, column.shape[1:]) for key, column in columns.items()]
    own = np.empty(len(names), [("sequence", np.int32), ("name", f"<U{max(1, letters)}"), *fields])
    own["sequence"], own["name"] = parts.own_sequences(), names
    for key, column in columns.items():
        own[key] = column
    table = np.concatenate(distributed.rows(own))
    said = table["sequence"].copy()
    return table[np.argsort(said)], said
