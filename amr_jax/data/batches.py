"""Batches of clips: resident on the devices, or streamed.

Which units (bodies, or sequences) a batch has depends only on the seed and the step (`Order`).
"""

from collections.abc import Iterable, Iterator

import grain
import jax
import numpy as np
from jax.sharding import Mesh

from amr_jax.data import fixed_point, split
from amr_jax.data.mixture import Source
from amr_jax.data.order import Order, take_turns, units
from amr_jax.data.split import ABSENT, DeviceSplit, Split
from amr_jax.run import sharding

# One step's clips, (batch, L, slots, V, C) float32, zero-padded; their lengths, (batch,); which
# joints their data sets have, (batch, V) bool; None: all; and the numbers of their sequences in the
# split, (batch,) int32.
Clips = tuple[jax.Array, jax.Array, jax.Array | None, jax.Array]

_READ_OPTIONS = grain.ReadOptions(num_threads=16, prefetch_buffer_size=64)


def dispatches(start: int, stop: int, steps_per_dispatch: int) -> Iterator[range]:
    """The steps [start, stop), cut where step numbers are multiples of `steps_per_dispatch`."""
    while start < stop:
        end = min(stop, (start // steps_per_dispatch + 1) * steps_per_dispatch)
        yield range(start, end)
        start = end


def divisor_from(steps: int, most: int) -> int:
    """The least divisor of `most` that is at least `steps`."""
    return next(n for n in range(steps, most + 1) if most % n == 0)


class Resident:
    """Batches of a split that stays in device memory.

    `resident` and a batch are arguments of the jitted step, in which `clips` turns them into clips.

    Attributes:
      host: the split on the host, without its frames.
      num_units: units per epoch.
      resident: the split on the devices.
    """

    def __init__(self, on_devices: DeviceSplit, units: np.ndarray, order: Order):
        self.host, self.resident = on_devices.host, on_devices
        self.num_units, self._units, self._order = len(units), units, order

    def batches(
        self,
        start: int,
        stop: int,
        steps_per_dispatch: int,
        dispatched: Iterable[range] | None = None,
    ) -> Iterator[jax.Array]:
        """Per dispatch: (steps, batch, slots) int32 body numbers, or `ABSENT`.

        Args:
          start, stop: all steps.
          steps_per_dispatch: at most.
          dispatched: the steps of each dispatch, whose batch is padded to `padded` steps; None: as
            `dispatches`, and not padded.
        """
        for steps in dispatched or dispatches(start, stop, steps_per_dispatch):
            bodies = [self._units[self._order.batch(step)] for step in steps]
            if dispatched is not None:
                bodies += [bodies[-1]] * (self.padded(len(steps), steps_per_dispatch) - len(steps))
            yield sharding.put(np.stack(bodies), sharding.replicated(self.resident.mesh))

    @staticmethod
    def padded(steps: int, most: int) -> int:
        """Steps that the batch of a dispatch is padded to: all of one length, and one program."""
        del steps
        return most

    @staticmethod
    def clips(resident: DeviceSplit, bodies: jax.Array) -> Clips:
        """One step's clips, see `Clips`."""
        clips, length = resident.clips(bodies.reshape(-1))
        clips = clips.reshape(*bodies.shape, *clips.shape[1:]).swapaxes(1, 2)
        # All bodies of a sequence have one length; absent ones have length 0.
        length, first = length.reshape(bodies.shape).max(axis=1), bodies.max(axis=1)
        joints = None if resident.joints is None else resident.joints[first]
        return clips, length, joints, resident.sequence[first]


class Streamed:
    """Batches read from the records by Grain's threads when they are needed.

    Same interface and batches as `Resident`. With storage='int16', half as many bytes are copied to
    the devices.

    Attributes:
      host: the split on the host, without its frames.
      num_units: units per epoch.
      resident: None; batches hold their clips.
    """

    resident = None

    def __init__(
        self,
        records: Source,
        host: Split,
        units: np.ndarray,
        order: Order,
        mesh: Mesh,
        storage: str,
    ):
        self.host, self.num_units, self._units, self._order = host, len(units), units, order
        self._records, self._mesh, self._storage = records, mesh, storage
        self._max_length, self._slot = int(host.length.max()), np.nonzero(host.present)[1]

    def _read(self, example: int) -> dict[str, np.ndarray]:
        """One global example: its zero-padded clip (L, slots, V, C), the step of its fixed-point
        numbers (slots, C) (1 for float32), its length, the number of its sequence, and `Clips`'
        joints if some are missing.
        """
        bodies = self._units[self._order.unit(example)]
        sequence = int(self.host.sequence[bodies.max()])
        joints = self._records.joints(sequence)
        shape = (self._max_length, len(bodies), *joints.shape[2:])
        clip = np.zeros(shape, np.int16 if self._storage == "int16" else np.float32)
        step = np.ones((len(bodies), shape[-1]), np.float32)
        for i, body in enumerate(bodies):
            if body != ABSENT:
                frames = joints[:, self._slot[body]]
                if self._storage == "int16":
                    frames, step[i] = fixed_point.encode(frames)
                clip[: len(frames), i] = frames
        has = {} if self.host.joints is None else {"joints": self.host.joints[sequence]}
        length = np.int32(len(joints))
        return {"clips": clip, "step": step, "length": length, "sequence": np.int32(sequence)} | has

    def batches(
        self,
        start: int,
        stop: int,
        steps_per_dispatch: int,
        dispatched: Iterable[range] | None = None,
    ) -> Iterator[dict[str, jax.Array]]:
        """Per dispatch: the arrays of `_read`, each with leading axes (steps, batch).

        Arguments as of `Resident.batches`.
        """
        rows, batch_size = _local_rows(self._mesh, self._order.batch_size), self._order.batch_size
        examples = (
            grain.MapDataset.range(start * len(rows), stop * len(rows))
            .map(lambda i: i // len(rows) * batch_size + rows[i % len(rows)])
            .map(self._read)
            .to_iter_dataset(_READ_OPTIONS)
            .batch(len(rows))
        )
        local, over_batch = iter(examples), sharding.over_data(self._mesh, axis=1)
        for steps in dispatched or dispatches(start, stop, steps_per_dispatch):
            parts = [next(local) for _ in steps]
            if dispatched is not None:
                parts += [parts[-1]] * (self.padded(len(steps), steps_per_dispatch) - len(steps))
            yield {
                name: jax.make_array_from_process_local_data(
                    over_batch, np.stack([part[name] for part in parts])
                )
                for name in parts[0]
            }

    @staticmethod
    def padded(steps: int, most: int) -> int:
        """As of `Resident`. Clips are large: a divisor of `most`, so that few programs compile."""
        return divisor_from(steps, most)

    @staticmethod
    def clips(_, batch: dict[str, jax.Array]) -> Clips:
        """One step's clips, see `Clips`."""
        clips = fixed_point.decode(batch["clips"], batch["step"][:, None, :, None])
        return clips, batch["length"], batch.get("joints"), batch["sequence"]


def load(
    records: Source,
    mesh: Mesh,
    *,
    mode: str,
    storage: str,
    bodies: str,
    second_body: str,
    mixture: str,
    batch_size: int,
    seed: int,
) -> Resident | Streamed:
    """Batches of a split for training; every process must call this, and reads its part.

    Args:
      records: the split.
      mesh: the devices.
      mode: 'resident' or 'stream'.
      storage: 'float32' or 'int16'.
      bodies, second_body: see `units`. mixture: see `take_turns`.
      batch_size: units of a global batch.
      seed: of the order.
    """
    host = split.read(records, mesh, frames=mode == "resident")
    chosen = units(host, bodies, second_body)
    order = Order(take_turns(host, chosen, mixture), batch_size, seed)
    if mode == "resident":
        return Resident(split.place(host, mesh, storage), chosen, order)
    return Streamed(records, host, chosen, order, mesh, storage)


def _local_rows(mesh: Mesh, batch_size: int) -> list[int]:
    """The rows of a global batch on this process's devices, ascending."""
    index_map = sharding.over_data(mesh).addressable_devices_indices_map((batch_size,))
    rows = {row for (index,) in index_map.values() for row in range(*index.indices(batch_size))}
    return sorted(rows)
