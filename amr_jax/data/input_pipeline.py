"""Records to batches of clips: resident on the devices, or streamed.

The *unit* is what a batch counts. With `bodies='packed'` it is one real body; with `bodies='all'`,
as published code has it, a sequence with all its body slots, absent bodies being zeros. Which units
make up global batch `i` depends on the seed and `i` alone (`Order`): not on devices, on hosts, on
where the data lies, or on whether the run was interrupted.
"""

import dataclasses
import functools
from collections.abc import Iterator

import grain
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from amr_jax.data import fixed_point
from amr_jax.data.division import Divided
from amr_jax.data.records import Records
from amr_jax.run import sharding


def unit_slots(present: np.ndarray, bodies: str, second_body: str = "zeros") -> np.ndarray:
    """Which body stands in which slot of each unit.

    Args:
      present: (S, M) bool, whether slot m of sequence s holds a real body.
      bodies: 'packed' (one unit a real body) or 'all' (one unit a sequence).
      second_body: with 'all', what stands in for an absent body: 'zeros', or 'repeat' for a copy
        of the first (MAMP's NTU-120).

    Returns:
      (U, M') int32 slot numbers s·M + m into the flattened `present`, −1 for zeros; M' is 1 for
      'packed', M for 'all'. A sequence without any body (all of it behind `max_frames`) is no unit.
    """
    num_sequences, num_slots = present.shape
    if bodies == "packed":
        return np.flatnonzero(present).astype(np.int32)[:, None]
    slots = np.arange(num_sequences * num_slots, dtype=np.int32).reshape(present.shape)
    first = slots[np.arange(num_sequences), present.argmax(axis=1)]
    absent = first[:, None] if second_body == "repeat" else np.int32(-1)
    return np.where(present, slots, absent)[present.any(axis=1)]


