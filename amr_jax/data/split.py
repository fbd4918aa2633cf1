"""One split of a data set: on the host (`Split`), and in the memory of the devices (`DeviceSplit`).

Device d of D holds the sequences from S·d/D to S·(d+1)/D. Each process reads only the sequences of
its own devices. Labels, names, lengths and the occupied body slots are small: processes exchange
them, so that each has them for the whole split.
"""

import dataclasses
import functools
import zlib

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from amr_jax.data import fixed_point
from amr_jax.data.mixture import Source
from amr_jax.run import console, distributed, sharding

# In place of a body number: no body. Its clip is zeros, its length 0.
ABSENT = -1


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """One split on the host: S sequences with B bodies, each body as long as its sequence.

    Bodies are numbered sequence by sequence, and within a sequence in the order of its slots.

    Attributes:
      frames: (F, V, C) float32, the concatenated frames of the bodies in `own`; metres or, in an
        image, body sizes (`normalise.body_size`). None: the frames are not in memory.
      own: (S',) the sequences that this process has read, ascending; with one process, all.
      length: (B,) int32, frames of each body.
      present: (S, M) bool, which slots of each sequence hold a body.
      label: (S,) int32, class of each sequence.
      names: (S,) names of the sequences.
      class_names: all classes of the data set.
      member: (S,) int32, which of several data sets each sequence is of; None: there is one.
      joints: (S, V) bool, which joints that data set has; None: all have all.
    """

    frames: np.ndarray | None
    own: np.ndarray
    length: np.ndarray
    present: np.ndarray
    label: np.ndarray
    names: np.ndarray
    class_names: tuple[str, ...]
    member: np.ndarray | None = None
    joints: np.ndarray | None = None

    @functools.cached_property
    def sequence(self) -> np.ndarray:
        """(B,) int32: the sequence of each body."""
        return np.nonzero(self.present)[0].astype(np.int32)

    @functools.cached_property
    def body(self) -> np.ndarray:
        """(S, M) int32: the number of the body in each slot, or `ABSENT`."""
        body = np.full(self.present.shape, ABSENT, np.int32)
        body[self.present] = np.arange(len(self.length))
        return body

    @functools.cached_property
    def repeated(self) -> np.ndarray:
        """(S, M) int32: as `body`, with the sequence's first body in place of an absent one.

        So MAMP fills the second body on NTU RGB+D 120. A sequence without a body has `ABSENT`.
        """
        first = self.body[np.arange(len(self.body)), self.present.argmax(axis=1)]
        return np.where(self.present, self.body, first[:, None])

    @property
    def own_bodies(self) -> np.ndarray:
        """(B',) the bodies whose frames `frames` holds, in their order there."""
        return np.flatnonzero(np.isin(self.sequence, self.own))

    def describe(self) -> str:
        """A one-line fingerprint of the sequences and their bodies."""
        checksum = zlib.crc32("\n".join(self.names).encode() + self.present.tobytes())
        count = f"{len(self.present):,} sequences, {len(self.length):,} bodies"
        return f"{count} (crc32 {checksum:08x})"


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["frames", "offset", "length", "step", "joints", "sequence"],
    meta_fields=["mesh", "max_length"],
    drop_fields=["host"],
)
@dataclasses.dataclass(frozen=True, eq=False)
class DeviceSplit:
    """One split in device memory; a pytree, and as such an argument of jitted functions.

    Attributes:
      frames: (D · F, V, C) float32 or int16, split over the devices; each device's part is padded
        to F frames, those of the longest part.
      offset: (B,) int32, replicated: where each body's frames begin in `frames`.
      length: (B,) int32, replicated: frames of each body.
      step: (B, C) float32, replicated: with int16 frames, the unit of each body and channel
        (`fixed_point`); None: frames are float32.
      joints: (B, V) bool, replicated: which joints each body's data set has; None: all.
      sequence: (B,) int32, replicated: the sequence of each body.
      mesh: the devices.
      max_length: L, frames of the longest body.
      host: the split on the host, without its frames; None inside a jitted function.
    """

    frames: jax.Array
    offset: jax.Array
    length: jax.Array
    step: jax.Array | None
    joints: jax.Array | None
    sequence: jax.Array
    mesh: Mesh
    max_length: int
    host: Split | None = None

    def clips(self, bodies: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The clips of some bodies.

        Each device looks up the frames of the whole batch that it holds, and a reduce-scatter gives
        it the complete clips of its share. (XLA can also index a sharded array without shard_map,
        but then every device computes the whole batch.)

        Args:
          bodies: (b,) int32, body numbers or `ABSENT`; b is a multiple of the number of devices.

        Returns:
          Clips (b, L, V, C) float32, zero-padded, split over the devices; their lengths (b,) int32.
        """
        length = jnp.where(bodies < 0, 0, self.length[bodies])
        offset = self.offset[bodies]
        step = None if self.step is None else self.step[bodies]

        def local(frames, offset, length, step):
            first = jax.lax.axis_index(sharding.BATCH) * frames.shape[0]
            time = jnp.arange(self.max_length)
            position = offset[:, None] + time - first
            held = (position >= 0) & (position < frames.shape[0]) & (time < length[:, None])
            clips = frames[jnp.where(held, position, 0)]
            clips = jnp.where(held[..., None, None], clips, 0)
            if step is not None:
                # Before the sum: some collective libraries cannot add 16-bit integers.
                clips = fixed_point.decode(clips, step[:, None, None])
            return _share_of_sum(clips, self.mesh)

        over_devices = P(sharding.BATCH)
        gather = jax.shard_map(
            local,
            mesh=self.mesh,
            in_specs=(over_devices, P(), P(), P()),
            out_specs=over_devices,
            check_vma=False,
        )
        return gather(self.frames, offset, length, step), length


def _share_of_sum(clips: jax.Array, mesh: Mesh) -> jax.Array:
    """Each device's share of the clips (b, …), summed over the devices; in a `shard_map`.

    Processes with CPUs use the library Gloo, whose reduce-scatter ends the run if one of them comes
    30 seconds after another, as with other work on their machines; its all-to-all waits. The sum
    has the same bits: a frame is on one device, and 0 on all others.
    """
    if jax.process_count() > 1 and mesh.devices.flat[0].platform == "cpu":
        shares = clips.reshape(mesh.size, -1, *clips.shape[1:])
        return jax.lax.all_to_all(shares, sharding.BATCH, 0, 0).sum(axis=0)
    return jax.lax.psum_scatter(clips, sharding.BATCH, scatter_dimension=0, tiled=True)


def read(records: Source, mesh: Mesh, frames: bool = True) -> Split:
    """Reads this process's part of a split; every process must call this.

    Args:
      records: the split.
      mesh: the devices that the split is for.
      frames: whether to keep the frames. If so, only the files of this process's part are verified;
        if not, all files of the split, because any sequence may be read later.

    Raises:
      UserError: records that are damaged.
    """
    ends = _part_ends(len(records), mesh)
    own = np.concatenate([np.arange(ends[part], ends[part + 1]) for part in _own_parts(mesh)])
    records.verify(own if frames else None)
    bodies, present, lengths, labels, names = [], [], [], [], []
    with console.progress_bar("reading records", len(own)) as advance:
        for example in records.examples(own):
            joints = example["joints"]
            present.append(example["present"])
            lengths.append(len(joints))
            labels.append(example["label"])
            names.append(example["name"])
            if frames:
                bodies.extend(joints[:, slot] for slot in np.flatnonzero(present[-1]))
            advance()
    table = _gather(
        own,
        present=np.array(present, bool).reshape(-1, records.num_slots),
        length=np.array(lengths, np.int32),
        label=np.array(labels, np.int32),
        name=np.array(names, str),
    )
    no_frames = np.zeros((0, records.num_joints, records.num_channels), np.float32)
    return Split(
        frames=np.concatenate([no_frames, *bodies]) if frames else None,
        own=own,
        length=np.repeat(table["length"], table["present"].sum(axis=1)),
        present=table["present"],
        label=table["label"],
        names=table["name"],
        class_names=records.class_names,
        member=np.repeat(np.arange(len(records.sizes), dtype=np.int32), records.sizes),
        joints=records.has_joints,
    )


def place(split: Split, mesh: Mesh, storage: str = "float32") -> DeviceSplit:
    """Copies a split to the devices that it was read for; every process must call this.

    Args:
      split: with its frames.
      mesh: the devices.
      storage: 'float32', or 'int16' (`fixed_point`) for half the memory.
    """
    ends = _part_ends(len(split.present), mesh)
    part = np.searchsorted(ends[1:], split.sequence, side="right")
    sizes = np.bincount(part, weights=split.length, minlength=mesh.size).astype(int)
    capacity = int(sizes.max())
    before = np.cumsum(sizes) - sizes
    offset = part * capacity + np.cumsum(split.length) - split.length - before[part]
    frames, step = split.frames, None
    if storage == "int16":
        own = split.own_bodies
        frames, own_step = fixed_point.encode_bodies(frames, split.length[own])
        step = _gather(own, step=own_step)["step"]
    own_parts = _own_parts(mesh)
    cuts = np.split(frames, np.cumsum(sizes[own_parts])[:-1])
    by_part, shape = dict(zip(own_parts, cuts, strict=True)), frames.shape[1:]

    def padded(index):
        frames = by_part[(index[0].start or 0) // capacity]
        return np.concatenate([frames, np.zeros((capacity - len(frames), *shape), frames.dtype)])

    joints = None if split.joints is None else split.joints[split.sequence]
    offset, length, step, joints, sequence = sharding.put(
        (offset.astype(np.int32), split.length, step, joints, split.sequence),
        sharding.replicated(mesh),
    )
    return DeviceSplit(
        frames=jax.make_array_from_callback(
            (mesh.size * capacity, *shape), sharding.over_data(mesh), padded
        ),
        offset=offset,
        length=length,
        step=step,
        joints=joints,
        sequence=sequence,
        mesh=mesh,
        max_length=int(split.length.max()),
        host=dataclasses.replace(split, frames=None),
    )


def _part_ends(num_sequences: int, mesh: Mesh) -> np.ndarray:
    """(D + 1,): device d holds the sequences from entry d to entry d + 1."""
    return np.array([num_sequences * part // mesh.size for part in range(mesh.size + 1)])


def _own_parts(mesh: Mesh) -> list[int]:
    """Indices of this process's devices in the mesh, ascending."""
    here = jax.process_index()
    return [i for i, device in enumerate(mesh.devices.flat) if device.process_index == here]


def _gather(numbers: np.ndarray, **columns: np.ndarray) -> np.ndarray:
    """The rows of all processes, sorted by their numbers; every process must call this.

    Args:
      numbers: (n,) of this process's rows; no number occurs twice.
      columns: (n, …) each; texts may differ in width between processes.

    Returns:
      A structured array with the fields of `columns`.
    """
    fields = [(name, column.dtype, column.shape[1:]) for name, column in columns.items()]
    rows = np.empty(len(numbers), [("number", np.int32), *fields])
    rows["number"] = numbers
    for name, column in columns.items():
        rows[name] = column
    rows = np.concatenate(distributed.gather(rows))
    return rows[np.argsort(rows["number"])]