@dataclasses.dataclass(frozen=True)
class Order:
    """Epoch after epoch, every unit once an epoch in an order drawn anew: no unit is dropped.

    Batches run on over the ends of epochs.
    """

    num_units: int
    batch_size: int
    seed: int

    def __post_init__(self):
        object.__setattr__(self, "_epoch", functools.lru_cache(maxsize=4)(self._permutation))

    def _permutation(self, epoch: int) -> np.ndarray:
        generator = np.random.Generator(np.random.Philox(key=[self.seed, epoch]))
        return generator.permutation(self.num_units)

    def unit(self, example: int) -> int:
        """The unit of global example number `example` = step · batch_size + row."""
        return int(self._epoch(example // self.num_units)[example % self.num_units])

    def batch(self, step: int) -> np.ndarray:
        """(batch_size,) units of one step."""
        examples = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        epochs, places = np.divmod(examples, self.num_units)
        return np.concatenate(
            [self._epoch(epoch)[places[epochs == epoch]] for epoch in np.unique(epochs).tolist()]
        )


def dispatches(start: int, stop: int, steps_per_dispatch: int) -> Iterator[range]:
    """The steps [start, stop) cut where step numbers are multiples of `steps_per_dispatch`."""
    while start < stop:
        end = min(stop, (start // steps_per_dispatch + 1) * steps_per_dispatch)
        yield range(start, end)
        start = end


class Resident:
    """The data set in device memory, its frames split over the devices.

    `arrays` go into the jitted step as an argument; `batches` yields small index arrays; `clips`
    runs inside the step.

    Args:
      split: divided over the devices.
      slots: see `unit_slots`.
      order: of the units.
      storage: 'float32', or 'int16' (`fixed_point`): half the memory.
    """

    def __init__(self, split: Divided, slots: np.ndarray, order: Order, storage: str = "float32"):
        self._mesh, self._order, self._max_length = split.mesh, order, int(split.length.max())
        # A body's number instead of its slot's: absent ones are −1 in both.
        body_of_slot = np.full(split.present.size + 1, -1, np.int32)
        body_of_slot[np.flatnonzero(split.present)] = np.arange(len(split.length))
        self._units = body_of_slot[slots]
        frames, of_bodies = split.own.frames, {"offset": split.offset(), "length": split.length}
        if storage == "int16":
            frames, steps = fixed_point.encode_bodies(split.own)
            of_bodies["step"] = split.of_all_bodies(steps)
        self.arrays = {
            "frames": split.put(frames),
            **sharding.put(of_bodies, sharding.replicated(split.mesh)),
        }

    def batches(self, start: int, stop: int, steps_per_dispatch: int) -> Iterator[jax.Array]:
        """Per dispatch: (steps, batch, slots) int32 body numbers, −1 for a body that is absent."""
        for steps in dispatches(start, stop, steps_per_dispatch):
            bodies = np.stack([self._units[self._order.batch(step)] for step in steps])
            yield sharding.put(bodies, sharding.replicated(self._mesh))

    def clips(self, arrays: dict, bodies: jax.Array) -> tuple[jax.Array, jax.Array]:
        """One step's clips, (batch, L, slots, V, C) zero-padded, and their lengths, (batch,)."""
        flat = bodies.reshape(-1)
        length = jnp.where(flat < 0, 0, arrays["length"][flat])
        step = arrays["step"][flat] if "step" in arrays else None
        clips = gather_clips(
            self._mesh, arrays["frames"], arrays["offset"][flat], length, self._max_length, step
        )
        clips = clips.reshape(*bodies.shape, *clips.shape[1:]).swapaxes(1, 2)
        # Slots of one sequence are equally long; an absent one counts as 0.
        return clips, length.reshape(bodies.shape).max(axis=1)


def gather_clips(
    mesh: Mesh,
    frames: jax.Array,
    offset: jax.Array,
    length: jax.Array,
    max_length: int,
    step: jax.Array | None = None,
) -> jax.Array:
    """Frames [offset, offset + length) of each example, zero-padded.

    Every device looks up what it holds of the whole batch; a reduce-scatter hands each its share of
    the examples complete. (Indexing a sharded array outside a shard_map works too, but every device
    then runs the whole batch.)

    Args:
      frames: (F, V, C), F split over the mesh; float32, or int16 with `step`.
      offset, length: (batch,) int32.
      max_length: L.
      step: (batch, C), see `fixed_point`.

    Returns:
      (batch, L, V, C) float32, batch split over the mesh.
    """

    def local(frames, offset, length, step):
        first = jax.lax.axis_index(sharding.BATCH) * frames.shape[0]
        time = jnp.arange(max_length)
        position = offset[:, None] + time - first
        held = (position >= 0) & (position < frames.shape[0]) & (time < length[:, None])
        clips = frames[jnp.where(held, position, 0)]
        clips = jnp.where(held[..., None, None], clips, 0)
        if step is not None:
            # Before the sum: not every collective library adds 16-bit integers.
            clips = fixed_point.decode(clips, step[:, None, None])
        return jax.lax.psum_scatter(clips, sharding.BATCH, scatter_dimension=0, tiled=True)

    split = P(sharding.BATCH)
    return jax.shard_map(
        local, mesh=mesh, in_specs=(split, P(), P(), P()), out_specs=split, check_vma=False
    )(frames, offset, length, step)


class Streamed:
    """Clips read from the records as they are needed, by Grain's threads; nothing stays in memory.

    Same interface and same batches as `Resident`; with storage='int16' half as many bytes go to
    the devices.
    """

    def __init__(
        self,
        records: Records,
        slots: np.ndarray,
        order: Order,
        mesh: Mesh,
        max_length: int,
        storage: str = "float32",
        num_threads: int = 16,
        prefetch: int = 64,
    ):
        self._records, self._slots, self._order, self._mesh = records, slots, order, mesh
        self._max_length, self._storage = max_length, storage
        self.arrays: dict = {}
        self._options = grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=prefetch)

    def _read(self, example: int) -> tuple[np.ndarray, np.ndarray, np.int32]:
        """Global example → clip (L, slots, V, C) zero-padded, its step (slots, C), its length.

        A step is that of `fixed_point`; 1 where joints are stored as they are.
        """
        slots = self._slots[self._order.unit(example)]
        num_slots = self._records.num_slots
        joints = self._records.joints(int(slots.max()) // num_slots)
        shape = (self._max_length, len(slots), *joints.shape[2:])
        clip = np.zeros(shape, np.int16 if self._storage == "int16" else np.float32)
        step = np.ones((len(slots), shape[-1]), np.float32)
        for i, slot in enumerate(slots):
            if slot >= 0:
                body = joints[:, slot % num_slots]
                if self._storage == "int16":
                    body, step[i] = fixed_point.encode(body)
                clip[: len(body), i] = body
        return clip, step, np.int32(len(joints))

    def batches(
        self, start: int, stop: int, steps_per_dispatch: int
    ) -> Iterator[tuple[jax.Array, jax.Array, jax.Array]]:
        """Per dispatch: what `_read` returns, each with (steps, batch) in front of it."""
        where = sharding.over_data(self._mesh, axis=1)
        rows = _local_rows(self._mesh, self._order.batch_size)
        examples = (
            grain.MapDataset.range(start * len(rows), stop * len(rows))
            .map(lambda i: i // len(rows) * self._order.batch_size + rows[i % len(rows)])
            .map(self._read)
            .to_iter_dataset(self._options)
            .batch(len(rows))
        )
        steps_iterator = iter(examples)
        for steps in dispatches(start, stop, steps_per_dispatch):
            local = [next(steps_iterator) for _ in steps]
            yield tuple(
                jax.make_array_from_process_local_data(where, np.stack(part))
                for part in zip(*local, strict=True)
            )

    def clips(
        self, arrays: dict, batch: tuple[jax.Array, jax.Array, jax.Array]
    ) -> tuple[jax.Array, jax.Array]:
        """One step's clips, (batch, L, slots, V, C) float32, and their lengths: of its batch."""
        del arrays
        clips, step, length = batch
        return fixed_point.decode(clips, step[:, None, :, None]), length


def _local_rows(mesh: Mesh, batch_size: int) -> list[int]:
    """The rows of a global batch that lie on this process's devices, in order."""
    index_map = sharding.over_data(mesh).addressable_devices_indices_map((batch_size,))
    rows = {row for (index,) in index_map.values() for row in range(*index.indices(batch_size))}
    return sorted(rows)
